"""Where k0s is, the double or the real one, and labs of it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.doubles.hostimage import LATER, RELEASE, double_cache
from tests.lab.distributions import COMMON
from tests.lab.installed import Release, stamped
from tests.lab.lab import LabStack, environment


@dataclass(frozen=True)
class Vendor:
    """Where k0s is: the double, or the real one."""

    first: Release
    next: Release | None
    images: str
    is_double: bool


def real(path: str) -> Release:
    said = subprocess.run([path, "version"], capture_output=True, text=True, check=True, timeout=60).stdout
    return Release(said.strip(), Path(path))


def find_vendor(folder: Path) -> Vendor:
    """The real one where the environment names it; else the double, put into a folder."""
    given = {name: os.environ.get(f"LITELAB_K0S{name}") for name in ("", "_IMAGES", "_NEXT")}
    if given[""] and given["_IMAGES"]:
        later = real(given["_NEXT"]) if given["_NEXT"] else None
        return Vendor(real(given[""]), later, json.dumps([given["_IMAGES"]]), is_double=False)
    first, later = (stamped(folder, "k0s", v) for v in (f"{RELEASE}+k0s.0", f"{LATER}+k0s.0"))
    images = Path(environment()["LITELAB_CACHE"]) / "artifacts" / "upstream" / "images"
    named = [
        {"source": str(images / "coredns.tar"), "as": "quay.io/k0sproject/coredns:1.13.1"},
    ]
    return Vendor(first, later, json.dumps(named), is_double=True)


def lab_of(vendor: Vendor, name: str, folder: Path, **more: str) -> LabStack:
    """A lab of its first release that has not been brought up; the folder is for the double's cache."""
    env = environment()
    cache = Path(env["LITELAB_CACHE"])
    if vendor.is_double:
        cache = double_cache(cache, folder, "", releases=(LATER,))
    settings = {
        **COMMON,
        "version": vendor.first.version,
        "artifacts": artifacts(vendor.first),
        "images": vendor.images,
        **more,
    }
    return LabStack(name, settings, {**env, "LITELAB_CACHE": str(cache)}, "k0s-lab")


def artifacts(release: Release) -> str:
    """The setting that installs it."""
    return json.dumps({"k0s": str(release.binary)})
