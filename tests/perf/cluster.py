"""The default lab's cluster, nothing to all nodes Ready, no change, and destroy: Litelab's, against shell and Pulumi of nothing.

``python3 -m tests.perf.cluster [ROUNDS]``. Exit code 3 when a target is missed.
"""

from __future__ import annotations

import sys

from tests.perf.rounds import PERF, ROUNDS, Figures, ensure_stack, interleave, pulumi, remove_stack, timed
from tools.setup import places

STACK = "perf-cluster"
NOOP = PERF / "programs" / "noop"
UP_LIMIT, UNCHANGED_LIMIT, DESTROY_LIMIT = 1.1, 3.0, 1.25


def main(rounds: int) -> int:
    """Measure and hold against the targets."""
    figures = Figures("cluster to Ready")
    shell, folder = str(PERF / "cluster.sh"), str(places.OWN / "run" / "perf-shell")

    def litelab() -> None:
        figures.add("litelab up", pulumi("up", STACK))
        figures.add("litelab up, no change", pulumi("up", STACK))
        figures.add("litelab destroy", pulumi("destroy", STACK))

    def plain() -> None:
        try:
            figures.add("shell up", timed([shell, "up", folder]))
        finally:
            figures.add("shell down", timed([shell, "down", folder]))

    def noop() -> None:
        figures.add("nothing up", pulumi("up", "perf-noop", cwd=NOOP, NOOP_SHAPE="cluster"))
        figures.add("nothing up, no change", pulumi("up", "perf-noop", cwd=NOOP, NOOP_SHAPE="cluster"))
        figures.add("nothing destroy", pulumi("destroy", "perf-noop", cwd=NOOP))

    ensure_stack(STACK, "upstream-lab", settings={"litelab:workloads": "[]"})
    ensure_stack("perf-noop", "", cwd=NOOP)
    try:
        interleave(figures, rounds, [litelab, plain, noop])
    finally:
        remove_stack(STACK)
        remove_stack("perf-noop", cwd=NOOP)
    m = figures.median
    figures.hold("up / (shell + nothing)", m("litelab up") / (m("shell up") + m("nothing up")), UP_LIMIT)
    unchanged = m("litelab up, no change") / m("nothing up, no change")
    figures.hold("no-change up / nothing's", unchanged, UNCHANGED_LIMIT)
    gone = m("litelab destroy") / (m("shell down") + m("nothing destroy"))
    figures.hold("destroy / (shell + nothing)", gone, DESTROY_LIMIT)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
