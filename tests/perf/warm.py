"""A second set-up, and the default lab with its benchmarks, both warm.

``python3 -m tests.perf.warm [ROUNDS]``. Exit code 3 when a target is missed. The whole from nothing is a clone of its own:
``git clone . /elsewhere && time make -C /elsewhere lab``.
"""

from __future__ import annotations

import sys

from tests.perf.rounds import ROUNDS, Figures, ensure_stack, interleave, remove_stack, timed

STACK = "perf-lab"
SETUP_LIMIT_S, LAB_LIMIT_S = 5.0, 90.0


def main(rounds: int) -> int:
    """Measure and hold against the targets."""
    figures = Figures("warm set-up and lab")

    def setup() -> None:
        figures.add("make setup", timed(["make", "setup"]))

    def lab() -> None:
        figures.add("make lab", timed(["make", "lab", f"STACK={STACK}"]))
        timed(["make", "destroy", f"STACK={STACK}"])

    ensure_stack(STACK, "upstream-lab")
    try:
        interleave(figures, rounds, [setup, lab])
    finally:
        remove_stack(STACK)
    figures.hold("a second make setup", figures.median("make setup"), SETUP_LIMIT_S, "s")
    figures.hold("a warm make lab with both benchmarks", figures.median("make lab"), LAB_LIMIT_S, "s")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
