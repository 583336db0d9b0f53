#!/usr/bin/env python3
"""``fetch.py create|delete|restore``: what the hosts of a lab get, whole and checked, in the cache; and the list of it.

Standard input: ``{"part", "version", "own": [images of set-up], "files": [{kind, name, source, sha256, proof, rename}]}``.
Files go to ``<cache>/blobs/<sha256>``. ``.lab/run/<stack>/<part>.list`` says what a host must have, one line each:
``version V``, ``file NAME SHA256`` or ``image NAME SHA256``. Prints the list's own digest, and of each file its digest and who
vouches for it. A download that nothing vouches for is recorded in ``.lab/artifacts.lock`` at its first use, and held to.
``restore`` does the same for a lab that another checkout made, from the state: ``{"stdin", "stdout"}``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from download import DownloadError, download

RUN = Path(__file__).resolve().parent.parent
OWN = RUN.parent.parent
PROJECT = OWN.parent
CACHE = Path(os.environ.get("LITELAB_CACHE") or PROJECT / ".cache")
BLOBS = CACHE / "blobs"
LOCK = OWN / "artifacts.lock"
DOWNLOAD_S = 1200.0
"""How long one file may take."""


def die(text: str) -> NoReturn:
    """End with one paragraph."""
    print(f"error: {text}", file=sys.stderr)
    sys.exit(1)


def main(arguments: list[str]) -> int:
    """Run one subcommand."""
    if arguments == ["delete"]:
        return 0
    if arguments not in (["create"], ["restore"]):
        die("usage: fetch.py create|delete|restore")
    request = json.load(sys.stdin)
    if arguments == ["restore"]:
        request, printed = json.loads(request["stdin"]), json.loads(request["stdout"])
        take_over(request["files"], printed["files"])
    BLOBS.mkdir(parents=True, exist_ok=True)
    lines, told = [f"version {request['version']}"], []
    for name in request["own"]:
        path = CACHE / "artifacts" / "upstream" / "images" / f"{name}.tar"
        if not path.is_file():
            die(f"the image {name} of set-up is not in {path.parent}. Run 'make setup', which makes it.")
        digest = keep(path)
        lines.append(f"image {name}-{digest[:8]} {digest}")
    for entry in request["files"]:
        path, digest, proof = fetch(entry)
        if entry["rename"]:
            digest = keep_renamed(path, entry)
        # Tars of one name from two folders are two files on a host.
        name = f"{entry['name']}-{digest[:8]}" if entry["kind"] == "image" else entry["name"]
        lines.append(f"{entry['kind']} {name} {digest}")
        told.append({"name": entry["name"], "sha256": digest, "proof": proof})
    text = "\n".join(dict.fromkeys(lines)) + "\n"
    write(RUN / f"{request['part']}.list", text.encode())
    if arguments == ["create"]:
        json.dump({"list": hashlib.sha256(text.encode()).hexdigest()[:12], "files": told}, sys.stdout)
    return 0


def take_over(wanted: list[dict[str, str]], printed: list[dict[str, str]]) -> None:
    """Hold to what was recorded at first use where the lab was made; a renamed image's own digest is not known."""
    digests = {entry["name"]: entry["sha256"] for entry in printed if entry["proof"] == "first use"}
    with locked() as known:
        for entry in wanted:
            if entry["name"] in digests and not entry["rename"]:
                known.setdefault(entry["source"], digests[entry["name"]])


def fetch(entry: dict[str, str]) -> tuple[Path, str, str]:
    """A file in the cache, its digest, and who vouches for it."""
    if not entry["source"].startswith(("http://", "https://")):
        path = PROJECT / entry["source"]
        if not path.is_file():
            die(
                f"{entry['name']}: there is no file {path} any more. Put it back, or change where the lab's file finds it."
            )
        # The program has read it for its digest; a file is under its digest only when it is whole.
        digest = entry["sha256"] if (BLOBS / (entry["sha256"] or "?")).is_file() else keep(path)
        return BLOBS / digest, check(entry, digest, entry["sha256"]), entry["proof"]
    with locked() as known:
        expected, proof = entry["sha256"], entry["proof"]
        if not expected:
            expected, proof = known.get(entry["source"], ""), "first use"
    if expected and (BLOBS / expected).is_file():
        return BLOBS / expected, expected, proof
    digest = downloaded(entry, expected)
    if not expected:
        print(
            f"{entry['name']}: nothing vouches for {entry['source']}; its digest {digest} is recorded in .lab/artifacts.lock and held to",
            file=sys.stderr,
        )
        with locked() as known:
            known[entry["source"]] = digest
    return BLOBS / digest, digest, proof


