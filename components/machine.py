"""What the operator's machine has."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.scripts.nspawn import subnet


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
    )
