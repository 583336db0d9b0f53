"""Whether guests can be made, said before anything is: programs, libvirt itself, and what this machine has."""

from __future__ import annotations

import shutil
import subprocess
import urllib.parse

from components.checks.machine import Machine
from components.config.settings import LabSettings
from components.forwarding import component as forwarding
from components.hosts.libvirt.settings import LibvirtSettings

RESERVED_MIB = 1024
"""Memory left to the machine itself."""
MACHINE_MIB = {"kvm": 128, "tcg": 400}
"""What a machine takes beside its guest's memory (TCG keeps translated code; seen: 300)."""
DISK_IN_USE_GIB = 2.5
"""What a guest of an ``upstream`` lab has written to its disk when it is measured."""


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
    """Why the lab can't be made here, each with its fix; empty when it can."""
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
    if args.through and (refused := forwarding.refusal(args.through)):
        return [f"hosts.uri: {refused}"]
    # Nobody is there to answer ssh's questions.
    uri = f"{args.uri}{'&' if '?' in args.uri else '?'}no_tty=1" if args.through else args.uri
    try:
        asked = subprocess.run(
            ["virsh", "--connect", uri, "version"], capture_output=True, text=True, check=False, timeout=30
        )
        said = asked.stderr if asked.returncode else ""
    except subprocess.TimeoutExpired:
        said = "no answer within 30 s"
    if not said:
        return []
    fix = (
        "start it (`systemctl start libvirtd`), or name another in hosts.uri; a user needs the group libvirt for qemu:///system"
        if args.is_local
        else "ssh gets there; see that libvirtd runs, and that the user is in its group libvirt ('virsh --connect qemu:///system version' there)"
    )
    return [f"hosts.uri: libvirt at {args.uri} is not reached ({' '.join(said.split())[-200:]}): {fix}"]


def _machine_problems(lab: LabSettings, args: LibvirtSettings, machine: Machine) -> list[str]:
    from components.checks import kvm

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
