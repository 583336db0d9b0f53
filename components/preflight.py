"""What a lab needs of this machine, said before anything is made. ``python -m components.preflight STACK`` prints it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from components import settings
from components.steps import PROJECT, run_folder

IMAGES_AND_LOGS_GIB = 1.2
"""Disk that a host of an ``upstream`` lab takes: binaries 0.3, images 0.2, etcd, logs and room to work (measured: 0.7)."""

RESERVED_MIB = 1024
"""Memory left to the machine itself."""


@dataclass(frozen=True)
class Machine:
    """What this machine has."""

    architecture: str
    cpus: int
    memory_mib: int
    disk_free_gib: float
    is_root: bool


def this_machine(folder: Path) -> Machine:
    """Look at the machine; ``folder`` is on the disk that hosts will use."""
    page = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        architecture=platform.machine(),
        cpus=os.cpu_count() or 1,
        memory_mib=page // 2**20,
        disk_free_gib=shutil.disk_usage(folder).free / 2**30,
        is_root=os.geteuid() == 0,
    )


def estimate(lab: settings.LabSettings, machine: Machine) -> str:
    """One line: what the lab will take, beside what there is."""
    hosts = 1 + lab.workers
    return (
        f"{hosts} hosts x {lab.hosts.cpus} CPUs and {lab.hosts.memory_mib} MiB (caps; this machine has {machine.cpus} CPUs "
        f"and {machine.memory_mib} MiB), about {hosts * IMAGES_AND_LOGS_GIB:.1f} GiB of disk ({machine.disk_free_gib:.0f} free)"
    )


def problems(lab: settings.LabSettings, machine: Machine, *, is_new: bool) -> list[str]:
    """Why the lab can't be made here, each with its cure; empty when it can.

    Args:
        lab: the lab.
        machine: what there is.
        is_new: the lab has no hosts yet, so its disk is still to be taken.
    """
    found = []
    hosts = 1 + lab.workers
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
            else f"set workers to {max((machine.memory_mib - RESERVED_MIB) // 1024 - 1, 0)} or less and hosts.memoryMib to 1024"
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
    return found


def require(lab: settings.LabSettings, stack: str) -> None:
    """Refuse a lab that this machine can't carry.

    Raises:
        settings.SettingsError: every reason, with its cure.
    """
    is_new = not (PROJECT / run_folder(stack) / "lab.env").exists()
    found = problems(lab, this_machine(PROJECT), is_new=is_new)
    if found:
        msg = f"Stack {stack} can't be made on this machine: {'; '.join(found)}. Nothing was made."
        raise settings.SettingsError(msg)


def _overrides(stack: str) -> dict[str, object]:
    """The stack's own ``litelab:`` configuration, as Pulumi prints it."""
    shown = subprocess.run(
        ["pulumi", "config", "--json", "--stack", stack, "--cwd", str(PROJECT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode != 0:
        msg = f"Stack {stack}: Pulumi can't show its configuration: {' '.join(shown.stderr.split())}"
        raise settings.SettingsError(msg)
    values = {}
    for key, entry in json.loads(shown.stdout).items():
        name = key.removeprefix("litelab:")
        values[name] = entry["objectValue"] if "objectValue" in entry else settings.typed(name, entry.get("value", ""))
    return values


def main(arguments: list[str]) -> int:
    """Print the estimate; 1 and one paragraph when the lab can't be made."""
    if len(arguments) != 1:
        print("usage: python -m components.preflight STACK", file=sys.stderr)
        return 2
    stack = arguments[0]
    try:
        values = _overrides(stack)
        lab = settings.load(PROJECT / "stacks", stack, str(values.pop("lab", "") or ""), values)
        print(f"{stack}: {estimate(lab, this_machine(PROJECT))}")
        require(lab, stack)
    except settings.SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
