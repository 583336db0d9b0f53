"""Commands that get hurt: everything they start carries a mark, so that what outlives them is found."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MARK = "LITELAB_FAULT_TEST"
LAST_WORDS_S = 20.0
"""How long what a command started may outlive it."""
SHARED = re.compile(r"^ssh -F \S+/ssh_config -o ControlPath .* -M -N -f host-\d+$")
"""The connection to a host that steps share."""


@dataclass(frozen=True)
class Process:
    """One process of the machine."""

    pid: int
    name: str
    words: str
    cgroup: str
    since: str

    def signal(self, number: signal.Signals) -> bool:
        """Whether it was still the same process, and got the signal."""
        with contextlib.suppress(OSError):
            if _since(Path(f"/proc/{self.pid}")) == self.since:
                os.kill(self.pid, number)
                return True
        return False


def _since(folder: Path) -> str:
    state, *rest = (folder / "stat").read_text().rpartition(")")[2].split()
    if state in "ZX":
        raise ProcessLookupError
    return rest[18]


def processes(mark: str = "") -> Iterator[Process]:
    """Every process, or every one that carries a mark."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or folder.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            if mark and f"{MARK}={mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            name = (folder / "comm").read_text().strip()
            yield Process(int(folder.name), name, words, (folder / "cgroup").read_text(), _since(folder))


class Running:
    """A command in a session of its own, as in a terminal of its own; its output goes to a file."""

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.command = " ".join(command)
        self.log = log
        self._file: IO[str] = log.open("w", encoding="utf-8")
        self.process = subprocess.Popen(
            command, cwd=cwd, env={**env, MARK: self.mark}, stdin=subprocess.DEVNULL, stdout=self._file,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.began = time.monotonic()

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def interrupt(self) -> None:
        """Ctrl-C: the terminal's signal to the foreground process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, timeout_s: float) -> int:
        """Its exit code; a command that hangs is a failure of the test, and is ended with all that it started."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            alive = "; ".join(f"{p.pid} {p.words[:120]}" for p in self.family())
            self.end()
            msg = f"{self.command} did not end within {timeout_s:.0f} s. Alive: {alive}\n{self.output[-3000:]}"
            raise AssertionError(msg) from None
        finally:
            if self.process.poll() is not None:
                self._file.close()

    def family(self) -> list[Process]:
        """What it started and still lives, a lab's own machines apart."""
        return [p for p in processes(self.mark) if "/litelab/" not in p.cgroup and "/litelab.slice/" not in p.cgroup]

    def outlived_by(self, limit_s: float = LAST_WORDS_S) -> list[Process]:
        """What still runs after the limit. A connection that steps share ends by itself, later (``ssh/sharing.sh``)."""
        deadline = time.monotonic() + limit_s
        while (left := [p for p in self.family() if not SHARED.search(p.words)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def end(self) -> None:
        """By force, with all that it started."""
        for process in self.family():
            process.signal(signal.SIGKILL)
        self.process.wait(10)
