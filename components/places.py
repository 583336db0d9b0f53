"""Where things are: the project, what all labs share, the cache, a stack's run folder."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SITE = PROJECT / ".lab" / "site.yaml"
"""What all labs of the checkout share."""


def cache_folder() -> Path:
    """Where set-up keeps what can be rebuilt."""
    return Path(os.environ.get("LITELAB_CACHE") or PROJECT / ".cache")


def run_folder(stack: str) -> Path:
    """The stack's run folder, relative to the project: keys, ssh configuration, host disks, copied scripts."""
    return Path(".lab") / "run" / stack


def lab_stands(run: Path) -> bool:
    """Whether a lab has hosts, by its run folder: local kinds leave ``lab.env`` with their network, every kind ``ssh_config``."""
    return any((run / name).exists() for name in ("lab.env", "ssh_config"))
