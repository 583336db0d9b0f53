"""Where labs of MicroShift get it from in tests: the double (``tests/doubles/microshift``), or the real one.

The real one is taken when ``LITELAB_MICROSHIFT`` (a folder with an archive of Debian packages, ``microshift-debs-x86_64.tgz``) and
``LITELAB_MICROSHIFT_IMAGES`` (a folder of tars of the images that it starts) are set; ``LITELAB_MICROSHIFT_NEXT`` is a folder as the
first, of a later release, for the upgrade.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.doubles.hostimage import LATER, RELEASE, double_cache
from tests.doubles.microshift_packages import debs
from tests.lab import distributions as common
from tests.lab.lab import LabStack, environment

ARCHIVE = "microshift-debs-x86_64.tgz"
DOUBLES = {"4.22.7_29_gef322212c_4.22.0_okd_scos.9": RELEASE, "4.22.8_3_gef322212d_4.22.0_okd_scos.10": LATER}


@dataclass(frozen=True)
class Release:
    """A MicroShift to install: what it calls itself, and the folder of its archive."""

    version: str
    folder: Path


@dataclass(frozen=True)
class Vendor:
    """Where MicroShift is: the double, or the real one."""

    first: Release
    next: Release | None
    images: Path | None
    is_double: bool


def real(folder: str) -> Release:
    """The release that a folder's archive has: in a Debian package's version, a plus is what was an underscore."""
    with tarfile.open(Path(folder) / ARCHIVE) as archive:
        found = [re.search(r"(?:^|/)microshift_(.+)-\d+_amd64\.deb$", name) for name in archive.getnames()]
    (version,) = {match[1] for match in found if match}
    return Release(version.replace("+", "_"), Path(folder))


def vendor(folder: Path) -> Vendor:
    """The real one where it is given, else the double, whose archives go to a folder."""
    given = {name: os.environ.get(f"LITELAB_MICROSHIFT{name}") for name in ("", "_IMAGES", "_NEXT")}
    if given[""] and given["_IMAGES"]:
        later = real(given["_NEXT"]) if given["_NEXT"] else None
        return Vendor(real(given[""]), later, Path(given["_IMAGES"]), is_double=False)
    releases = []
    for version, kubernetes in DOUBLES.items():
        (folder / version).mkdir()
        releases.append(Release(version, debs(folder / version, version, kubernetes).parent))
    return Vendor(releases[0], releases[1], None, is_double=True)


def stack(name: str, vendor: Vendor, cache: Path, **settings: str) -> LabStack:
    """A lab of three hosts with the vendor's first release."""
    env = environment()
    if vendor.is_double:
        cache = double_cache(Path(env["LITELAB_CACHE"]), cache, "microshift", releases=(LATER,))
        env["LITELAB_CACHE"] = str(cache)
    settings = {
        **common.COMMON,
        "workloads": json.dumps(common.BOTH),
        "package": "deb",
        "version": vendor.first.version,
        "artifacts.debs": str(vendor.first.folder),
        **settings,
    }
    if vendor.images is not None:
        settings["images"] = json.dumps([{"source": str(vendor.images)}])
    return LabStack(name, settings, env, "microshift-lab")
