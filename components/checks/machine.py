"""What the operator's machine has."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.hosts.nspawn.scripts import subnet


@dataclass(frozen=True)
class Machine:
    """What this machine has."""

    architecture: str
    cpus: int
    memory_mib: int
    disk_free_gib: float
    is_root: bool
    network: subnet.Network | None = None
    """None: ``ip`` does not say."""
    cgroups: Cgroups | None = None


def swap_mib(swaps: str) -> int:
    """Size of all swap that is on, from the text of ``/proc/swaps``."""
    rows = (line.split() for line in swaps.splitlines()[1:])
    # A file's name may hold a blank, which the kernel writes as \\040; size is the third column.
    return sum(int(row[2]) for row in rows if len(row) >= 3 and row[2].isdigit()) // 1024


def can_forbid_swap(cgroups: Path = Path("/sys/fs/cgroup")) -> bool:
    """Whether the kernel counts swap by cgroup, so that hosts can be kept from it."""
    if (cgroups / "cgroup.controllers").exists():
        return any(cgroups.glob("*/memory.swap.max"))
    return any((cgroups / "memory" / name).exists() for name in ("memory.memsw.limit_in_bytes", "memory.swappiness"))


@dataclass(frozen=True)
class Cgroups:
    """The kernel's groups of processes, by which hosts are capped.

    Attributes:
        version: 1 or 2.
        controllers: what the kernel offers here.
        systemd: it runs outside, and makes the hosts' groups.
        writable: this user could make groups; not known to others than root.
        hybrid: version 1, with an empty hierarchy of version 2 beside it.
    """

    version: int
    controllers: frozenset[str]
    systemd: bool = False
    writable: bool = True
    hybrid: bool = False

    @property
    def shown(self) -> str:
        """In words."""
        if self.version == 1:
            return "v1, hybrid" if self.hybrid else "v1"
        return f"v2 {'under' if self.systemd else 'without'} systemd"

    @property
    def problem(self) -> str:
        """Why hosts can't be capped, with the fix, or nothing."""
        lacking = {"cpu", "memory", "pids"} - self.controllers
        if lacking:
            return (
                f"cgroups ({self.shown}) lack {', '.join(sorted(lacking))}, by which hosts are capped: boot with cgroup_enable=memory, or in a "
                "container start that with its controllers delegated ('docker run --privileged --cgroupns=host')"
            )
        if not self.writable:
            return (
                f"cgroups ({self.shown}) are read-only here, so hosts can't be capped: in a container, 'docker run --privileged "
                "--cgroupns=host'; else 'mount -o remount,rw /sys/fs/cgroup'"
            )
        return ""


def this_machines_cgroups(top: Path = Path("/sys/fs/cgroup"), systemd: Path = Path("/run/systemd/system")) -> Cgroups:
    """Look at them; a user who is not root can't tell whether root may write."""
    is_root = os.geteuid() == 0
    if (top / "cgroup.controllers").exists():
        offered = frozenset((top / "cgroup.controllers").read_text(encoding="utf-8").split())
        return Cgroups(2, offered, systemd.is_dir(), not is_root or os.access(top, os.W_OK))
    found = [path.name for path in top.glob("*") if (path / "cgroup.procs").exists()]
    offered = frozenset(part for name in found for part in name.split(","))
    writable = not is_root or all(os.access(top / name, os.W_OK) for name in found)
    return Cgroups(1, offered, systemd.is_dir(), writable, (top / "unified" / "cgroup.procs").exists())


def this_machine(folder: Path) -> Machine:
    """Look at the machine; ``folder`` is on the disk that hosts will use."""
    try:
        network = subnet.this_machine()
    except subnet.SubnetError:
        network = None
    page = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        architecture=platform.machine(),
        cpus=os.cpu_count() or 1,
        memory_mib=page // 2**20,
        disk_free_gib=shutil.disk_usage(folder).free / 2**30,
        is_root=os.geteuid() == 0,
        network=network,
        cgroups=this_machines_cgroups(),
    )
