"""Three OS containers with systemd and sshd, each in a network namespace of its own, on this machine.

They share the machine's kernel: they are hosts to a kubelet, and no security boundary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pulumi
from pulumi_command import local
from pydantic import Field

from components.checks.machine import Machine
from components.config.settings import HostSettings, LabSettings, Slash24
from components.hosts.host import Host, HostKind, Ssh
from components.hosts.nspawn.scripts import subnet
from components.places import PROJECT, cache_folder
from components.steps.digests import short_digest
from components.steps.scripts import publish
from components.steps.steps import local_step
from inputs.places import Place

FIRST_ADDRESS = 10
"""host-N has the address PREFIX.(FIRST_ADDRESS + N)."""

IMAGES_AND_LOGS_GIB = 1.2
"""Disk that a host of an ``upstream`` lab takes: binaries 0.3, images 0.2, etcd, logs and room to work (measured: 0.7)."""

RESERVED_MIB = 1024
"""Memory left to the machine itself."""


class NspawnSettings(HostSettings):
    """The hosts of an nspawn lab."""

    kind: Literal["nspawn"] = Field("nspawn", description="What the hosts are made of")
    subnet: Slash24 | None = Field(None, description="The lab's IPv4 /24; default, one that this machine does not use")
    internet: bool = Field(False, description="Give hosts a way out, by user-space NAT")

    @property
    def is_local(self) -> bool:
        """Always."""
        return True

    def networks(self) -> dict[Place, str]:
        """The subnet, if it is named."""
        return {("hosts", "subnet"): self.subnet} if self.subnet else {}


def estimate(lab: LabSettings, machine: Machine) -> str:
    """One line: what the lab will take, beside what there is."""
    hosts = lab.host_count
    return (
        f"{hosts} hosts x {lab.hosts.cpus} CPUs and {lab.hosts.memory_mib} MiB (caps; this machine has {machine.cpus} CPUs "
        f"and {machine.memory_mib} MiB), about {hosts * IMAGES_AND_LOGS_GIB:.1f} GiB of disk ({machine.disk_free_gib:.0f} free)"
    )


def problems(lab: LabSettings, machine: Machine, is_new: bool) -> list[str]:
    """Why the lab can't be made here, each with its cure; empty when it can.

    Args:
        lab: the lab.
        machine: what there is.
        is_new: the lab has no hosts yet, so its disk is still to be taken.
    """
    found = []
    hosts = lab.host_count
    if machine.architecture != "x86_64":
        found.append(
            f"this machine is {machine.architecture}, and nspawn labs are built and tested on x86_64 alone. On arm64 `make doctor`, "
            "`make check`, `pulumi preview` and the reports run; labs do not"
        )
    if not machine.is_root:
        found.append("nspawn hosts are made by root, and you are not: run `sudo make lab`")
    need_mib = hosts * lab.hosts.memory_mib + RESERVED_MIB
    if machine.memory_mib < need_mib:
        fits = max((machine.memory_mib - RESERVED_MIB) // hosts, 0)
        cure = (
            f"set hosts.memoryMib to {fits} or less"
            if fits >= 1024
            else f"set workers to {max((machine.memory_mib - RESERVED_MIB) // 1024 - lab.controllers, 0)} or less and hosts.memoryMib to 1024"
        )
        found.append(
            f"{hosts} hosts of {lab.hosts.memory_mib} MiB and {RESERVED_MIB} MiB for the machine make {need_mib} MiB, "
            f"and it has {machine.memory_mib}: {cure}"
        )
    if lab.hosts.cpus > machine.cpus:
        found.append(
            f"hosts.cpus is {lab.hosts.cpus}, and this machine has {machine.cpus}: a host can't be given more; "
            f"set it to {machine.cpus} or less"
        )
    need_gib = hosts * IMAGES_AND_LOGS_GIB
    if is_new and machine.disk_free_gib < need_gib:
        found.append(
            f"the lab takes about {need_gib:.1f} GiB of disk, and {machine.disk_free_gib:.1f} GiB are free where {PROJECT.name}/ is: "
            "free some (`make clean-cache` names what can be rebuilt), or ask for fewer workers"
        )
    if machine.cgroups is not None and machine.cgroups.problem:
        found.append(machine.cgroups.problem)
    if is_new and machine.network is not None and isinstance(lab.hosts, NspawnSettings):
        try:
            chosen, _ = subnet.choose("preflight", machine.network, subnet.other_labs(), named=lab.hosts.subnet or "")
            subnet.rule_priority(chosen, machine.network)
        except subnet.SubnetError as error:
            found.append(str(error).rstrip("."))
    return found


def root_image() -> Path:
    """The root image that hosts are made from, its content key in its name."""
    return (cache_folder() / "rootfs" / "current").resolve()


class NspawnHosts(pulumi.ComponentResource):
    """The hosts of a lab, and the network between them.

    Attributes:
        hosts: controllers first, each reachable by ssh once its resource is made.
        facts: none; hosts are as their settings say.
        prefix: first three numbers of the lab's /24.
    """

    hosts: list[Host]
    facts: pulumi.Output[dict[str, Any]]
    prefix: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        args: NspawnSettings,
        roles: list[str],
        use: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("litelab:hosts:NspawnHosts", name, None, opts)
        scripts = publish("nspawn", pulumi.get_stack(), dry_run=pulumi.runtime.is_dry_run(), also=("ssh",))
        internet = str(args.internet).lower()
        inside = pulumi.ResourceOptions(parent=self)

        # What a host is given must not tell how many there are: a host more would replace all.
        keys = local_step("keys", scripts, "keys.sh", secret=True, opts=inside)
        network = local_step(
            "network",
            scripts,
            "network.sh",
            environment={"INTERNET": internet, "SUBNET": args.subnet or ""},
            opts=inside,
        )
        self.prefix = network.stdout
        self.facts = pulumi.Output.from_input({})
        self.hosts = []
        for number, role in enumerate(roles, start=1):
            host = f"host-{number}"
            made = local_step(
                host,
                scripts,
                "host.sh",
                arguments=[host],
                environment={
                    "INTERNET": internet,
                    "ADDRESS": str(FIRST_ADDRESS + number),
                    "CPUS": str(args.cpus),
                    "MEMORY_MIB": str(args.memory_mib),
                },
                # A new use, subnet, image or key is a new machine.
                triggers=[
                    use,
                    root_image().name,
                    network.stdout,
                    pulumi.Output.unsecret(keys.stdout.apply(short_digest)),
                ],
                # So does another size: the preview is to say that what is on the host goes.
                opts=pulumi.ResourceOptions.merge(
                    inside, pulumi.ResourceOptions(depends_on=[network, keys], replace_on_changes=["environment"])
                ),
            )
            self.hosts.append(
                Host(
                    name=host,
                    role=role,
                    address=pulumi.Output.concat(self.prefix, f".{FIRST_ADDRESS + number}"),
                    ssh=Ssh(user="root", port=22),
                    identity=_told(made, "identity"),
                    made=made,
                )
            )
        self.register_outputs({"prefix": self.prefix})


def _told(made: local.Command, key: str) -> pulumi.Output[str]:
    """One of the things that ``host.sh`` prints."""
    return made.stdout.apply(lambda text: str(json.loads(text)[key]))


KIND = HostKind(NspawnSettings, NspawnHosts, estimate, problems)
