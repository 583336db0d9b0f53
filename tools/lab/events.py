"""What Pulumi says of each resource while it works, kept for ``make logs``: the outcome, and an error's own words.

Pulumi's own event log has outputs of resources in it, and among them secrets in plain text (seen with 3.252). So it never
reaches a disk: it is read from a pipe, and only names, outcomes and messages are kept. A process of its own reads, as long as Pulumi
lives: Pulumi holds both ends of what it is given, so when nobody reads any more, it waits for ever at the end of the pipe's 64 KiB.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def recorded(to: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Keep what a Pulumi that is started inside says, one JSON object a line; what an earlier one said goes.

    Yields:
        The flag that Pulumi must be given, and the environment that allows it.
    """
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    to.unlink(missing_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="litelab-"))
    # By name: a descriptor would be inherited by hosts, which outlive their Pulumi.
    pipe = folder / "events"
    os.mkfifo(pipe, 0o600)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    # Ours keeps the pipe open until Pulumi has ended.
    writer = os.open(pipe, os.O_WRONLY)
    os.set_blocking(reader, True)
    # In a session of its own: neither Ctrl-C nor the end of this process ends it before Pulumi.
    listener = subprocess.Popen([sys.executable, "-I", __file__, to, folder], stdin=reader, start_new_session=True)
    os.close(reader)
    try:
        yield ["--event-log", str(pipe)], {"PULUMI_DEBUG_COMMANDS": "true"}
    finally:
        os.close(writer)
        with contextlib.suppress(subprocess.TimeoutExpired):
            listener.wait(5)


def _keep(to: Path, folder: Path) -> None:
    """Read standard input to its end; then the pipe's folder goes."""
    with (
        os.fdopen(0, encoding="utf-8", errors="replace") as lines,
        os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as kept,
    ):
        for line in lines:
            if told := summary(line):
                kept.write(json.dumps(told) + "\n")
                kept.flush()
    shutil.rmtree(folder, ignore_errors=True)


def summary(line: str) -> dict[str, Any] | None:
    """What is kept of one event: ``{"at", "urn", "did" or "failed" or "warning" or "error": text}``, or nothing."""
    try:
        return _summary(json.loads(line))
    # An event of another form, as a later Pulumi may have, is passed over.
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None


def _summary(event: dict[str, Any]) -> dict[str, Any] | None:
    at = event.get("timestamp")
    if (told := event.get("diagnosticEvent")) and told.get("severity") in {"warning", "error"}:
        return {"at": at, "urn": told.get("urn", ""), told["severity"]: told.get("message", "")}
    for kind, word in (("resOutputsEvent", "did"), ("resOpFailedEvent", "failed")):
        if (step := event.get(kind)) and step["metadata"]["op"] != "same":
            return {"at": at, "urn": step["metadata"]["urn"], word: step["metadata"]["op"]}
    return None


def changes(of: Path) -> int:
    """How many resources the run that this file is of has created, changed or deleted."""
    try:
        lines = of.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum('"did"' in line and "pulumi:pulumi:Stack" not in line for line in lines)


if __name__ == "__main__":
    _keep(*map(Path, sys.argv[1:]))
