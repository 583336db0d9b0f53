"""A root image whose hosts have doubles: the one of set-up, with commands of another operating system and distribution added.

Labs take it by ``LITELAB_CACHE``: a folder of links to the real cache, with a ``rootfs`` of its own. Files are hard links, so it takes
no room but for what is added.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.setup import pins

DOUBLES = Path(__file__).resolve().parent
RELEASE = str(pins.load()["go"]["programs"]["kubernetes"]["version"])
"""What set-up builds, and what runs behind doubles."""
LATER = f"{RELEASE[:-1]}{int(RELEASE[-1]) + 1}"
"""A patch release that doubles can be upgraded to."""
SHARE = Path("usr/share/litelab-double")

UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nPRETTY_NAME="Ubuntu 24.04 (double)"\n'
CENTOS = (
    'NAME="CentOS Stream"\nID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="9"\nPRETTY_NAME="CentOS Stream 9 (double)"\n'
)
RHEL = 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.6"\nPRETTY_NAME="Red Hat Enterprise Linux 9.6 (double)"\n'


def double_cache(
    real: Path,
    target: Path,
    double: str,
    *,
    os_release: str = UBUNTU,
    store: str = "",
    releases: tuple[str, ...] = (),
    more: Mapping[str, str] | None = None,
) -> Path:
    """A cache whose hosts have a double; made once for what it is made of.

    Args:
        real: the cache of set-up.
        target: where to put it.
        double: a folder here with a tree ``root/`` for the hosts; ``""`` for doubles that come as artifacts (K3s, k0s).
        os_release: what hosts call their system.
        store: what the double's vendor has, in the double's own form; ``""``, no vendor to be reached.
        releases: further versions of Kubernetes: the same programs, which call themselves that (same length as set-up's).
        more: further files, by path in the image.
    """
    base = (real / "rootfs" / "current").resolve()
    trees = [DOUBLES / "behind", *([DOUBLES / double / "root"] if double else [])]
    state = hashlib.sha256(repr((base.name, os_release, store, releases, sorted((more or {}).items()))).encode())
    for tree in trees:
        for path in sorted(p for p in tree.rglob("*") if p.is_file()):
            state.update(f"{path.relative_to(tree)}\0{path.stat().st_mode}\0".encode() + path.read_bytes())
    name = f"{base.name}-{double or 'upstream'}-{state.hexdigest()[:12]}"
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".double-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for entry in real.iterdir():
            if entry.name not in {"rootfs", "blobs", "lock", "logs"} and not (target / entry.name).exists():
                (target / entry.name).symlink_to(entry.resolve())
        folder = target / "rootfs"
        folder.mkdir(exist_ok=True)
        if not (folder / name).exists():
            _assemble(real, base, folder / name, trees, os_release, store, releases, more or {})
        new = folder / ".current"
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        new.replace(folder / "current")
    return target


def _assemble(
    real: Path,
    base: Path,
    image: Path,
    trees: list[Path],
    os_release: str,
    store: str,
    releases: tuple[str, ...],
    more: Mapping[str, str],
) -> None:
    made = image.with_name(f".{image.name}")
    if made.exists():
        shutil.rmtree(made)
    subprocess.run(["cp", "-al", str(base), str(made)], check=True, timeout=300)
    share = made / SHARE
    (share / "upstream").mkdir(parents=True)
    upstream = real / "artifacts" / "upstream"
    for part in ("bin", "cni", "images"):
        subprocess.run(["cp", "-al", str((upstream / part).resolve()), str(share / "upstream" / part)], check=False)
        if not (share / "upstream" / part).exists():
            shutil.copytree(upstream / part, share / "upstream" / part, copy_function=_link)
    for path in trees[0].iterdir():
        _write(share / path.name, path.read_bytes(), 0o644)
    for tree in trees[1:]:
        for path in (p for p in tree.rglob("*") if p.is_file()):
            _write(made / path.relative_to(tree), path.read_bytes(), path.stat().st_mode & 0o777)
    _write(made / "usr/lib/os-release", os_release.encode(), 0o644)
    if store:
        _write(share / "store.list", store.encode(), 0o644)
    for path_in_image, text in more.items():
        _write(made / path_in_image, text.encode(), 0o644)
    program = (upstream / "bin" / "kubernetes").read_bytes() if releases else b""
    for release in releases:
        _write(share / f"kubernetes-{release}", renamed(program, release), 0o755)
    made.rename(image)


def renamed(program: bytes, release: str) -> bytes:
    """The multi-call binary, calling itself another release of the same length."""
    if len(RELEASE) != len(release):
        msg = f"{release} and {RELEASE} differ in length"
        raise ValueError(msg)
    return program.replace(RELEASE.encode(), release.encode())


def _link(source: str, target: str) -> None:
    os.link(source, target)


def _write(path: Path, content: bytes, mode: int) -> None:
    """A file of its own: what it replaces may be a hard link into the real image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    path.write_bytes(content)
    path.chmod(mode)
