"""Virtual machines through libvirt: per lab a pool, a network and volumes of its own, guests alike by construction.

Addresses are static and DHCP is off, so there is no lease to wait for or to be met by. Each guest gets its ssh host key and
the stack's client key by cloud-init, so that its key is verified from the first connection on.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pulumi
import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from components.contract import Host, HostKind, Ssh
from components.digests import short_digest
from components.machine import Machine
from components.settings import HostSettings, LabSettings, Slash24
from components.steps import PROJECT, cache_folder, local_step, publish

if TYPE_CHECKING:
    import pulumi_libvirt as libvirt

FIRST_ADDRESS = 10
"""host-N has the address PREFIX.(FIRST_ADDRESS + N)."""
LOCAL_URIS = ("qemu:///system", "qemu:///session")
RESERVED_MIB = 1024
"""Memory left to the machine itself."""
MACHINE_MIB = {"kvm": 128, "tcg": 400}
"""What a machine takes beside its guest's memory (TCG keeps translated code; seen: 300)."""
DISK_IN_USE_GIB = 2.5
"""What a guest of an ``upstream`` lab has written to its disk when it is measured."""
SSH_TIMEOUT_S = {"kvm": 180, "tcg": 900}
PATIENCE = {"kvm": 1, "tcg": 8}
"""How many times longer than on hardware a step on a host may take."""

SYSTEMD = "/etc/systemd/system.conf.d/litelab.conf"


