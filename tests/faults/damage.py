"""A cache with one thing wrong in it; the cache that it is made from stays whole."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tools.setup import venv


class DamagedCache:
    """A folder that looks like the cache and is made of links into it, except where a test changes something."""

    def __init__(self, folder: Path, real: Path) -> None:
        self.folder, self.real = folder, real.resolve()
        folder.mkdir(parents=True)
        for entry in self.real.iterdir():
            if entry.name not in {"durations.json", "lock", "logs"}:
                (folder / entry.name).symlink_to(entry)
        # Its name has the cache's own path in it.
        venv.place(folder.resolve()).symlink_to((self.real / "venv").resolve())

    def own(self, *parts: str) -> Path:
        """A folder of the cache as one of its own, with links to what the real one holds."""
        at = self.folder
        for part in parts:
            at /= part
            if at.is_symlink():
                real = at.resolve()
                at.unlink()
                at.mkdir()
                for entry in real.iterdir():
                    target = Path(os.path.relpath(entry.resolve(), real.parent)) if entry.is_symlink() else None
                    inside = entry.is_symlink() and entry.resolve().parent == real
                    (at / entry.name).symlink_to(target.name if target and inside else entry)
        return at

    def program(self, name: str) -> Path:
        """A program of set-up's, where it is run from, in a folder of the cache's own."""
        (at,) = (p for p in (self.real / "bin" / name, *self.real.glob(f"pulumi-home/plugins/*/{name}")) if p.exists())
        return self.own(*at.parent.relative_to(self.real).parts) / name

    def root_image(self) -> Path:
        """A root image of its own: every file is the real one's until it is replaced."""
        images = self.own("rootfs")
        real = (self.real / "rootfs/current").resolve()
        image = images / real.name
        image.unlink()
        subprocess.run(["cp", "-al", str(real), str(image)], check=True, timeout=120)
        return image


def replace(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Another file in the place of one, never the same one changed: it has links elsewhere."""
    content, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    path.write_bytes(change(content))
    path.chmod(mode)


def cut_off(content: bytes) -> bytes:
    """As a machine that lost its power leaves a file."""
    return content[: len(content) // 2]


def copy_of(path: Path) -> None:
    """A real copy in the place of a link."""
    real = path.resolve()
    path.unlink()
    if real.is_dir():
        shutil.copytree(real, path, symlinks=True)
    else:
        shutil.copy2(real, path)
