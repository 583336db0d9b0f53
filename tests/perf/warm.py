"""A second set-up, and the default lab with its benchmarks, both warm.

``python3 -m tests.perf.warm [ROUNDS]``. Exit code 3 when a target is missed. The whole from nothing is a clone of its own:
``git clone . /elsewhere && time make -C /elsewhere lab``.
"""

from __future__ import annotations

from tests.perf.rounds import Figures, interleave, run, stack_of_its_own, timed

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

    # Whatever it finds to do, it does before the first round.
    timed(["make", "setup"])
    with stack_of_its_own(STACK, lab="upstream-lab"):
        interleave(figures, rounds, [setup, lab])
    figures.hold("a second make setup", figures.median("make setup"), SETUP_LIMIT_S, "s")
    figures.hold("a warm make lab with both benchmarks", figures.median("make lab"), LAB_LIMIT_S, "s")
    return figures.finish()


if __name__ == "__main__":
    run(main)
