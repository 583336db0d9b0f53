"""How set-up and the command line of labs start and end: their environment, signals, and errors in one paragraph."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tools import environment, places
from tools.errors import SetupError
from tools.progress import Progress
from tools.setup.cache import claim


def begin(cache: Path) -> Progress:
    """Make the cache ours, and end what is started when this process is ended: by Ctrl-C, ``kill``, a CI that gives up, a terminal."""
    claim(cache)
    progress = Progress(cache)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup ignores it.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: _terminate(progress))
    return progress


def _terminate(progress: Progress) -> None:
    progress.stop()
    raise KeyboardInterrupt


def run(main: Callable[[list[str]], int], recorded: contextlib.AbstractContextManager[None] | None = None) -> NoReturn:
    """Run a program with the words of its command line, and end this process with its exit code.

    Args:
        main: the program.
        recorded: entered around it, to keep what it prints.
    """
    try:
        with recorded or contextlib.nullcontext():
            code = _code_of(main)
    except OSError as error:
        print(f"error: {error.strerror or error} ({places.OWN / 'logs'})", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    if threading.active_count() > 1:
        # A lane may still wait for a program that Ctrl-C has ended already.
        os._exit(code)
    sys.exit(code)


def _code_of(main: Callable[[list[str]], int]) -> int:
    try:
        environment.enter()
        return main(sys.argv[1:])
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # A full disk, a folder of another user: the person's to fix, so no traceback.
        where = f" ({error.filename})" if error.filename else ""
        fix = (
            "Free some disk ('df -h')"
            if error.errno == errno.ENOSPC
            else "If root made it, use sudo, or give it to yourself with chown"
        )
        print(f"error: {error.strerror or error}{where}. {fix}; then run the same command again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What is finished stays finished; the same command goes on from here.", file=sys.stderr)
        return 130
