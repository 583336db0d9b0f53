"""Interleaved rounds, medians, and a verdict against a target.

What is compared is measured in one run, in turn, so that what drifts on the machine hits all of it. Every measurement has a
stack or folder of its own, and takes it away whatever happens: also when it is interrupted or told to stop.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools import places
from tools.lab import stacks

PERF = Path(__file__).resolve().parent
FOLDER = places.OWN / "perf"
SHELL_FOLDER = places.OWN / "run" / "perf-shell"
NOOP_STACK = "perf-noop"
ROUNDS = 5
LIMIT_S = 900
GRACE_S = 120
"""What a command that is told to stop may take to end its steps."""


@dataclass
class Figures:
    """Seconds by name, one value a round, and what was concluded of them."""

    title: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)
    verdicts: list[dict[str, object]] = field(default_factory=list)

    def add(self, name: str, seconds: float) -> None:
        """Keep one measurement, and say it."""
        self.seconds.setdefault(name, []).append(round(seconds, 3))
        print(f"  {name}: {seconds:.2f} s", file=sys.stderr, flush=True)

    def median(self, name: str) -> float:
        """The median of a name's rounds, seconds."""
        return statistics.median(self.seconds[name])

    def hold(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """Hold a figure against its limit."""
        self.verdicts.append(
            {"what": what, "value": round(value, 3), "limit": limit, "unit": unit, "met": value <= limit}
        )

    def hold_beside(self, name: str, shell: str, noop: str, limit: float) -> None:
        """Hold ``name <= limit x shell + noop``, told as what ``name`` takes beyond ``noop``, in units of ``shell``."""
        ratio = (self.median(name) - self.median(noop)) / self.median(shell)
        self.hold(f"({name} - {noop}) / {shell}", ratio, limit)

    def finish(self) -> int:
        """Print the table, write the dated file; 0 when every target is met, else 3."""
        print(f"\n{self.title}, medians of {len(self.loads)} interleaved rounds, seconds")
        for name, values in self.seconds.items():
            print(f"  {name:28} {self.median(name):7.2f}   ({', '.join(f'{v:.2f}' for v in values)})")
        for verdict in self.verdicts:
            mark = "met" if verdict["met"] else "MISSED"
            print(f"  {verdict['what']}: {verdict['value']} {verdict['unit']} (at most {verdict['limit']}): {mark}")
        print(f"  load of the machine before each round: {', '.join(f'{load:.1f}' for load in self.loads)}")
        now = dt.datetime.now(dt.UTC)
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{now:%Y%m%dT%H%M%SZ}-{self.title.split()[0]}.json"
        content = {
            "title": self.title,
            "date": now.isoformat(timespec="seconds"),
            "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "loadBeforeRounds": self.loads},
            "seconds": self.seconds,
            "medians": {name: self.median(name) for name in self.seconds},
            "verdicts": self.verdicts,
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(f"  written to {path.relative_to(places.PROJECT)}")
        places.hand_over()
        return 0 if all(v["met"] for v in self.verdicts) else 3


def environment(**more: str) -> dict[str, str]:
    """What a lab's programs run in; set-up asks no question, and Python keeps what it has compiled, as in a user's shell."""
    known = stacks.environment(places.cache())
    known.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**known, "PYTHONPATH": str(places.PROJECT), "YES": "1", **more}


def timed(command: Sequence[str], *, cwd: Path = places.PROJECT, extra: Mapping[str, str] | None = None) -> float:
    """Seconds that a command takes; it must succeed.

    Raises:
        SystemExit: it failed; the end of its output is shown.
    """
    began = time.monotonic()
    # A process group of its own: a terminal's Ctrl-C reaches this program, which tells the command once.
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(**(extra or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    except BaseException:
        # Told, not killed: a Pulumi that is killed leaves steps running and a lock behind.
        _end(process)
        raise
    took = time.monotonic() - began
    if process.returncode != 0:
        print(output.decode(errors="replace")[-4000:], file=sys.stderr)
        sys.exit(f"{' '.join(command)} failed with exit code {process.returncode}")
    return took


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=GRACE_S)
            return


def pulumi(verb: str, stack: str, *options: str, cwd: Path = places.PROJECT) -> float:
    """Seconds of a Pulumi command that asks nothing, as ``make lab`` runs it."""
    words = ["--yes", "--skip-preview", "--non-interactive", "--suppress-outputs", "--stack", stack, *options]
    return timed(["pulumi", verb, *words], cwd=cwd)


@contextlib.contextmanager
def stack_of_its_own(stack: str, cwd: Path = places.PROJECT, **settings: str) -> Iterator[None]:
    """A stack for the measurement, with settings that override its lab's; what a killed run left goes first."""
    remove_stack(stack, cwd)
    timed(["pulumi", "stack", "init", stack], cwd=cwd)
    try:
        for key, value in settings.items():
            timed(["pulumi", "config", "set", "--path", "--stack", stack, f"litelab:{key}", value], cwd=cwd)
        yield
    finally:
        remove_stack(stack, cwd)


def remove_stack(stack: str, cwd: Path = places.PROJECT) -> None:
    """Take a stack away, its lab first, and what the lab keeps beside its hosts."""
    known = ["pulumi", "stack", "ls", "--json"]
    shown = subprocess.run(
        known, cwd=cwd, env=environment(), capture_output=True, check=True, stdin=subprocess.DEVNULL
    ).stdout
    if stack in {entry["name"].rpartition("/")[2] for entry in json.loads(shown)}:
        cancel = ["pulumi", "cancel", "--yes", "--stack", stack]
        subprocess.run(cancel, cwd=cwd, env=environment(), capture_output=True, stdin=subprocess.DEVNULL)
        pulumi("destroy", stack, cwd=cwd)
        timed(["pulumi", "stack", "rm", "--yes", "--stack", stack], cwd=cwd)
    for folder in (places.OWN / "run" / stack, places.OWN / "results" / stack):
        if any(f" {folder}/" in line for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()):
            sys.exit(f"{folder} is still mounted: 'make orphans' names what a killed run left")
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def shell_up(script: str, **extra: str) -> Iterator[float]:
    """The seconds of ``SCRIPT up``; ``SCRIPT down`` follows only after a failure, the caller times it otherwise."""
    words = [str(PERF / script)]
    folder = str(SHELL_FOLDER)
    timed([*words, "down", folder], extra=extra)
    try:
        yield timed([*words, "up", folder], extra=extra)
    finally:
        if SHELL_FOLDER.exists():
            timed([*words, "down", folder], extra=extra)


def shell_down(script: str, **extra: str) -> float:
    """The seconds of ``SCRIPT down``."""
    return timed([str(PERF / script), "down", str(SHELL_FOLDER)], extra=extra)


def interleave(figures: Figures, rounds: int, parts: Sequence[Callable[[], None]]) -> None:
    """Run all parts in turn, ``rounds`` times, each round beginning with another one."""
    for number in range(rounds):
        load = os.getloadavg()[0]
        figures.loads.append(round(load, 2))
        print(f"{figures.title}: round {number + 1} of {rounds}, load {load:.1f}", file=sys.stderr, flush=True)
        for offset in range(len(parts)):
            parts[(number + offset) % len(parts)]()


def run(main: Callable[[int], int]) -> None:
    """Run a figure's program: one argument, how many rounds. Its end by a signal takes its labs away too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
    except KeyboardInterrupt:
        sys.exit("stopped; what was made for the measurement has been taken away")
