"""What a command prints, kept beside the terminal for ``make logs``.

A process of its own copies: when this one is killed, Pulumi goes on and must not lose where it prints to. On a terminal programs
still find one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import tty
from collections import deque
from collections.abc import Iterator
from pathlib import Path

LIMIT = 4 * 2**20
"""Bytes of a log; what is printed after that is not kept."""
_REMEMBERED = 200
"""Lines that a terminal's display shows again and again."""
_TERMINAL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f]")


@contextlib.contextmanager
def recorded(to: Path) -> Iterator[None]:
    """Keep what this process and its children print on standard output and error; what was kept before goes."""
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sys.stdout.flush()
    sys.stderr.flush()
    real = [os.dup(1), os.dup(2)]
    ends = [_channel(number) for number in (1, 2)]
    reads = [str(end[0]) for end in ends]
    # In a session of its own, and deaf to what ends this one: it ends when nobody prints any more.
    copier = subprocess.Popen(
        [sys.executable, "-I", __file__, str(to), *reads, *map(str, real)],
        pass_fds=[*(end[0] for end in ends), *real], start_new_session=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    for number, (read, write) in enumerate(ends, 1):
        os.dup2(write, number)
        os.close(write)
        os.close(read)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, fd in enumerate(real, 1):
            os.dup2(fd, number)
            os.close(fd)
        with contextlib.suppress(subprocess.TimeoutExpired):
            copier.wait(5)


def _channel(number: int) -> tuple[int, int]:
    """Ends to read from and to write to, like what the descriptor is: a terminal of the same size, or a pipe."""
    if not os.isatty(number):
        return os.pipe()
    ours, theirs = pty.openpty()
    with contextlib.suppress(OSError, termios.error):
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, fcntl.ioctl(number, termios.TIOCGWINSZ, b"\0" * 8))
        # The real terminal makes its own line ends.
        tty.setraw(theirs)
    return ours, theirs


def _copy(to: Path, reads: list[int], real: list[int]) -> None:
    """Until both ends are closed."""
    log = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    kept, shown = 0, deque[bytes](maxlen=_REMEMBERED)
    pending = dict.fromkeys(reads, b"")
    to_real = dict(zip(reads, real, strict=True))
    while to_real:
        for fd in select.select(list(to_real), [], [])[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                # A pseudo-terminal whose other end is closed.
                data = b""
            _write(to_real[fd], data)
            *lines, pending[fd] = (pending[fd] + data).split(b"\n")
            if not data:
                lines.append(pending[fd])
                del to_real[fd]
            for line in lines:
                plain = _TERMINAL.sub(b"", line.rpartition(b"\r")[2] or line).rstrip()
                if plain and plain not in shown and kept < LIMIT:
                    shown.append(plain)
                    kept += _write(log, plain + b"\n")


def _write(fd: int, data: bytes) -> int:
    """As much as the other end takes: a terminal that was closed takes nothing."""
    done = 0
    with contextlib.suppress(OSError):
        while done < len(data):
            done += os.write(fd, data[done:])
    return done


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[2:]]
    _copy(Path(sys.argv[1]), given[:2], given[2:])