def check(entry: dict[str, str], found: str, expected: str) -> str:
    """The digest, which must be the expected one, if any is."""
    if expected and found != expected:
        die(
            f"{entry['name']}: {entry['source']} has the SHA-256 {found}, and it must have {expected}. It is damaged, or another file: nothing of it "
            "was used. Run the same command again; if it is what you want, put its digest into the lab's file as artifacts: "
            f"{{{entry['name']}: {{source: ..., sha256: {found}}}}}."
        )
    return found


def downloaded(entry: dict[str, str], expected: str) -> str:
    """Into the cache; its digest."""
    partial = BLOBS / f".partial-{hashlib.sha256(entry['source'].encode()).hexdigest()[:16]}-{os.getpid()}"
    try:
        download(entry["source"], partial, DOWNLOAD_S)
        digest = digest_of(partial)
        check(entry, digest, expected)
        partial.replace(BLOBS / digest)
        return digest
    except DownloadError as error:
        die(
            f"{entry['name']}: {entry['source']} could not be downloaded ({error.tries} tries): {error}. Run the same command again, or name a local "
            f"file or a mirror in the lab's file: artifacts: {{{entry['name']}: PATH-OR-ADDRESS}}."
        )
    finally:
        partial.unlink(missing_ok=True)


def keep(path: Path) -> str:
    """A copy of a local file in the cache; its digest."""
    digest = digest_of(path)
    if not (BLOBS / digest).is_file():
        partial = BLOBS / f".partial-{digest[:16]}-{os.getpid()}"
        try:
            shutil.copyfile(path, partial)
            if digest_of(partial) != digest:
                die(f"{path} changed while it was read. Run the same command again when it is whole.")
            partial.replace(BLOBS / digest)
        finally:
            partial.unlink(missing_ok=True)
    return digest


def keep_renamed(path: Path, entry: dict[str, str]) -> str:
    """A copy of an image's tar in which the image has another name; its digest. Same input, same bytes."""
    raw = io.BytesIO()
    try:
        with tarfile.open(path) as old, tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as new:
            for member in old:
                content = old.extractfile(member)
                data = content.read() if content else b""
                if member.name in {"index.json", "manifest.json"}:
                    data = renamed(member.name, data, entry["rename"])
                info = tarfile.TarInfo(member.name)
                info.type, info.mode, info.size = member.type, member.mode, len(data)
                new.addfile(info, io.BytesIO(data))
    except (tarfile.TarError, ValueError, KeyError) as error:
        die(
            f"{entry['source']} is no tar of one container image, so it can't be renamed to {entry['rename']}: {error}. Leave 'as' out, or name another tar."
        )
    digest = hashlib.sha256(raw.getvalue()).hexdigest()
    if not (BLOBS / digest).is_file():
        write(BLOBS / digest, raw.getvalue())
    return digest


def renamed(member: str, data: bytes, name: str) -> bytes:
    """An OCI index or a Docker manifest with one image, under another name.

    Raises:
        ValueError: it has not one image.
    """
    content: Any = json.loads(data)
    images = content["manifests"] if member == "index.json" else content
    if len(images) != 1:
        msg = f"{member} lists {len(images)} images"
        raise ValueError(msg)
    if member == "index.json":
        marks = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
        images[0]["annotations"] = {**images[0].get("annotations", {}), **marks}
    else:
        images[0]["RepoTags"] = [name]
    return json.dumps(content, sort_keys=True).encode()


def digest_of(path: Path) -> str:
    """SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    new = path.with_name(f".{path.name}.new-{os.getpid()}")
    new.write_bytes(content)
    new.replace(path)


@contextlib.contextmanager
def locked() -> Iterator[dict[str, str]]:
    """What was recorded at first use: address to digest; changes are written back."""
    with (OWN / ".artifacts.lock.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        known = json.loads(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else {}
        before = dict(known)
        yield known
        if known != before:
            write(LOCK, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
