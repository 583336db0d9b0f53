"""The folder of a run's files: samples as they come, results whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pydantic import BaseModel

from benchmarks.outcome import UserError
from benchmarks.samples import Repeat

RESULT, SUMMARY, SAMPLES = "result.json", "summary.json", "samples.jsonl"
SUMMARY_LIMIT_BYTES = 16 * 1024


class ResultFolder:
    """Made at the start of a run. Files of an earlier run are moved to `previous/`, never overwritten.

    One run at a time: a second one would take the first one's files for an earlier run's. The lock is on the folder itself, so it
    ends with its process, however that ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            msg = f"The folder {folder} takes the results of another run that goes on. Give this one another folder with --out, or wait for that one."
            raise UserError(msg) from None
        except OSError as error:
            msg = f"The folder {folder} can't take results: {error.strerror or error}."
            raise UserError(msg) from error
        try:
            self._set_earlier_run_aside()
            self._samples: IO[str] = (folder / SAMPLES).open("w", encoding="utf-8")
        except OSError as error:
            os.close(self._lock)
            msg = f"The folder {folder} can't take results: {error.strerror or error}."
            raise UserError(msg) from error

    def append_samples(self, repeat: Repeat) -> None:
        """One line a sample, flushed as it is written, so that a crash costs nothing that was measured."""
        where = {"phase": repeat.phase, "repeat": repeat.index}
        for kind, samples in (("pod", repeat.pods), ("call", repeat.calls), ("interruption", repeat.interruptions)):
            for sample in samples:
                line = {"kind": kind, **where, **sample.model_dump(mode="json", exclude_none=True)}
                self._samples.write(json.dumps(line, separators=(",", ":")) + "\n")
                self._samples.flush()
        os.fsync(self._samples.fileno())

    def write(self, name: str, content: BaseModel) -> Path:
        """Writes a whole file or none: a temporary one, synced, then renamed."""
        text = content.model_dump_json(by_alias=True, exclude_none=name == SUMMARY, indent=1) + "\n"
        return write_whole(self.folder / name, text)

    def close(self) -> None:
        """Closes the file of samples, and lets the next run in."""
        self._samples.close()
        os.close(self._lock)

    def _set_earlier_run_aside(self) -> None:
        earlier = [self.folder / name for name in (RESULT, SUMMARY, SAMPLES) if (self.folder / name).exists()]
        if not earlier:
            return
        newest = max(file.stat().st_mtime for file in earlier)
        stem = datetime.fromtimestamp(newest, UTC).strftime("%Y%m%dT%H%M%SZ")
        target, n = self.folder / "previous" / stem, 1
        while target.exists():
            n += 1
            target = target.with_name(f"{stem}-{n}")
        target.mkdir(parents=True)
        for file in earlier:
            file.rename(target / file.name)


def write_whole(path: Path, text: str) -> Path:
    """Replaces a file atomically and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path
