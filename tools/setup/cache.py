"""A cache keyed by content: a changed pin makes that part anew and no other; half-made parts are never seen."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tools.errors import SetupError

KEY_LENGTH = 12
WORTH_A_LOOK_BYTES = 64 * 1024
MOUNTS = Path("/proc/self/mountinfo")
TAG = "CACHEDIR.TAG"
TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by Litelab's set-up; 'make clean-cache' empties it. Backups may leave it out.\n"
MADE_HERE = (
    "artifacts",
    "bin",
    "built",
    "checked",
    "durations.json",
    "go",
    "guests",
    "images",
    "machines",
    "logs",
    "pip",
    "pulumi-home",
    "rootfs",
    "tmp",
    "trust",
    "venv",
)


def is_ours(name: str) -> bool:
    """Whether set-up makes a thing of this name at the top of a cache folder."""
    return name in MADE_HERE or name.startswith("venv-")


def claim(folder: Path) -> None:
    """Mark a new or empty folder as a cache of ours; refuse one that holds other people's things.

    ``LITELAB_CACHE`` may name any folder, a home folder too, and ``make clean-cache`` empties it.

    Raises:
        SetupError: the folder has contents and no mark.
    """
    tag = folder / TAG
    if tag.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    # What set-up made before there was a mark is known by these two together.
    if any(folder.iterdir()) and not ((folder / "built").is_dir() and (folder / "rootfs").is_dir()):
        msg = (
            f"{folder} is to be the cache, but it holds other things, and 'make clean-cache' would empty it. Set LITELAB_CACHE to a "
            f"new or empty folder, or unset it for the checkout's own .cache. Nothing was changed."
        )
        raise SetupError(msg)
    temporary = folder / f".{TAG}.{os.getpid()}"
    temporary.write_text(TAG_TEXT, encoding="utf-8")
    temporary.replace(tag)


def sha256_of(path: Path) -> str:
    """A file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(*parts: str | bytes | Path) -> str:
    """First 12 hex digits of the SHA-256 over texts and files; a folder counts with all files in it."""
    state = hashlib.sha256()
    for part in parts:
        for item in _contents(part):
            state.update(len(item).to_bytes(8, "big"))
            state.update(item)
    return state.hexdigest()[:KEY_LENGTH]


