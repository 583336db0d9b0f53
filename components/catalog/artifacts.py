"""What a lab's hosts get: each artifact from its vendor, or from where the lab's file says; and the container images."""

from __future__ import annotations

import functools
import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from components.catalog.pins import Pin, Release
from components.config.settings import Artifact, Image, LabSettings, SettingsError
from components.places import PROJECT
from inputs import textfile
from inputs.errors import InputError

_OF_IMAGES = ("manifest.json", "index.json", "oci-layout")
"""One of these is in every tar of images."""
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh")
"""How gzip, zstd, xz and bzip2 begin."""
_TAR_MARK_END = 512


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
            f"{lab.at('artifacts', unknown[0])}: {release.distribution} has no such artifact. It has "
            f"{', '.join(pin.name for pin in release.artifacts) or 'none'}. Nothing was made."
        )
        raise SettingsError(msg)
    found = [
        _artifact(pin, lab.artifacts.get(pin.name), lab.at("artifacts", pin.name))
        for pin in release.artifacts
        if _is_taken(pin, lab)
    ]
    for number, image in enumerate(lab.images):
        found += _images(lab.at("images", number), image)
    return [asdict(entry) for entry in found]


def _is_taken(pin: Pin, lab: LabSettings) -> bool:
    return not pin.optional or pin.name in lab.artifacts


def _artifact(pin: Pin, given: Artifact | None, where: str) -> Wanted:
    if given is None:
        return Wanted("file", pin.name, pin.url, pin.sha256, "pinned" if pin.sha256 else "")
    digest = given.sha256 or pin.sha256
    proof = "given" if given.sha256 else "pinned" if pin.sha256 else ""
    if _is_address(given.source):
        source = given.source + quote(pin.file) if given.source.endswith("/") else given.source
        return Wanted("file", pin.name, source, digest, proof)
    path = _local(where, given.source)
    source = given.source
    if path.is_dir():
        source = f"{given.source.rstrip('/')}/{pin.file}"
        path = _local(where, source)
    return Wanted("file", pin.name, source, _checked(where, path, digest), proof or "local")


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
        _require_images(where, tar)
        yield Wanted("image", _stem(tar.name), source, digest, proof or "local", image.name or "")


def _stem(source: str) -> str:
    """A tar's own name, without what says how it is packed."""
    return source.rpartition("/")[2].partition(".tar")[0] or "image"


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _local(where: str, source: str) -> Path:
    path = PROJECT / source
    try:
        path.stat()
    except FileNotFoundError:
        msg = f"{where}: there is no {source}. Name a file, a folder that holds it, or an http(s) address. Nothing was made."
        raise SettingsError(msg) from None
    except OSError as error:
        msg = f"{where}: {source} can't be read: {error.strerror}. Name a file that can be. Nothing was made."
        raise SettingsError(msg) from None
    return path


def _checked(where: str, path: Path, expected: str) -> str:
    """The file's digest, which must be the expected one, if any is."""
    try:
        textfile.require_regular(path, path.name)
        stat = path.stat()
        found = _digest(path, stat.st_size, stat.st_mtime_ns)
    except InputError as error:
        msg = f"{where}: {error} Nothing was made."
        raise SettingsError(msg) from None
    if stat.st_size == 0:
        msg = f"{where}: {path.name} is empty. Get it again. Nothing was made."
        raise SettingsError(msg)
    if expected and found != expected:
        msg = (
            f"{where}: {path.name} has the SHA-256 {found}, and it must have {expected}: it is damaged or another file. Get it again; "
            f"if it is what you want, say so with sha256: {found}. Nothing was made."
        )
        raise SettingsError(msg)
    return found


def _require_images(where: str, tar: Path) -> None:
    """Refuse what no container runtime imports; what is packed is only looked at from outside."""
    with tar.open("rb") as file:
        head = file.read(_TAR_MARK_END)
    if head.startswith(_PACKED):
        return
    try:
        with tarfile.open(tar, "r:") as content:
            if any(entry.name.removeprefix("./") in _OF_IMAGES for entry in content):
                return
        why = f"holds no container image (neither {' nor '.join(_OF_IMAGES)})"
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        why = f"is no tar ({error})"
    msg = f"{where}: {tar.name} {why}. Save images with 'docker save' or 'skopeo copy ... docker-archive:FILE'. Nothing was made."
    raise SettingsError(msg)


@functools.cache
def _digest(path: Path, _size: int, _modified_ns: int) -> str:
    """SHA-256: a program asks for it before and while it declares, and files have hundreds of megabytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
