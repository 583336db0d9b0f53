"""Where K3s is, the double or the real one, and labs of it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.doubles.hostimage import DOUBLES, LATER, RELEASE, double_cache
from tests.lab.distributions import COMMON
from tests.lab.installed import Release, stamped
from tests.lab.lab import LabStack, environment


@dataclass(frozen=True)
class Vendor:
    """Where K3s is: the double, or the real one."""

    install: Path
    first: Release
    next: Release | None
    is_double: bool


def real(path: str) -> Release:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    return Release(said.split()[2], Path(path))


def find_vendor(folder: Path) -> Vendor:
    """The real one where the environment names it; else the double, put into a folder."""
    given = {name: os.environ.get(f"LITELAB_K3S{name}") for name in ("", "_INSTALL", "_NEXT")}
    if given[""] and given["_INSTALL"]:
        later = real(given["_NEXT"]) if given["_NEXT"] else None
        return Vendor(Path(given["_INSTALL"]), real(given[""]), later, is_double=False)
    first, later = (stamped(folder, "k3s", v) for v in (f"{RELEASE}+k3s1", f"{LATER}+k3s1"))
    return Vendor(DOUBLES / "k3s" / "install.sh", first, later, is_double=True)


def lab_of(vendor: Vendor, name: str, folder: Path, **more: str) -> LabStack:
    """A lab of its first release that has not been brought up; the folder is for the double's cache."""
    env = environment()
    cache = Path(env["LITELAB_CACHE"])
    images = cache / "artifacts" / "upstream" / "images"
    if vendor.is_double:
        cache = double_cache(cache, folder, "", releases=(LATER,))
    settings = {
        **COMMON,
        "version": vendor.first.version,
        "artifacts": artifacts(vendor, vendor.first),
        "images": json.dumps(
            [
                {"source": str(images / "pause.tar"), "as": "docker.io/rancher/mirrored-pause:3.6"},
                {"source": str(images / "coredns.tar"), "as": "docker.io/rancher/mirrored-coredns-coredns:1.13.1"},
            ]
        ),
        **more,
    }
    return LabStack(name, settings, {**env, "LITELAB_CACHE": str(cache)}, "k3s-lab")


def artifacts(vendor: Vendor, release: Release) -> str:
    """The setting that installs it."""
    digest = subprocess.run(["sha256sum", str(vendor.install)], capture_output=True, text=True, check=True).stdout[:64]
    return json.dumps({"k3s": str(release.binary), "install": {"source": str(vendor.install), "sha256": digest}})
