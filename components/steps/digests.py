"""Digests that resources carry, so that what has changed is made again: short enough to be read in a diff."""

from __future__ import annotations

import hashlib
from pathlib import Path

LENGTH = 12
"""Hex digits."""


def short_digest(content: str | bytes) -> str:
    """First ``LENGTH`` hex digits of the SHA-256."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:LENGTH]


def digest_of(*folders: Path) -> str:
    """The same over the files of folders, by name, executable bit and content."""
    state = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            content = path.read_bytes()
            executable = bool(path.stat().st_mode & 0o100)
            state.update(f"{path.relative_to(folder)}\0{executable}\0{len(content)}\0".encode())
            state.update(content)
    return state.hexdigest()[:LENGTH]
