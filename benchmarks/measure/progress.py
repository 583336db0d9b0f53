"""Live progress: short lines to stderr, results to stdout."""

from __future__ import annotations

import sys

_LONGEST = 400


def say(line: str) -> None:
    """One short line, at once."""
    print(line[:_LONGEST], file=sys.stderr, flush=True)
