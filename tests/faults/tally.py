"""What the fault tests injected and what came of it: one table, one dated file."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Injection:
    """One fault, from the moment it is there; it counts as recovered only when a test has seen the end it promises."""

    fault: str
    what: str
    recovered: bool = False
    orphans: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    samples_lost: int = 0
    end: str = ""
    seconds: float = 0.0
    began: float = field(default_factory=time.monotonic, repr=False)

    def ended(self, end: str) -> None:
        """The fault is over, and everything was as it should be."""
        self.recovered = True
        self.end = end
        self.seconds = round(time.monotonic() - self.began, 1)


@dataclass
class Tally:
    """All injections of a run."""

    seed: int
    injections: list[Injection] = field(default_factory=list)

    def inject(self, fault: str, what: str) -> Injection:
        """A fault is there now."""
        injection = Injection(fault, what)
        self.injections.append(injection)
        print(f"injected: {fault}: {what} (seed {self.seed})", flush=True)
        return injection

    def table(self) -> list[str]:
        """A line a fault, then the sums."""
        faults = sorted({i.fault for i in self.injections})
        width = max([len("all"), *map(len, faults)])
        head = f"{'fault':{width}}  injected  recovered  orphans  secrets found  samples lost"
        rows = [self._row(fault, [i for i in self.injections if i.fault == fault], width) for fault in faults]
        return [head, *rows, self._row("all", self.injections, width), f"seed {self.seed}"]

    @staticmethod
    def _row(name: str, some: list[Injection], width: int) -> str:
        recovered = sum(i.recovered for i in some)
        orphans, secrets = sum(len(i.orphans) for i in some), sum(len(i.secrets) for i in some)
        lost = sum(i.samples_lost for i in some)
        return f"{name:{width}}  {len(some):8}  {recovered:9}  {orphans:7}  {secrets:13}  {lost:12}"

    def write(self, folder: Path) -> Path:
        """The same as JSON, in a file that is named after the time."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
        rows = [{k: v for k, v in asdict(i).items() if k != "began"} for i in self.injections]
        content = {"schemaVersion": 1, "seed": self.seed, "table": self.table(), "injections": rows}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return path


SEED = int(os.environ.get("FAULTS_SEED", "20261124"))
"""What every moment by chance is made from: the same seed takes the same victims at the same moments."""
TALLY = Tally(SEED)
"""Of this run of the tests."""
