"""The guests of a lab, and the pool and network that are theirs alone.

Addresses are static and DHCP is off, so there is no lease to wait for or to be met by. Each guest gets its ssh host key and
the stack's client key by cloud-init, so that its key is verified from the first connection on.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pulumi

from components.contract import Host, Ssh
from components.digests import short_digest
from components.hosts.libvirt.seed import FIRST_ADDRESS, PATIENCE, mac, seed
from components.hosts.libvirt.settings import LibvirtSettings
from components.steps import PROJECT, cache_folder, local_step, publish

if TYPE_CHECKING:
    import pulumi_libvirt as libvirt

SSH_TIMEOUT_S = {"kvm": 180, "tcg": 900}


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
        use: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("litelab:hosts:LibvirtHosts", name, None, opts)
        import pulumi_libvirt as libvirt  # other labs do without it

        scripts = publish("libvirt", pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run(), also=("download",))
        self._scripts = scripts
        self._uri = {"LIBVIRT_DEFAULT_URI": args.uri}
        inside = pulumi.ResourceOptions(parent=self)
        self.facts = pulumi.Output.from_input({})
        # What a host is given must not tell how many there are: a host more would replace all.
        keys = local_step("keys", scripts, "keys.py", arguments=["client"], secret=True, opts=inside)
        client: pulumi.Output[dict[str, str]] = pulumi.Output.secret(keys.stdout.apply(json.loads))
        image = local_step(
            "image",
            scripts,
            "image.py",
            environment={
                "IMAGE": json.dumps(args.image.model_dump(by_alias=True, exclude_none=True), sort_keys=True),
                "DISK_GIB": str(args.disk_gib),
            },
            triggers=[built_image() if args.builds_image else ""],
            opts=inside,
        )
        booted: pulumi.Output[dict[str, Any]] = image.stdout.apply(json.loads)
        place = local_step(
            "place",
            scripts,
            "place.py",
            environment={
                **self._uri,
                "SUBNET": args.subnet or "",
                "STORAGE": args.storage or "",
                "PATIENCE": str(PATIENCE[args.accelerator]),
            },
            opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[image, keys])),
        )
        where: pulumi.Output[dict[str, str]] = place.stdout.apply(json.loads)
        identity = where.apply(lambda w: w["id"])
        self.prefix = where.apply(lambda w: w["prefix"])

        provider = libvirt.Provider("libvirt", uri=args.uri, opts=inside)
        clear = pulumi.ResourceHook("libvirt-clear", self._clear)
        own = pulumi.ResourceOptions(
            parent=self,
            provider=provider,
            delete_before_replace=True,
            # A volume that a killed run left is adopted as it is, a domain or a network refused: neither is wanted.
            hooks=pulumi.ResourceHookBinding(before_create=[clear]),
        )

        pool = libvirt.Pool(
            "pool", name=identity, type="dir", target={"path": where.apply(lambda w: w["pool"])}, opts=own
        )
        # Deleted after all that is in the pool, before the pool itself, which libvirt deletes only when it is empty.
        emptied = local_step(
            "volumes",
            scripts,
            "sweep.py",
            arguments=["volumes"],
            environment={**self._uri, "LAB_ID": identity},
            opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[pool])),
        )
        network = libvirt.Network(
            "network",
            name=identity,
            mode="nat" if args.internet else "none",
            addresses=[self.prefix.apply(lambda prefix: f"{prefix}.0/24")],
            dhcp={"enabled": False},
            # Without a way out, names outside the lab are not asked for either.
            dnsmasq_options=None if args.internet else {"options": [{"option_name": "no-resolv"}]},
            autostart=False,
            opts=own,
        )

        def in_pool(*more: pulumi.Resource, **extra: Any) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions.merge(own, pulumi.ResourceOptions(depends_on=[emptied, *more], **extra))

        def uploaded(part: str, file_name: str, form: str | None) -> libvirt.Volume:
            return libvirt.Volume(
                part,
                name=file_name,
                pool=pool.name,
                source=booted.apply(lambda b: str(b[part])),
                format=form,
                opts=in_pool(replacement_trigger=booted.apply(lambda b: str(b["digest"]))),
            )

        base = uploaded("disk", "base", None)
        direct: dict[str, Any] = {}
        if args.builds_image:
            direct = {
                "kernel": uploaded("kernel", "vmlinuz", "raw").id,
                "initrd": uploaded("initrd", "initrd.img", "raw").id,
                # libvirt gives words without a value back as the last map, and everything sorted.
                "cmdlines": [{"console": "ttyS0", "root": "/dev/vda"}, {"_": "rw"}],
            }

        names = [f"host-{number}" for number in range(1, len(roles) + 1)]
        pairs: dict[str, pulumi.Output[dict[str, str]]] = {}
        seeds, disks = {}, {}
        for number, host in enumerate(names, start=1):
            key = local_step(f"key-{host}", scripts, "keys.py", arguments=[host], secret=True, opts=inside)
            pairs[host] = pulumi.Output.secret(key.stdout.apply(json.loads))
            first = _seed_of(where, client, pairs[host], number, host, args)
            # All that makes the guest what it is: disk, settings and machine are made anew together.
            made_of = pulumi.Output.unsecret(_made_of(first, booted, args, use))
            disks[host] = libvirt.Volume(
                f"disk-{host}",
                name=host,
                pool=pool.name,
                base_volume_id=base.id,
                size=args.disk_gib * 2**30,
                format="qcow2",
                opts=in_pool(replacement_trigger=made_of),
            )
            seeds[host] = libvirt.CloudInitDisk(
                f"seed-{host}",
                name=f"{host}.iso",
                pool=pool.name,
                user_data=first.apply(lambda s: s["user"]),
                meta_data=first.apply(lambda s: s["meta"]),
                network_config=first.apply(lambda s: s["network"]),
                opts=in_pool(replacement_trigger=made_of, additional_secret_outputs=["userData"]),
            )
        # Deleted after the guests that the state knows, before what they stand on: takes the others.
        swept = local_step(
            "domains",
            scripts,
            "sweep.py",
            arguments=["domains"],
            environment={**self._uri, "LAB_ID": identity},
            opts=pulumi.ResourceOptions.merge(
                inside, pulumi.ResourceOptions(depends_on=[network, *disks.values(), *seeds.values()])
            ),
        )

        self.hosts = []
        for number, (host, role) in enumerate(zip(names, roles, strict=True), start=1):
            domain = libvirt.Domain(
                f"domain-{host}",
                name=pulumi.Output.concat(identity, f"-{host}"),
                type="kvm" if args.accelerator == "kvm" else "qemu",
                arch="x86_64",
                # Cloud kernels have no AHCI, and the provider's CD-ROM is an IDE one, which q35 has not.
                machine="pc",
                cpu={"mode": "host-passthrough" if args.accelerator == "kvm" else "maximum"},
                vcpu=args.cpus,
                memory=args.memory_mib,
                disks=[{"volume_id": disks[host].id}],
                cloudinit=seeds[host].id,
                network_interfaces=[{"network_id": network.id, "mac": _mac_of(identity, host)}],
                consoles=[{"type": "pty", "target_type": "serial", "target_port": "0"}],
                # The default one is spice on a port of libvirt's machine.
                graphics={"type": "vnc", "listen_type": "socket"},
                autostart=False,
                running=True,
                **direct,
                opts=pulumi.ResourceOptions.merge(
                    own, pulumi.ResourceOptions(depends_on=[swept], replace_with=[disks[host], seeds[host]])
                ),
            )
            address = pulumi.Output.concat(self.prefix, f".{FIRST_ADDRESS + number}")
            made = local_step(
                host,
                scripts,
                "ready.py",
                arguments=[host],
                environment={
                    **self._uri,
                    "DOMAIN": domain.name,
                    "ADDRESS": address,
                    "HOST_KEY": pulumi.Output.unsecret(pairs[host].apply(lambda p: p["public"])),
                    "SSH_TIMEOUT_S": str(SSH_TIMEOUT_S[args.accelerator]),
                },
                triggers=[domain.id],
                opts=inside,
            )
            self.hosts.append(
                Host(
                    name=host,
                    role=role,
                    address=address,
                    ssh=Ssh(
                        user="root",
                        port=22,
                        private_key=client.apply(lambda c: c["private"]),
                        host_key=pairs[host].apply(lambda p: p["public"]),
                    ),
                    identity=made.stdout.apply(lambda text: str(json.loads(text)["identity"])),
                    made=made,
                )
            )
        self.register_outputs({"prefix": self.prefix})

    async def _clear(self, args: pulumi.ResourceHookArgs) -> None:
        """Before anything of the lab is made: takes away what a killed or failed run left under its name."""
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


def _mac_of(lab: pulumi.Output[str], host: str) -> pulumi.Output[str]:
    return lab.apply(lambda name: mac(name, host))


def _seed_of(
    where: pulumi.Output[dict[str, str]],
    client: pulumi.Output[dict[str, str]],
    pair: pulumi.Output[dict[str, str]],
    number: int,
    host: str,
    args: LibvirtSettings,
) -> pulumi.Output[dict[str, str]]:
    known = pulumi.Output.all(where, client, pair)
    return pulumi.Output.secret(known.apply(lambda x: seed(x[0], x[1], x[2], number, host, args)))


def _made_of(
    seeded: pulumi.Output[dict[str, str]], booted: pulumi.Output[dict[str, Any]], args: LibvirtSettings, use: str
) -> pulumi.Output[str]:
    given = [use, args.cpus, args.memory_mib, args.disk_gib, args.accelerator]
    return pulumi.Output.all(seeded, booted).apply(lambda x: short_digest(json.dumps([x[0], x[1]["digest"], given])))
