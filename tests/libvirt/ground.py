"""Whether this machine can carry the tests' guests. ``python -m tests.libvirt.ground``: 0, or 1 and why it can't.

What set-up would fix without asking anybody is no hindrance.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from tools.errors import SetupError
from tools.places import TOOLS
from tools.setup import debian, packages

MEMORY_MIB = 2 * (1024 + 400) + 512
"""Two emulated guests, and room for Pulumi and the tests."""
APT_S = 300
TUN = Path("/dev/net/tun")


def hindrance() -> str:
    """Why guests can't be here; empty when they can."""
    if platform.machine() != "x86_64":
        return f"guests are x86_64, and this machine is {platform.machine()}"
    if os.geteuid() != 0:
        return "a libvirtd of the tests' own needs root, for its network namespace"
    if debian.release().get("ID") != "debian":
        return f"the guests' image is made of Debian's own packages, and this is {debian.release().get('ID')}"
    if not TUN.exists():
        return f"there is no {TUN}, by which guests reach their network"
    if (free := available_mib()) < MEMORY_MIB:
        return f"two guests take {MEMORY_MIB} MiB, and {free} are free"
    return _out_of_reach()


def available_mib() -> int:
    """Memory that can be had without swapping."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"))
    return int(found[1]) // 1024 if found else 0


def _out_of_reach() -> str:
    """Which packages apt can't bring; nothing is installed."""
    need: dict[str, Any] = tomllib.loads((TOOLS / "pins.toml").read_text(encoding="utf-8"))["needs"]["hosts"]["libvirt"]
    try:
        names = packages.missing({**need["debian"], **need["local"], **need["builds"]})
    except SetupError as error:
        return str(error)
    if not names:
        return ""
    if os.environ.get("CI") != "true" and os.environ.get("YES") != "1":
        return (
            f"{', '.join(names)} are not installed, and nobody has agreed to it: make setup STACK=libvirt-lab, or YES=1"
        )
    for words in (["update", "-qq"], ["install", "--simulate", "-qq", "--no-install-recommends", *names]):
        try:
            done = subprocess.run(
                ["apt-get", "-o", "DPkg::Lock::Timeout=300", *words],
                capture_output=True, text=True, check=False, timeout=APT_S, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"apt-get {words[0]} took more than {APT_S} s"
        if done.returncode != 0:
            last = next((line for line in done.stderr.splitlines() if line.startswith("E:")), "without a word")
            return f"apt-get {words[0]} does not bring {', '.join(names)}: {last}"
    return ""


if __name__ == "__main__":
    why = hindrance()
    print(why, end="\n" if why else "")
    sys.exit(bool(why))
