"""The copies of scripts that a lab's steps run: put back where the run folder lacks them.

Without its script a step's ``delete`` fails, and with it every ``destroy``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.steps.scripts import scripts_of
from tools.places import PROJECT

SHARED = ("ssh", "catalog", "forwarding", "clusters")
"""Parts that others are published with."""
OLD_NAMES = {"benchmark": "benchmarks", "forward": "forwarding"}
"""What parts were called by labs of Litelab 0.1."""


def missing(known: Iterable[Mapping[str, Any]], project: Path = PROJECT) -> list[Path]:
    """Folders of scripts that the state's steps name and that are not there, or lack the script."""
    found = set()
    for entry in known:
        step = (entry.get("inputs", {}).get("environment") or {}).get("STEP")
        if isinstance(step, str) and re.fullmatch(r"\.lab/run/[^/]+/[a-z0-9]+-[0-9a-f]{12}/[^/]+", step):
            path = project / step
            if not path.exists():
                found.add(path.parent)
    return sorted(found)


def put_back(known: Iterable[Mapping[str, Any]], project: Path = PROJECT) -> list[str]:
    """Copy today's scripts to where they are missing; names of the folders."""
    folders = missing(known, project)
    for folder in folders:
        part = folder.name.rpartition("-")[0]
        copy(OLD_NAMES.get(part, part), folder)
    return [folder.name for folder in folders]


def copy(part: str, folder: Path) -> None:
    """Copy today's scripts of a part into a folder, with what parts share."""
    for source in (*SHARED, part):
        shutil.copytree(scripts_of(source), folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    folder.chmod(0o755)
