"""What the operator's machine has."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path


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
