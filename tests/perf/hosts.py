"""Three hosts to a working ssh: Litelab's, against a plain shell loop plus what Pulumi takes for as many commands of nothing.

``python3 -m tests.perf.hosts [ROUNDS]``. Exit code 3 when the target is missed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.perf.rounds import FOLDER, PERF, ROUNDS, Figures, ensure_stack, interleave, pulumi, remove_stack, timed
from tools.setup import places

STACK = "perf-hosts"
NOOP = PERF / "programs" / "noop"
LIMIT = 1.15


def hosts_program() -> Path:
    """A copy of the hosts' program, where a lab's relative paths lead to this checkout's run folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = Path(tempfile.mkdtemp(prefix="program-", dir=FOLDER))
    shutil.copytree(PERF / "programs" / "hosts", program, dirs_exist_ok=True)
    (program / ".lab").symlink_to(places.OWN)
    return program


def main(rounds: int) -> int:
    """Measure and hold against the target."""
    figures = Figures("hosts to ssh")
    folder = str(FOLDER / "shell")
    program = hosts_program()
    shell = str(PERF / "hosts.sh")

    def litelab() -> None:
        figures.add("litelab up", pulumi("up", STACK, cwd=program))
        pulumi("destroy", STACK, cwd=program)

    def plain() -> None:
        try:
            figures.add("shell loop", timed([shell, "up", folder]))
        finally:
            timed([shell, "down", folder])

    def noop() -> None:
        figures.add("Pulumi doing nothing", pulumi("up", "perf-noop", cwd=NOOP))
        pulumi("destroy", "perf-noop", cwd=NOOP)

    ensure_stack(STACK, "", cwd=program)
    ensure_stack("perf-noop", "", cwd=NOOP)
    try:
        interleave(figures, rounds, [litelab, plain, noop])
    finally:
        remove_stack(STACK, cwd=program)
        shutil.rmtree(program)
        remove_stack("perf-noop", cwd=NOOP)
    base = figures.median("shell loop") + figures.median("Pulumi doing nothing")
    figures.hold("Litelab / (shell + Pulumi doing nothing)", figures.median("litelab up") / base, LIMIT)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
