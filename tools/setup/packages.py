"""Debian packages on this machine: listed with their reasons before they are installed, in one apt-get call."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from tools.errors import SetupError
from tools.progress import Progress


def missing(wanted: Mapping[str, str]) -> list[str]:
    """Which of the packages dpkg does not know as installed."""
    if shutil.which("dpkg-query") is None:
        msg = "Litelab sets itself up on Debian and Ubuntu, and this machine has no dpkg. Use a Debian 12 or Ubuntu machine or VM."
        raise SetupError(msg)
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    installed = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed and not _provided(name)]


def _provided(name: str) -> bool:
    # A Python of another origin than Debian's brings its own venv module.
    return name == "python3-venv" and not sys.executable.startswith("/usr/bin/")


def install(wanted: Mapping[str, str], progress: Progress) -> None:
    """Install what is missing, asking first unless ``CI=true`` or ``YES=1``.

    Raises:
        SetupError: not root, refused, or apt-get failed.
    """
    names = missing(wanted)
    if not names:
        return
    progress.say("Debian packages to install on this machine:")
    for name in names:
        progress.say(f"  {name:20} {wanted[name]}")
    command = f"apt-get install {' '.join(names)}"
    if os.geteuid() != 0:
        msg = f"These packages are missing, and installing them needs root. Run 'sudo make setup', or 'sudo {command}'."
        raise SetupError(msg)
    if os.environ.get("CI") != "true" and os.environ.get("YES") != "1":
        if not sys.stdin.isatty():
            msg = f"These packages are missing, and nobody is there to agree. Run '{command}', or set YES=1."
            raise SetupError(msg)
        if input("Install them now? [Y/n] ").strip().lower() not in {"", "y", "yes"}:
            msg = f"Nothing was installed. The lab needs them: run '{command}' when you like, then the same command again."
            raise SetupError(msg)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with progress.step("Debian packages", "download"):
        # Another package manager at work, unattended upgrades say, is waited for.
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
        progress.run("apt-update", [*apt, "update", "-qq"], environment=environment)
        progress.run(
            "apt-install", [*apt, "install", "-y", "-qq", "--no-install-recommends", *names], environment=environment
        )
