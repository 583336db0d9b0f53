"""Why this machine can't carry a lab of nspawn hosts, and what such a lab takes."""

from __future__ import annotations

from components.checks.machine import Machine
from components.config.settings import LabSettings
from components.hosts.nspawn.scripts import subnet
from components.hosts.nspawn.settings import NspawnSettings
from components.places import PROJECT

IMAGES_AND_LOGS_GIB = 1.2
"""Disk that a host of an ``upstream`` lab takes: binaries 0.3, images 0.2, etcd, logs and room to work (measured: 0.7)."""

RESERVED_MIB = 1024
"""Memory left to the machine itself."""


def estimate(lab: LabSettings, machine: Machine) -> str:
    """One line: what the lab will take, beside what there is."""
    hosts = lab.host_count
    return (
        f"{hosts} hosts x {lab.hosts.cpus} CPUs and {lab.hosts.memory_mib} MiB (caps; this machine has {machine.cpus} CPUs "
        f"and {machine.memory_mib} MiB), about {hosts * IMAGES_AND_LOGS_GIB:.1f} GiB of disk ({machine.disk_free_gib:.0f} free)"
    )


def problems(lab: LabSettings, machine: Machine, is_new: bool) -> list[str]:
    """Why the lab can't be made here, each with its fix; empty when it can.

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
        fix = (
            f"set hosts.memoryMib to {fits} or less"
            if fits >= 1024
            else f"set workers to {max((machine.memory_mib - RESERVED_MIB) // 1024 - lab.controllers, 0)} or less and hosts.memoryMib to 1024"
        )
        found.append(
            f"{hosts} hosts of {lab.hosts.memory_mib} MiB and {RESERVED_MIB} MiB for the machine make {need_mib} MiB, "
            f"and it has {machine.memory_mib}: {fix}"
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