def _contents(part: str | bytes | Path) -> Iterator[bytes]:
    if isinstance(part, str):
        yield part.encode()
    elif isinstance(part, bytes):
        yield part
    elif part.is_dir():
        for path in sorted(p for p in part.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            yield str(path.relative_to(part)).encode()
            yield path.read_bytes()
    else:
        yield part.read_bytes()


def keyed(folder: Path, name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder ``<folder>/<name>-<key>``, made by ``make`` in a temporary place unless it is there.

    Older keys stay: another clone, or a lab that runs, may use them; ``make clean-cache`` removes all.
    """
    target = folder / f"{name}-{key}"
    if target.is_dir():
        damaged = _damaged(target)
        if not damaged:
            return target
        print(f"  {damaged[0]} is not as set-up made it: making {target.name} again", file=sys.stderr)
        _refuse_in_use(target, damaged[0])
        remove([target])
        _record(target).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    remove(p for p in folder.glob(f".{name}.partial-*"))
    work = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=folder))
    try:
        make(work)
        work.chmod(0o755)
        work.replace(target)
    finally:
        remove([work])
    _remember(target)
    return target


def _record(part: Path) -> Path:
    """Beside a part: size of each of its files that a crash of the machine, or a hand, may have cut off."""
    return part.with_name(f".{part.name}.sizes")


def _remember(part: Path) -> None:
    found = {}
    for folder, folders, files in os.walk(part):
        folders[:] = [f for f in folders if not Path(folder, f).is_symlink()]
        for file in files:
            seen = Path(folder, file).lstat()
            # Small files are many, and looking at them all takes longer than everything else in a set-up.
            if stat.S_ISREG(seen.st_mode) and seen.st_size >= WORTH_A_LOOK_BYTES:
                found[str(Path(folder, file).relative_to(part))] = seen.st_size
    temporary = _record(part).with_name(f"{_record(part).name}.{os.getpid()}")
    temporary.write_text(json.dumps(found), encoding="utf-8")
    temporary.replace(_record(part))


def _damaged(part: Path) -> list[Path]:
    """Files of a part that have another size than when it was made; a part of an older set-up is taken as it is."""
    try:
        known = json.loads(_record(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            _remember(part)
        return []

    def is_as_then(path: Path, bytes_then: int) -> bool:
        try:
            return path.lstat().st_size == bytes_then
        except PermissionError:
            return True  # root's, and root looks again
        except OSError:
            return False

    return [part / name for name, bytes_then in known.items() if not is_as_then(part / name, bytes_then)]


def _refuse_in_use(part: Path, damaged: Path) -> None:
    """A lab's hosts are layers over the root image: it is not removed below them."""
    escaped = str(part).replace("\\", "\\134").replace(" ", "\\040")
    if re.search(rf"lowerdir={re.escape(escaped)}[,/]", MOUNTS.read_text(encoding="utf-8")):
        msg = (
            f"{damaged} is damaged, and labs that are up stand on it. 'make destroy' them first ('make orphans' lists what no stack "
            "knows); then 'make setup' makes it again."
        )
        raise SetupError(msg)


def mounts_below(path: Path) -> list[str]:
    """Mount points at or below a folder, the innermost first."""
    lines = MOUNTS.read_text(encoding="utf-8").splitlines()
    points = [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split()[4]) for line in lines]
    own = str(path.resolve())
    return sorted((p for p in points if p == own or p.startswith(f"{own}/")), key=len, reverse=True)


def remove(paths: Iterable[Path]) -> None:
    """Delete folders and files, whether there or not; never through a mount, behind which other things are.

    Raises:
        SetupError: something is mounted below one of them.
    """
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            mounted = mounts_below(path)
            if mounted:
                msg = (
                    f"{path} is to be deleted, but {', '.join(mounted)} is mounted there: a set-up was killed, or still works on it. "
                    f"When none runs, 'umount {' '.join(mounted)}', then run the same command again. Nothing was deleted."
                )
                raise SetupError(msg)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def link(at: Path, to: Path) -> None:
    """Make ``at`` a relative link to ``to``, in one step."""
    at.parent.mkdir(parents=True, exist_ok=True)
    wanted = os.path.relpath(to, at.parent)
    if at.is_symlink() and str(at.readlink()) == wanted:
        return
    temporary = at.with_name(f".{at.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(wanted)
    if at.is_dir() and not at.is_symlink():
        shutil.rmtree(at)
    temporary.replace(at)


@contextlib.contextmanager
def only_one(folder: Path, say: Callable[[str], None], timeout_s: float = 3600) -> Iterator[None]:
    """Hold the cache's lock; a second set-up waits and says for whom.

    Raises:
        SetupError: the other one held it for longer than ``timeout_s``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    with path.open("a+", encoding="utf-8") as file:
        began = time.monotonic()
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "?"
                if not told:
                    say(f"another set-up (process {holder}) works on {folder}; waiting for it")
                    told = True
                if time.monotonic() - began > timeout_s:
                    msg = (
                        f"Set-up waited {timeout_s:.0f} s for process {holder}, which holds {path}. If it hangs, end it "
                        "with 'kill'; then run the same command again."
                    )
                    raise SetupError(msg) from None
                time.sleep(0.2)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.seek(0)
        file.truncate()


def same_file(at: Path, to: Path) -> None:
    """Make ``at`` the very file ``to``, in one step: a program that looks beside itself follows symbolic links."""
    if at.exists() and not at.is_symlink() and at.samefile(to):
        return
    at.parent.mkdir(parents=True, exist_ok=True)
    temporary = at.with_name(f".{at.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(to)
    except OSError:
        shutil.copy2(to, temporary)
    temporary.replace(at)