class Size(BaseModel):
    """What each guest gets; a plain name stands for one of ``SIZES``."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    cpus: Annotated[int, Field(ge=1, le=256)] = Field(description="Processors")
    memory_gib: Annotated[float, Field(ge=1, le=1024)] = Field(description="Memory, GiB")
    disk_gib: Annotated[int, Field(ge=2, le=16384)] = Field(description="Disk, GiB")

    @model_validator(mode="before")
    @classmethod
    def _plain_name_is_a_size(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in SIZES:
            msg = f"takes {', '.join(SIZES)}, or a mapping of cpus, memoryGib and diskGib"
            raise ValueError(msg)
        return SIZES[value]


SIZES: dict[str, dict[str, Any]] = {
    "small": {"cpus": 2, "memoryGib": 2, "diskGib": 10},
    # The study's own: two processors and 8 GB.
    "study": {"cpus": 2, "memoryGib": 8, "diskGib": 30},
}


class Image(BaseModel):
    """What guests boot: a name that ``components/scripts/libvirt/images.toml`` knows, or a disk image by path or address."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None = Field(
        None, description="debian (built by make image), or one of images.toml"
    )
    source: Annotated[str, Field(pattern=r"^(/|https?://)\S+$")] | None = Field(
        None, description="A qcow2 or raw disk: an absolute path, or an http(s) address in a release folder"
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(None, description="Its digest, in hex")

    @model_validator(mode="before")
    @classmethod
    def _plain_text_is_a_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_a_name_or_a_digest(self) -> Image:
        if (self.name is None) == (self.source is None):
            msg = "takes a name, or a source and its sha256"
            raise ValueError(msg)
        if (self.source is None) != (self.sha256 is None):
            msg = "sha256 and source go together: what guests boot is checked, and libvirt checks nothing"
            raise ValueError(msg)
        return self


class LibvirtSettings(HostSettings):
    """The hosts of a libvirt lab."""

    kind: Literal["libvirt"] = Field("libvirt", description="What the hosts are made of")
    size: Size = Field(
        default_factory=lambda: Size.model_validate("small"), description="small, study, or each by itself"
    )
    cpus: Annotated[int, Field(ge=1, le=256)] = Field(2, description="Processors of each guest; default, the size's")
    memory_mib: Annotated[int, Field(ge=1024, le=1048576)] = Field(2048, description="Memory, MiB; default, the size's")
    disk_gib: Annotated[int, Field(ge=2, le=16384)] = Field(10, description="Disk, GiB; default, the size's")
    image: Image = Field(default_factory=lambda: Image.model_validate("debian"), description="What guests boot")
    accelerator: Literal["kvm", "tcg"] = Field(
        "kvm", description="kvm, or tcg: emulated, many times slower, marked in results and never compared with kvm"
    )
    uri: str = Field("qemu:///system", description="Where libvirt is, as virsh takes it")
    storage: Annotated[str, Field(pattern=r"^/\S*$")] | None = Field(
        None, description="The folder on libvirt's machine below which the lab's pool is made"
    )
    subnet: Slash24 | None = Field(None, description="The lab's IPv4 /24; default, one that is not in use")
    internet: bool = Field(False, description="Give hosts a way out, by libvirt's NAT")

    @model_validator(mode="before")
    @classmethod
    def _size_fills_what_is_not_given(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        size = value.get("size", "small")
        known = SIZES.get(size) if isinstance(size, str) else size
        if not isinstance(known, Mapping):
            return value
        filled = {k: known[k] for k in ("cpus", "diskGib") if k in known}
        if isinstance(known.get("memoryGib"), int | float):
            filled["memoryMib"] = round(known["memoryGib"] * 1024)
        return {**filled, **value}

    @field_validator("uri")
    @classmethod
    def _is_an_address_of_libvirt(cls, value: str) -> str:
        if not re.fullmatch(r"(qemu|qemu\+unix|qemu\+ssh)://\S*/(system|session)(\?\S*)?", value):
            msg = "takes qemu:///system, qemu:///session or qemu+ssh://user@machine/system"
            raise ValueError(msg)
        return value

    @property
    def is_local(self) -> bool:
        """Whether guests run on this machine."""
        return not urllib.parse.urlsplit(self.uri).netloc

    def facts(self) -> dict[str, Any]:
        """What results say of the guests beside processors and memory."""
        image = self.image.name or f"sha256:{self.image.sha256}"
        return {"accelerator": self.accelerator, "diskGib": self.disk_gib, "image": image}


def estimate(lab: LabSettings, machine: Machine) -> str:
    """One line: what the lab will take, beside what there is."""
    args = _settings(lab)
    hosts = lab.host_count
    where = "" if args.is_local else f" on {urllib.parse.urlsplit(args.uri).hostname}"
    return (
        f"{hosts} guests ({args.accelerator}){where} x {args.cpus} CPUs, {args.memory_mib} MiB and a disk of {args.disk_gib} GiB "
        f"of which about {DISK_IN_USE_GIB} are written (this machine has {machine.cpus} CPUs and {machine.memory_mib} MiB, "
        f"{machine.disk_free_gib:.0f} GiB free)"
    )


def problems(lab: LabSettings, machine: Machine, is_new: bool) -> list[str]:
    """Why the lab can't be made here, each with its cure; empty when it can."""
    args = _settings(lab)
    found = []
    try:
        import pulumi_libvirt  # noqa: F401 - other labs do without it
    except ImportError:
        found.append(
            "the Python package pulumi-libvirt is not installed: `make setup STACK=...` of this stack brings it and its plugin"
        )
    for program, why, package in (
        ("virsh", "clears away what a killed run left", "libvirt-clients"),
        ("mkisofs", "makes the guests' first settings", "genisoimage"),
    ):
        if shutil.which(program) is None:
            found.append(f"there is no {program}, which {why}: `apt-get install {package}`")
    if found:
        return found
    found += _libvirt_problems(args)
    if args.is_local and is_new:
        found += _machine_problems(lab, args, machine)
    return found


def _settings(lab: LabSettings) -> LibvirtSettings:
    assert isinstance(lab.hosts, LibvirtSettings)
    return lab.hosts


def _libvirt_problems(args: LibvirtSettings) -> list[str]:
    try:
        asked = subprocess.run(
            ["virsh", "--connect", args.uri, "version"], capture_output=True, text=True, check=False, timeout=30
        )
        said = asked.stderr if asked.returncode else ""
    except subprocess.TimeoutExpired:
        said = "no answer within 30 s"
    if not said:
        return []
    cure = (
        "start it (`systemctl start libvirtd`), or name another in hosts.uri; a user needs the group libvirt for qemu:///system"
        if args.is_local
        else "log in there once with ssh, so that its key is known, and see that libvirtd runs there"
    )
    return [f"hosts.uri: libvirt at {args.uri} is not reached ({' '.join(said.split())[-200:]}): {cure}"]


def _machine_problems(lab: LabSettings, args: LibvirtSettings, machine: Machine) -> list[str]:
    from tools.setup import kvm  # a trial of seconds, only when guests are to be made here

    found = []
    hosts = lab.host_count
    if machine.architecture != "x86_64":
        found.append(
            f"this machine is {machine.architecture}, and guests are x86_64: use a machine that is, or nspawn hosts"
        )
    if args.cpus > machine.cpus:
        found.append(
            f"hosts.cpus is {args.cpus}, and this machine has {machine.cpus}: set it to {machine.cpus} or less"
        )
    need_mib = hosts * (args.memory_mib + MACHINE_MIB[args.accelerator]) + RESERVED_MIB
    if machine.memory_mib < need_mib:
        found.append(
            f"{hosts} guests of {args.memory_mib} MiB make {need_mib} MiB with their machines and {RESERVED_MIB} MiB for this one, "
            f"and it has {machine.memory_mib}: set hosts.memoryMib or workers lower"
        )
    if args.accelerator == "kvm":
        starts, why = kvm.starts_a_guest()
        if not starts:
            found.append(
                f"hosts.accelerator is kvm, and KVM starts no guest here ({why}): enable virtualization (nested, in a guest), or set "
                "hosts.accelerator to tcg, which is many times slower and never compared with kvm"
            )
    return found


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
            triggers=[built_image() if args.image.name == "debian" else ""],
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
        if args.image.name == "debian":
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


def mac(lab: str, host: str) -> str:
    """A host's hardware address, below QEMU's own prefix, in capitals as libvirt's provider gives it back."""
    last = hashlib.sha256(f"{lab} {host}".encode()).digest()[:3]
    return ":".join(f"{byte:02X}" for byte in (0x52, 0x54, 0x00, *last))


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


def seed(
    where: Mapping[str, str],
    client: Mapping[str, str],
    pair: Mapping[str, str],
    number: int,
    host: str,
    args: LibvirtSettings,
) -> dict[str, str]:
    """What cloud-init reads at the first boot: ``user``, ``meta`` and ``network``."""
    prefix = where["prefix"]
    # All that the subnet has room for: a host more changes no other host.
    names = "".join(f"{prefix}.{FIRST_ADDRESS + n} host-{n}\n" for n in range(1, 116))
    limits = f"DefaultTimeoutStopSec=10s\\nDefaultTimeoutStartSec={90 * PATIENCE[args.accelerator]}s\\n"
    user = {
        "disable_root": False,
        "users": [{"name": "root", "ssh_authorized_keys": [client["public"]]}],
        "ssh_authorized_keys": [client["public"]],
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": pair["private"], "ed25519_public": pair["public"]},
        "manage_etc_hosts": False,
        "locale": False,
        "package_update": False,
        "write_files": [
            {"path": "/etc/hosts", "content": f"127.0.0.1 localhost\n{names}"},
            # cloud-init's own module for it restarts sshd, which waits for cloud-init.
            {
                "path": "/etc/ssh/sshd_config.d/00-litelab.conf",
                "content": "PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            },
            {"path": "/etc/litelab/patience", "content": f"{PATIENCE[args.accelerator]}\n"},
        ],
        "bootcmd": [
            # Not loopback: distributions replace such a resolver by a public one.
            ["sh", "-c", f"rm -f /etc/resolv.conf; echo nameserver {prefix}.1 >/etc/resolv.conf"],
            [
                "sh",
                "-c",
                f"mkdir -p /etc/systemd/system.conf.d; printf '[Manager]\\n{limits}' >{SYSTEMD}; systemctl daemon-reexec",
            ],
        ],
        # Only what a lab needs: an emulated guest spends most of its boot in the rest.
        "cloud_init_modules": ["bootcmd", "write_files", "growpart", "resizefs", "set_hostname", "users-groups", "ssh"],
        "cloud_config_modules": [],
        "cloud_final_modules": [],
    }
    # In the form that cloud-init 22.4 takes: its routes know no "default".
    network = {
        "version": 2,
        "ethernets": {
            "lab": {
                "match": {"macaddress": mac(where["id"], host).lower()},
                "addresses": [f"{prefix}.{FIRST_ADDRESS + number}/24"],
                "gateway4": f"{prefix}.1",
                "nameservers": {"addresses": [f"{prefix}.1"]},
            }
        },
    }
    text = "#cloud-config\n" + yaml.safe_dump(user, sort_keys=False, width=4096)
    return {
        "user": text,
        "meta": yaml.safe_dump({"instance-id": f"{where['id']}-{host}", "local-hostname": host}),
        "network": yaml.safe_dump(network),
    }


KIND = HostKind(LibvirtSettings, LibvirtHosts, estimate, problems)
