"""The guests of a lab, and the pool and network that are theirs alone.

Addresses are static and DHCP is off, so there is no lease to wait for or to be met by. Each guest gets its ssh host key and
the stack's client key by cloud-init, so that its key is verified from the first connection on.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi_command import local

from components.config.settings import SettingsError
from components.forwarding import component as forwarding
from components.hosts.host import Host, HostKind, Ssh
from components.hosts.libvirt.requirements import estimate, problems
from components.hosts.libvirt.seed import FIRST_ADDRESS, PATIENCE, mac, seed
from components.hosts.libvirt.settings import LibvirtSettings
from components.places import PROJECT, cache_folder
from components.steps.digests import short_digest
from components.steps.scripts import publish
from components.steps.steps import local_step

if TYPE_CHECKING:
    import pulumi_libvirt as libvirt

SSH_TIMEOUT_S = {"kvm": 180, "tcg": 900}


@dataclass(frozen=True)
class _Guest:
    """A host before its machine is started.

    Attributes:
        name: as the lab calls it.
        number: counted from 1.
        role: controller or worker.
        pair: its ssh key.
        disk: its own, over the base image.
        seed: what cloud-init finds.
    """

    name: str
    number: int
    role: str
    pair: pulumi.Output[dict[str, str]]
    disk: libvirt.Volume
    seed: libvirt.CloudInitDisk


class LibvirtHosts(pulumi.ComponentResource):
    """The guests of a lab, and the pool and network that are theirs alone.

    Attributes:
        hosts: controllers first, each reachable by ssh once its resource is made.
        facts: none beside the settings'.
        prefix: first three numbers of the lab's /24.
    """

    hosts: list[Host]
    facts: pulumi.Output[dict[str, Any]]
    prefix: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        args: LibvirtSettings,
        roles: list[str],
        purpose: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("litelab:hosts:LibvirtHosts", name, None, opts)
        try:
            import pulumi_libvirt as libvirt  # other labs do without it
        except ModuleNotFoundError:
            msg = (
                "labs of virtual machines need Pulumi's libvirt package, which set-up has not installed yet. Run "
                f"'make setup STACK={pulumi.get_stack()}', then the same command again. Nothing was made."
            )
            raise SettingsError(msg) from None

        self._libvirt, self._args = libvirt, args
        stack, dry_run = pulumi.get_stack(), pulumi.runtime.is_dry_run()
        self._scripts = publish(
            "libvirt", stack, dry_run=dry_run, also=("catalog", "ssh", *(["forwarding"] if args.through else []))
        )
        self._uri = {"LIBVIRT_DEFAULT_URI": args.uri}
        if args.through:
            self._uri["THROUGH"] = args.through
            # What measures dials the port that the state has.
            if not dry_run:
                forwarding.reopen(stack)
        self.facts = pulumi.Output.from_input({})
        # What a host is given must not tell how many there are: a host more would replace all.
        keys = local_step("keys", self._scripts, "keys.py", arguments=["client"], secret=True, opts=self._after())
        self._client: pulumi.Output[dict[str, str]] = pulumi.Output.secret(keys.stdout.apply(json.loads))
        image = self._image()
        self._booted: pulumi.Output[dict[str, Any]] = image.stdout.apply(json.loads)
        self._where: pulumi.Output[dict[str, str]] = self._place(image, keys).stdout.apply(json.loads)
        self._identity = self._where.apply(lambda w: w["id"])
        self.prefix = self._where.apply(lambda w: w["prefix"])

        self._own = pulumi.ResourceOptions(
            parent=self,
            provider=libvirt.Provider("libvirt", uri=args.uri, opts=self._after()),
            delete_before_replace=True,
            # A volume that a killed run left is adopted as it is, a domain or a network refused: neither is wanted.
            hooks=pulumi.ResourceHookBinding(before_create=[pulumi.ResourceHook("libvirt-clear", self._clear)]),
        )
        self._pool = libvirt.Pool(
            "pool",
            name=self._identity,
            type="dir",
            target={"path": self._where.apply(lambda w: w["pool"])},
            opts=self._own,
        )
        # Deleted after all that is in the pool, before the pool itself, which libvirt deletes only when it is empty.
        self._emptied = self._swept_at_the_end("volumes", self._pool)
        self._network = self._lab_network()
        base = self._uploaded("disk", "base", None)
        direct = self._direct_boot() if args.builds_image else {}
        guests = [self._guest(number, role, base, purpose) for number, role in enumerate(roles, start=1)]
        # Deleted after the guests that the state knows, before what they stand on: takes the others.
        swept = self._swept_at_the_end(
            "domains", self._network, *(guest.disk for guest in guests), *(guest.seed for guest in guests)
        )
        self.hosts = [self._host(guest, self._domain(guest, swept, direct)) for guest in guests]
        self.register_outputs({"prefix": self.prefix})

    def _after(self, *steps: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(steps) or None)

    def _image(self) -> local.Command:
        args = self._args
        return local_step(
            "image",
            self._scripts,
            "image.py",
            environment={
                "IMAGE": json.dumps(args.image.model_dump(by_alias=True, exclude_none=True), sort_keys=True),
                "DISK_GIB": str(args.disk_gib),
            },
            triggers=[built_image() if args.builds_image else ""],
            opts=self._after(),
        )

    def _place(self, *before: pulumi.Resource) -> local.Command:
        args = self._args
        return local_step(
            "place",
            self._scripts,
            "place.py",
            environment={
                **self._uri,
                "SUBNET": args.subnet or "",
                "STORAGE": args.storage or "",
                "PATIENCE": str(PATIENCE[args.accelerator]),
            },
            opts=self._after(*before),
        )

    def _swept_at_the_end(self, what: str, *stands_on: pulumi.Resource) -> local.Command:
        return local_step(
            what,
            self._scripts,
            "sweep.py",
            arguments=[what],
            environment={**self._uri, "LAB_ID": self._identity},
            opts=self._after(*stands_on),
        )

    def _lab_network(self) -> libvirt.Network:
        internet = self._args.internet
        return self._libvirt.Network(
            "network",
            name=self._identity,
            mode="nat" if internet else "none",
            addresses=[self.prefix.apply(lambda prefix: f"{prefix}.0/24")],
            dhcp={"enabled": False},
            # Without a way out, names outside the lab are not asked for either.
            dnsmasq_options=None if internet else {"options": [{"option_name": "no-resolv"}]},
            autostart=False,
            opts=self._own,
        )

    def _in_pool(self, **extra: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._own, pulumi.ResourceOptions(depends_on=[self._emptied], **extra))

    def _uploaded(self, part: str, file_name: str, form: str | None) -> libvirt.Volume:
        """One of the files that the image has, in the pool."""
        return self._libvirt.Volume(
            part,
            name=file_name,
            pool=self._pool.name,
            source=self._booted.apply(lambda b: str(b[part])),
            format=form,
            opts=self._in_pool(replacement_trigger=self._booted.apply(lambda b: str(b["digest"]))),
        )

    def _direct_boot(self) -> dict[str, Any]:
        """How an image without a boot loader is started."""
        return {
            "kernel": self._uploaded("kernel", "vmlinuz", "raw").id,
            "initrd": self._uploaded("initrd", "initrd.img", "raw").id,
            # libvirt gives words without a value back as the last map, and everything sorted.
            "cmdlines": [{"console": "ttyS0", "root": "/dev/vda"}, {"_": "rw"}],
        }

    def _guest(self, number: int, role: str, base: libvirt.Volume, purpose: str) -> _Guest:
        args, host = self._args, f"host-{number}"
        key = local_step(f"key-{host}", self._scripts, "keys.py", arguments=[host], secret=True, opts=self._after())
        pair: pulumi.Output[dict[str, str]] = pulumi.Output.secret(key.stdout.apply(json.loads))
        known = pulumi.Output.all(self._where, self._client, pair)
        first: pulumi.Output[dict[str, str]] = pulumi.Output.secret(
            known.apply(lambda x: seed(x[0], x[1], x[2], number, host, args))
        )
        # All that makes the guest what it is: disk, settings and machine are replaced together.
        made_of = pulumi.Output.unsecret(_made_of(first, self._booted, args, purpose))
        disk = self._libvirt.Volume(
            f"disk-{host}",
            name=host,
            pool=self._pool.name,
            base_volume_id=base.id,
            size=args.disk_gib * 2**30,
            format="qcow2",
            opts=self._in_pool(replacement_trigger=made_of),
        )
        settings = self._libvirt.CloudInitDisk(
            f"seed-{host}",
            name=f"{host}.iso",
            pool=self._pool.name,
            user_data=first.apply(lambda s: s["user"]),
            meta_data=first.apply(lambda s: s["meta"]),
            network_config=first.apply(lambda s: s["network"]),
            opts=self._in_pool(replacement_trigger=made_of, additional_secret_outputs=["userData"]),
        )
        return _Guest(host, number, role, pair, disk, settings)

    def _domain(self, guest: _Guest, swept: pulumi.Resource, direct: dict[str, Any]) -> libvirt.Domain:
        is_kvm = self._args.accelerator == "kvm"
        address = self._identity.apply(lambda lab: mac(lab, guest.name))
        return self._libvirt.Domain(
            f"domain-{guest.name}",
            name=pulumi.Output.concat(self._identity, f"-{guest.name}"),
            type="kvm" if is_kvm else "qemu",
            arch="x86_64",
            # Cloud kernels have no AHCI, and the provider's CD-ROM is an IDE one, which q35 has not.
            machine="pc",
            cpu={"mode": "host-passthrough" if is_kvm else "maximum"},
            vcpu=self._args.cpus,
            memory=self._args.memory_mib,
            disks=[{"volume_id": guest.disk.id}],
            cloudinit=guest.seed.id,
            network_interfaces=[{"network_id": self._network.id, "mac": address}],
            consoles=[{"type": "pty", "target_type": "serial", "target_port": "0"}],
            # The default one is spice on a port of libvirt's machine.
            graphics={"type": "vnc", "listen_type": "socket"},
            autostart=False,
            running=True,
            **direct,
            opts=pulumi.ResourceOptions.merge(
                self._own, pulumi.ResourceOptions(depends_on=[swept], replace_with=[guest.disk, guest.seed])
            ),
        )

    def _host(self, guest: _Guest, domain: libvirt.Domain) -> Host:
        address = pulumi.Output.concat(self.prefix, f".{FIRST_ADDRESS + guest.number}")
        public = guest.pair.apply(lambda p: p["public"])
        made = local_step(
            guest.name,
            self._scripts,
            "ready.py",
            arguments=[guest.name],
            environment={
                **self._uri,
                "DOMAIN": domain.name,
                "ADDRESS": address,
                "HOST_KEY": pulumi.Output.unsecret(public),
                "SSH_TIMEOUT_S": str(SSH_TIMEOUT_S[self._args.accelerator]),
            },
            triggers=[domain.id],
            opts=self._after(),
        )
        return Host(
            name=guest.name,
            role=guest.role,
            address=address,
            ssh=Ssh(user="root", port=22, jump_host=self._args.through),
            identity=made.stdout.apply(lambda text: str(json.loads(text)["identity"])),
            resource=made,
        )

    async def _clear(self, args: pulumi.ResourceHookArgs) -> None:
        """Before anything of the lab is made: removes what a killed or failed run left under its name."""
        given = args.new_inputs or {}
        kind = args.type.rpartition(":")[2]
        words = [str(PROJECT / self._scripts.folder / "clear.py"), kind, str(given["name"]), str(given.get("pool", ""))]
        process = await asyncio.create_subprocess_exec(
            *words, env={**os.environ, **self._uri}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(said.decode(errors="replace").strip())


def built_image() -> str:
    """The folder name of the image that ``make image`` has built last, its content key in it."""
    return (cache_folder() / "guests" / "debian").resolve().name


def _made_of(
    seeded: pulumi.Output[dict[str, str]], booted: pulumi.Output[dict[str, Any]], args: LibvirtSettings, purpose: str
) -> pulumi.Output[str]:
    given = [purpose, args.cpus, args.memory_mib, args.disk_gib, args.accelerator]
    return pulumi.Output.all(seeded, booted).apply(lambda x: short_digest(json.dumps([x[0], x[1]["digest"], given])))


KIND = HostKind(LibvirtSettings, LibvirtHosts, estimate, problems)
