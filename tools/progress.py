"""Long steps, told as they go: what runs, the time so far, what it took last time, and where its log is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tools.errors import SetupError

HEARTBEAT_S = 20.0
STOP_S = 3.0
NOT_BEGUN = "was not begun, since another step failed"

T = TypeVar("T")
U = TypeVar("U")


class Progress:
    """Prints a line when a step begins, every 20 s, and when it ends; remembers durations in ``durations.json``."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._file = folder / "durations.json"
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError):
            self._last = json.loads(self._file.read_text(encoding="utf-8"))
        self.failed = threading.Event()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.took: list[tuple[str, str, float]] = []
        """(kind, step, seconds) of this run; kind is ``download`` or ``build``."""

    def say(self, text: str) -> None:
        """One line, not mixed with another thread's."""
        with self._lock:
            print(text, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """End the programs that run: left alone, they would write beside the next set-up."""
        self.failed.set()
        running = list(self._running)
        for process in running:
            _end(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                _end(process, signal.SIGKILL)

    @contextlib.contextmanager
    def step(self, name: str, kind: str = "build") -> Iterator[None]:
        """Time a step and say so.

        Raises:
            SetupError: a step of another lane has failed, so this one is not begun.
        """
        if self.failed.is_set():
            msg = f"{name} {NOT_BEGUN}."
            raise SetupError(msg)
        last = self._last.get(name)
        before = f" (last time {last:.0f} s)" if last else ""
        self.say(f"  {name} ...{before}")
        began = time.monotonic()
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT_S):
                self.say(f"  {name}: {time.monotonic() - began:.0f} s so far{before}")

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            done.set()
        seconds = time.monotonic() - began
        self.say(f"  {name}: {seconds:.1f} s")
        with self._lock:
            self.took.append((kind, name, seconds))
            self._last[name] = round(seconds, 1)
            temporary = self._file.with_suffix(".new")
            temporary.write_text(json.dumps(self._last, indent=1) + "\n", encoding="utf-8")
            temporary.replace(self._file)

    def lane(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run one of several lanes; when it fails, the others begin no further step."""
        try:
            return work(*arguments)
        except BaseException:
            self.failed.set()
            raise

    def side_by_side(self, one: Callable[[], T], other: Callable[[], U]) -> tuple[T, U]:
        """Both at once; what failed first tells why, the other one only that it stopped.

        Raises:
            SetupError: one of them failed.
        """
        with ThreadPoolExecutor(max_workers=2) as lanes:
            first, second = lanes.submit(self.lane, one), lanes.submit(self.lane, other)
        both: list[Future[Any]] = [first, second]
        for lane in sorted(both, key=lambda lane: NOT_BEGUN in str(lane.exception())):
            lane.result()
        return first.result(), second.result()

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        hint: Callable[[str], str] | None = None,
    ) -> str:
        """Run a program with its output in a log file, which is returned.

        Raises:
            SetupError: it failed; names the log, its last lines, and the hint for them.
        """
        log = self.logs / f"{name}.log"
        with log.open("w", encoding="utf-8") as file:
            try:
                # A session of its own: pip and go start others, which stop() ends with them, and nothing there waits for a terminal.
                process = subprocess.Popen(
                    command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )  # fmt: skip
                self._running.add(process)
                try:
                    code = process.wait()
                finally:
                    self._running.discard(process)
            except OSError as error:
                msg = f"{name}: {command[0]} can't be run: {error.strerror}. 'make doctor' says what is missing."
                raise SetupError(msg) from error
        text = log.read_text(encoding="utf-8", errors="replace")
        if code != 0:
            tail = " | ".join(line.strip() for line in text.splitlines()[-4:] if line.strip())[-700:]
            fix = hint(text) if hint else "Fix that and run the same command again; what is done stays done."
            msg = f"{name} failed (exit code {code}): {tail}. The whole log is {log}. {fix}"
            raise SetupError(msg)
        return text


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """It and what it has started; its group has its number for as long as anything of it lives."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
