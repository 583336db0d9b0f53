"""The folder of a run's files: samples as they come, results whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from pydantic import BaseModel

from benchmarks.model.outcome import MeasurementError, UserError
from benchmarks.model.samples import Repeat

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
            # Unbuffered: what can't be written is not tried again behind our back.
            self._samples: FileIO = (folder / SAMPLES).open("wb", buffering=0)
        except OSError as error:
            os.close(self._lock)
            msg = f"The folder {folder} can't take results: {error.strerror or error}."
            raise UserError(msg) from error

    def append_samples(self, repeat: Repeat) -> None:
        """One line a sample, written as it is made, so that a crash costs nothing that was measured.

        Raises:
            MeasurementError: the disk is full or gone; the lines before that stay, and no half line does.
        """
        where = {"phase": repeat.phase, "repeat": repeat.index}
        for kind, samples in (("pod", repeat.pods), ("call", repeat.calls), ("interruption", repeat.interruptions)):
            for sample in samples:
                line = {"kind": kind, **where, **sample.model_dump(mode="json", exclude_none=True)}
                self._append((json.dumps(line, separators=(",", ":")) + "\n").encode())
        os.fsync(self._samples.fileno())

    def _append(self, line: bytes) -> None:
        begin = self._samples.tell()
        try:
            while line:
                line = line[self._samples.write(line) :]
        except OSError as error:
            os.ftruncate(self._samples.fileno(), begin)
            raise self._not_written(SAMPLES, error) from error

    def _not_written(self, what: str, error: OSError) -> MeasurementError:
        return MeasurementError(
            what=f"{what} could not be written",
            where=str(self.folder),
            why=error.strerror or str(error),
            fix=f"'df -h {self.folder}' shows the disk; free some of it and measure again. What was written before is kept",
        )

    def write(self, name: str, content: BaseModel) -> Path:
        """Writes a whole file or none: a temporary one, synced, then renamed.

        Raises:
            MeasurementError: the disk is full or gone.
        """
        text = content.model_dump_json(by_alias=True, exclude_none=name == SUMMARY, indent=1) + "\n"
        try:
            return write_whole(self.folder / name, text)
        except OSError as error:
            raise self._not_written(name, error) from error

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
