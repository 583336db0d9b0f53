"""The virtual environment, from lock files with hashes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tools import environment
from tools.places import TOOLS
from tools.progress import Progress
from tools.setup import pip
from tools.setup.cache import key_of, link, remove

# libvirt and clouds are apart: Pulumi looks for the plugin of every SDK that is installed, at each start.
GROUPS = ("runtime", "tests", "report", "clouds", "libvirt")


def place(cache: Path) -> Path:
    """Where the environment of a cache is, by what it is made of."""
    version = ".".join(map(str, sys.version_info[:3]))
    # The key takes every lock, also of groups not wanted yet: they go into the same environment.
    return cache / f"venv-{key_of(version, str(cache), *(TOOLS / 'locks' / f'{group}.txt' for group in GROUPS))}"


def ensure(cache: Path, groups: tuple[str, ...], progress: Progress) -> Path:
    """The environment with these groups in it; a changed lock makes a new one.

    Each group leaves a stamp when it is whole, so an interrupted set-up installs the rest.
    """
    locks = {group: TOOLS / "locks" / f"{group}.txt" for group in GROUPS}
    folder = place(cache)
    python = folder / "bin" / "python3"
    if not (folder / ".made").exists():
        remove([folder])
        with progress.step("virtual environment"):
            command = [sys.executable, "-m", "venv", str(folder)]
            progress.run("venv", command, environment=environment.for_builds(os.environ))
        (folder / ".made").touch()
    wanted = [group for group in groups if not (folder / f".{group}").exists()]
    # Asked once, and only when something is installed: pip takes half a second to say it.
    pip_environment = pip.environment(cache, python) if wanted else {}
    for group in wanted:
        with progress.step(f"Python packages: {group}", "download"):
            command = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--requirement"]
            progress.run(f"pip-{group}", [*command, str(locks[group])], environment=pip_environment)
        (folder / f".{group}").touch()
    link(cache / "venv", folder)
    return folder
