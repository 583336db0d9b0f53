"""The double's packages as the community releases them: an archive of Debian packages, with CRI-O, kubectl and skopeo beside MicroShift."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

PACKAGES = Path(__file__).resolve().parent / "microshift" / "packages"


def debs(target: Path, version: str, kubernetes: str, architecture: str = "amd64") -> Path:
    """Make ``microshift-debs-x86_64.tgz`` in a folder.

    Args:
        target: the folder.
        version: what MicroShift calls itself, in a release's form: ``4.21.0_g29f429c21_4.21.0_okd_scos.ec.15``.
        kubernetes: of which upstream release; one that the host's image has.
        architecture: as Debian calls it.
    """
    work = target / f"debs-{version}"
    shutil.rmtree(work, ignore_errors=True)
    out = work / "deb"
    out.mkdir(parents=True)
    # What alien makes of an RPM's version; Debian's take no underscores.
    plain = version.replace("_", "+")
    for source in sorted(PACKAGES.iterdir()):
        tree = work / source.name
        shutil.copytree(source, tree)
        if source.name == "microshift":
            release = tree / "usr/share/microshift/release"
            release.mkdir(parents=True)
            (release / "version").write_text(f"{version}\n", encoding="utf-8")
            (release / "kubernetes").write_text(f"{kubernetes}\n", encoding="utf-8")
        (tree / "DEBIAN").mkdir()
        ours = source.name.startswith("microshift")
        (tree / "DEBIAN/control").write_text(
            f"Package: {source.name}\nVersion: {plain if ours else '1.35.0'}-1\nArchitecture: {architecture}\nMaintainer: double\nDescription: double of {source.name}\n",
            encoding="utf-8",
        )
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(tree), str(out / f"{source.name}_{plain if ours else '1.35.0'}-1_{architecture}.deb")],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    (out / "dependencies.txt").write_text("CRIO_VERSION=1.35\n", encoding="utf-8")
    archive = target / "microshift-debs-x86_64.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(out, "deb")
    shutil.rmtree(work)
    return archive
