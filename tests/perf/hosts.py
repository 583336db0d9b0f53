"""Three hosts to a working ssh: Litelab's, against a plain shell loop plus what Pulumi takes for as many commands of nothing.

``python3 -m tests.perf.hosts [ROUNDS]``. Exit code 3 when the target is missed. Each round takes all three in turn; what is held is
``up <= 1.15 x shell + no-op``, of medians. Removing them is not part of the figure.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.perf.rounds import (
    FOLDER,
    NOOP_STACK,
    PERF,
    Figures,
    interleave,
    pulumi,
    run,
    shell_down,
    shell_up,
    stack_of_its_own,
)
from tests.perf.shape import noop_program, write_shape
from tools import places

STACK = "perf-hosts"
LIMIT = 1.15


@contextlib.contextmanager
def hosts_program() -> Iterator[Path]:
    """A copy of the hosts' program, where a lab's relative paths lead to this checkout's run folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = Path(tempfile.mkdtemp(prefix="program-", dir=FOLDER))
    try:
        shutil.copytree(PERF / "programs" / "hosts", program, dirs_exist_ok=True)
        (program / ".lab").symlink_to(places.OWN)
        yield program
    finally:
        shutil.rmtree(program)


def main(rounds: int) -> int:
    """Measure and hold against the target."""
    figures = Figures("hosts to ssh")
    with (
        hosts_program() as program,
        noop_program() as noop,
        stack_of_its_own(STACK, program),
        stack_of_its_own(NOOP_STACK, noop),
    ):

        def litelab() -> None:
            figures.add("litelab", pulumi("up", STACK, cwd=program))
            pulumi("destroy", STACK, cwd=program)

        def plain() -> None:
            with shell_up("hosts.sh") as seconds:
                figures.add("shell", seconds)
                shell_down("hosts.sh")

        def nothing() -> None:
            figures.add("no-op", pulumi("up", NOOP_STACK, cwd=noop))
            pulumi("destroy", NOOP_STACK, cwd=noop)

        # Once before all rounds: the pages of every program are in memory, and the no-op program has its shape.
        pulumi("up", STACK, cwd=program)
        write_shape(noop, STACK)
        pulumi("destroy", STACK, cwd=program)
        interleave(figures, rounds, [litelab, plain, nothing])
    figures.hold_beside("litelab", "shell", "no-op", LIMIT)
    return figures.finish()


if __name__ == "__main__":
    run(main)
