"""Where things are: the checkout, its cache of what can be rebuilt, and its own ignored folder of what can't."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
TOOLS = PROJECT / "tools"
OWN = PROJECT / ".lab"
"""State, passphrase, results: never rebuilt, never in the cache."""


def cache() -> Path:
    """The cache folder: ``LITELAB_CACHE``, else ``.cache`` in the checkout."""
    return Path(os.environ.get("LITELAB_CACHE") or PROJECT / ".cache").resolve()


def hand_over(*paths: Path) -> None:
    """Give files that root made in the checkout to the user who called ``sudo``, the root image excepted.

    Links are changed, never what they lead to.
    """
    if os.geteuid() != 0 or "SUDO_UID" not in os.environ:
        return
    uid, gid = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    for top in (p for p in paths if p.exists()):
        os.chown(top, uid, gid, follow_symlinks=False)
        for folder, folders, files in os.walk(top):
            # A host's root is the host's: its files belong to its own root.
            folders[:] = [name for name in folders if not _is_a_host_root(Path(folder, name))]
            for name in [*folders, *files]:
                os.chown(Path(folder, name), uid, gid, follow_symlinks=False)


def _is_a_host_root(path: Path) -> bool:
    return path == cache() / "rootfs" or (path.name == "hosts" and path.parent.parent == OWN / "run")
