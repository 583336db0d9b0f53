#!/usr/bin/env python3
"""``image.py create|delete``: the disk image that guests boot, at hand and checked before libvirt sees it.

Prints ``{"digest", "disk"}`` with paths on this machine, for the image of ``make image`` also ``kernel`` and ``initrd``.
Environment: IMAGE, ``{"name"}`` or ``{"source", "sha256"}``; DISK_GIB, the size of a guest's disk, which must hold the image.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tomllib
from pathlib import Path

import virsh
from download import DownloadError, download
from virsh import CACHE, die

DOWNLOAD_S = 3600.0


def digest_of(path: Path) -> str:
    """SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked(path: Path, expected: str, fix: str) -> Path:
    """The file, which must have that digest; it may have changed since it was last looked at."""
    if not path.is_file():
        die(f"hosts.image: there is no file {path}. {fix}")
    found = digest_of(path)
    if found != expected:
        die(
            f"hosts.image: {path} has the SHA-256 {found}, and it must have {expected}. It is damaged, or another image, and libvirt was given nothing of it. {fix}"
        )
    return path


def built() -> dict[str, str]:
    """What ``make image`` has made."""
    folder = (CACHE / "guests" / "debian").resolve()
    fix = "Run 'make image', which builds it."
    try:
        manifest = json.loads((folder / "image.json").read_text(encoding="utf-8"))
    except OSError:
        die(f"hosts.image: debian is not built: {folder} has no image.json. {fix}")
    parts = {part: manifest[part] for part in ("disk", "kernel", "initrd")}
    paths = {part: str(checked(folder / p["file"], p["sha256"], fix)) for part, p in parts.items()}
    together = hashlib.sha256(" ".join(p["sha256"] for p in parts.values()).encode()).hexdigest()
    return {"digest": together, **paths}


def given(source: str, sha256: str) -> dict[str, str]:
    """A disk by path or address."""
    if source.startswith("/"):
        path = checked(
            Path(source),
            sha256,
            "Correct hosts.image.source or hosts.image.sha256 in the lab's file, then run the same command again.",
        )
    else:
        path = CACHE / "blobs" / sha256
        if path.is_file():
            checked(path, sha256, "Delete it, and the same command downloads it again.")
        else:
            fetch(source, sha256, path)
    return {"digest": sha256, "disk": str(path)}


def fetch(source: str, sha256: str, target: Path) -> None:
    """Into the cache; what an earlier run got of it is taken up."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{sha256[:16]}")
    try:
        download(source, partial, DOWNLOAD_S)
    except DownloadError as error:
        fix = (
            "Folders of daily images come and go; name an image in a release folder, or a local file."
            if error.refused
            else "Run the same command again to go on where it ended, or name a local file as hosts.image.source."
        )
        die(f"hosts.image: {source} could not be downloaded ({error.tries} tries): {error}. {fix}")
    found = digest_of(partial)
    if found != sha256:
        partial.unlink()
        die(
            f"hosts.image: {source} has the SHA-256 {found}, and hosts.image.sha256 is {sha256}. It is damaged, or another image: it was deleted, and libvirt was given nothing of it. The digest is in the SHA256SUMS beside the image."
        )
    partial.replace(target)


def virtual_bytes(disk: Path) -> int:
    """The size of the disk that an image shows a guest."""
    with disk.open("rb") as file:
        head = file.read(32)
    return int.from_bytes(head[24:32], "big") if head[:4] == b"QFI\xfb" else disk.stat().st_size


def create() -> None:
    """Find it, check it, and see that it fits on a guest's disk."""
    wanted = json.loads(os.environ["IMAGE"])
    if "name" in wanted and wanted["name"] != "debian":
        known = tomllib.loads((Path(__file__).parent / "images.toml").read_text(encoding="utf-8"))
        if wanted["name"] not in known:
            die(
                f"hosts.image: there is no image {wanted['name']!r}. Images: {', '.join(['debian', *sorted(known)])}; or give source and sha256 of one."
            )
        wanted = known[wanted["name"]]
    found = given(wanted["source"], wanted["sha256"]) if "source" in wanted else built()
    need, disk = virtual_bytes(Path(found["disk"])), int(os.environ["DISK_GIB"]) * 2**30
    if need > disk:
        die(
            f"hosts.diskGib is {os.environ['DISK_GIB']}, and the image is a disk of {need / 2**30:.1f} GiB: a guest's disk can't be smaller. Set hosts.diskGib to {-(-need // 2**30)} or more."
        )
    virsh.step_done("image", "lab")
    json.dump(found, sys.stdout)


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    match arguments:
        case ["create"]:
            create()
        case ["delete"]:
            pass
        case _:
            die("usage: image.py create|delete")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
