"""Interleaved rounds, medians, and a verdict against a target."""

from __future__ import annotations

import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.setup import places, stacks

PERF = Path(__file__).resolve().parent
FOLDER = places.OWN / "perf"
ROUNDS = 5


@dataclass
class Figures:
    """Seconds by name, one value a round, and what was concluded of them."""

    title: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
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

    def finish(self) -> int:
        """Print the table, write the dated file; 0 when every target is met, else 3."""
        print(f"\n{self.title}, medians of {len(next(iter(self.seconds.values())))} interleaved rounds, seconds")
        for name, values in self.seconds.items():
            print(f"  {name:28} {self.median(name):7.2f}   ({', '.join(f'{v:.2f}' for v in values)})")
        for verdict in self.verdicts:
            mark = "met" if verdict["met"] else "MISSED"
            print(f"  {verdict['what']}: {verdict['value']} {verdict['unit']} (at most {verdict['limit']}): {mark}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{self.title.split()[0]}.json"
        content = {"title": self.title, "load": os.getloadavg(), "seconds": self.seconds, "verdicts": self.verdicts}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(f"  written to {path.relative_to(places.PROJECT)}")
        return 0 if all(v["met"] for v in self.verdicts) else 3


def environment(**more: str) -> dict[str, str]:
    """What a lab's programs run in."""
    return {**stacks.environment(places.cache()), "PYTHONPATH": str(places.PROJECT), **more}


def timed(command: Sequence[str], *, cwd: Path = places.PROJECT, extra: Mapping[str, str] | None = None) -> float:
    """Seconds that a command takes; it must succeed.

    Raises:
        SystemExit: it failed; its output is shown.
    """
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(**(extra or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    took = time.monotonic() - began
    if done.returncode != 0:
        print(done.stdout.decode(errors="replace")[-4000:], file=sys.stderr)
        sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}")
    return took


def pulumi(verb: str, stack: str, cwd: Path = places.PROJECT, **extra: str) -> float:
    """Seconds of a Pulumi command that asks nothing."""
    options = ["--yes", "--skip-preview", "--non-interactive", "--suppress-outputs", "--stack", stack]
    return timed(["pulumi", verb, *options], cwd=cwd, extra=extra)


def ensure_stack(stack: str, lab: str, cwd: Path = places.PROJECT, settings: Mapping[str, str] | None = None) -> None:
    """A stack of its own for the measurement, with settings that override its lab's."""
    subprocess.run(
        ["pulumi", "stack", "init", stack], cwd=cwd, env=environment(), capture_output=True, stdin=subprocess.DEVNULL
    )
    wanted = {"litelab:lab": lab, **(settings or {})} if lab else {}
    for key, value in wanted.items():
        timed(["pulumi", "config", "set", "--path", "--stack", stack, key, value], cwd=cwd)


def remove_stack(stack: str, cwd: Path = places.PROJECT) -> None:
    """Take the stack away, its lab first."""
    for command in (["destroy", "--yes", "--skip-preview"], ["stack", "rm", "--yes"]):
        subprocess.run(
            ["pulumi", *command, "--stack", stack],
            cwd=cwd,
            env=environment(),
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )


def interleave(figures: Figures, rounds: int, parts: Sequence[Callable[[], None]]) -> None:
    """Run all parts in turn, ``rounds`` times: what drifts hits all of them."""
    for number in range(1, rounds + 1):
        print(f"{figures.title}: round {number} of {rounds}", file=sys.stderr, flush=True)
        for part in parts:
            part()
