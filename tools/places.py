"""Where things are: the checkout, its cache of what can be rebuilt, and its own ignored folder of what can't."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tools import environment

PROJECT = Path(__file__).resolve().parent.parent
TOOLS = PROJECT / "tools"
OWN = PROJECT / ".lab"
"""State, passphrase, results: never rebuilt, never in the cache."""


def cache() -> Path:
    """The cache folder: ``LITELAB_CACHE``, else ``.cache`` in the checkout."""
    return environment.cache_folder(os.environ)


def hand_over(*paths: Path) -> None:
    """Give files that root made in the checkout to the user who called ``sudo``, or else to its owner, the root image excepted.

    ``.lab`` and what programs note beside the sources are always among them. Links are changed, never what they lead to.
    """
    if os.geteuid() != 0:
        return
    owner = PROJECT.stat()
    uid, gid = (
        int(os.environ.get(f"SUDO_{kind}", owned)) for kind, owned in (("UID", owner.st_uid), ("GID", owner.st_gid))
    )
    if uid == 0:
        return
    for top in (p for p in (OWN, *_notes(), *paths) if p.exists()):
        os.chown(top, uid, gid, follow_symlinks=False)
        for folder, folders, files in os.walk(top):
            # A host's root is the host's: its files belong to its own root.
            folders[:] = [name for name in folders if not _is_a_host_root(Path(folder, name))]
            for name in [*folders, *files]:
                os.chown(Path(folder, name), uid, gid, follow_symlinks=False)


def _notes() -> Iterator[Path]:
    """Bytecode and the test tools' caches; the sources are few beside what other folders hold."""
    for source in ("benchmarks", "components", "inputs", "tests", "tools"):
        yield from (PROJECT / source).rglob("__pycache__")
    for tool in (".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__"):
        yield PROJECT / tool


def _is_a_host_root(path: Path) -> bool:
    return path == cache() / "rootfs" or (path.name == "hosts" and path.parent.parent == OWN / "run")
