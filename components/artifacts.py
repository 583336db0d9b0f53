"""What a lab's hosts get: each artifact from its vendor, or from where the lab's file says; and the container images."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from components.pins import Pin, Release
from components.settings import Artifact, Image, LabSettings, SettingsError
from components.steps import PROJECT


@dataclass(frozen=True)
class Wanted:
    """One file that hosts get.

    Attributes:
        kind: ``file``, a program or archive; ``image``, a tar of container images.
        name: the artifact's name; of an image, a name for its tar.
        source: an address, or a path (relative ones start at the project).
        sha256: what its content must be, or ``""``.
        proof: who says so: ``pinned``, ``given`` (by the lab's file), ``local`` (the file itself), ``""`` (nobody).
        rename: of an image, the full name that it gets, or ``""``.
    """

    kind: str
    name: str
    source: str
    sha256: str
    proof: str
    rename: str = ""


def wanted(lab: LabSettings, release: Release) -> list[dict[str, str]]:
    """Every file that the lab's hosts get, in a steady order.

    Raises:
        SettingsError: a local file is not there, or is another than the digest says.
    """
    unknown = sorted(set(lab.artifacts) - {pin.name for pin in release.artifacts})
    if unknown:
        msg = (
            f"artifacts.{unknown[0]}: {release.distribution} has no such artifact. It has "
            f"{', '.join(pin.name for pin in release.artifacts) or 'none'}. Nothing was made."
        )
        raise SettingsError(msg)
    found = [_artifact(pin, lab.artifacts.get(pin.name)) for pin in release.artifacts if _is_taken(pin, lab)]
    for number, image in enumerate(lab.images):
        found += _images(f"images.{number}", image)
    return [asdict(entry) for entry in found]


def _is_taken(pin: Pin, lab: LabSettings) -> bool:
    return not pin.optional or pin.name in lab.artifacts


def _artifact(pin: Pin, given: Artifact | None) -> Wanted:
    if given is None:
        return Wanted("file", pin.name, pin.url, pin.sha256, "pinned" if pin.sha256 else "")
    digest = given.sha256 or pin.sha256
    proof = "given" if given.sha256 else "pinned" if pin.sha256 else ""
    if _is_address(given.source):
        source = given.source + quote(pin.file) if given.source.endswith("/") else given.source
        return Wanted("file", pin.name, source, digest, proof)
    path = _local(f"artifacts.{pin.name}", given.source)
    source = given.source
    if path.is_dir():
        source = f"{given.source.rstrip('/')}/{pin.file}"
        path = _local(f"artifacts.{pin.name}", source)
    return Wanted("file", pin.name, source, _checked(f"artifacts.{pin.name}", path, digest), proof or "local")


def _images(where: str, image: Image) -> Iterator[Wanted]:
    proof = "given" if image.sha256 else ""
    if _is_address(image.source):
        yield Wanted("image", _stem(image.source), image.source, image.sha256 or "", proof, image.name or "")
        return
    path = _local(where, image.source)
    tars = sorted(path.glob("*.tar*")) if path.is_dir() else [path]
    if not tars or (path.is_dir() and (image.name or image.sha256)):
        msg = (
            f"{where}: {image.source} is a folder{'' if tars else ' without a tar'}; name a folder of tars alone, or one tar with its "
            "name and digest. Nothing was made."
        )
        raise SettingsError(msg)
    for tar in tars:
        source = f"{image.source.rstrip('/')}/{tar.name}" if path.is_dir() else image.source
        digest = _checked(where, tar, image.sha256 or "")
        yield Wanted("image", _stem(tar.name), source, digest, proof or "local", image.name or "")


def _stem(source: str) -> str:
    """A tar's own name, without what says how it is packed."""
    return source.rpartition("/")[2].partition(".tar")[0] or "image"


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _local(where: str, source: str) -> Path:
    path = PROJECT / source
    if not path.exists():
        msg = f"{where}: there is no {source}. Name a file, a folder that holds it, or an http(s) address. Nothing was made."
        raise SettingsError(msg)
    return path


def _checked(where: str, path: Path, expected: str) -> str:
    """The file's digest, which must be the expected one, if any is."""
    stat = path.stat()
    found = _digest(path, stat.st_size, stat.st_mtime_ns)
    if expected and found != expected:
        msg = (
            f"{where}: {path.name} has the SHA-256 {found}, and it must have {expected}: it is damaged or another file. Get it again; "
            f"if it is what you want, say so with sha256: {found}. Nothing was made."
        )
        raise SettingsError(msg)
    return found


@functools.cache
def _digest(path: Path, _size: int, _modified_ns: int) -> str:
    """SHA-256: a program asks for it before and while it declares, and files have hundreds of megabytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
