"""SIGINT, SIGTERM and SIGKILL at seeded random moments of ``make lab`` and ``make destroy``.

Every command ends, what it started ends with it, and the same commands run again finish or clear everything.
"""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.faults.lab import FaultLab
from tests.faults.running import LAST_WORDS_S, Running
from tests.faults.tally import SEED, Injection, Tally
from tests.faults.victims import VICTIMS, Windows
from tests.lab.lab import UP_TIMEOUT_S

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
QUICK_ROUNDS, ROUNDS = 5, 20
"""Of each signal, each in ``up`` and in ``destroy``: in ``make test`` and in ``make faults``."""
LATE_S = 5.0
"""How long to look for a victim that is not there at the moment."""
TRIES = 6
CASES = [
    pytest.param(number, count, id=f"{number.name}-{count}", marks=[pytest.mark.slow] if count >= QUICK_ROUNDS else [])
    for count in range(ROUNDS)
    for number in SIGNALS
]


def strike(
    lab: FaultLab, verb: str, number: signal.Signals, turn: int, chance: random.Random, seen: Windows, tally: Tally
) -> Injection:
    """Run a command, hurt one of its processes at a moment by chance, and hold the command to its end.

    A moment at which there is no such process is no injection: an earlier one is taken, since machines are not always equally fast.
    """
    name = sorted(seen)[turn % len(seen)]
    for attempt in range(TRIES):
        moment_s = seen[name].moment(chance.uniform(0, 0.95) / (1 + attempt))
        running = lab.start_verb(verb)
        while running.seconds < moment_s and not running.has_ended:
            time.sleep(0.005)
        hit = _hit(lab, running, name, number, chance)
        if hit:
            injection = tally.inject(
                f"{number.name} in {verb}", f"{name} ({hit}) after {running.seconds:.2f} s, meant {moment_s:.2f}"
            )
            _ends(running, injection, alone=name == "make")
            return injection
        assert running.wait(UP_TIMEOUT_S) == 0, f"{verb}, not disturbed:\n{running.output[-3000:]}"
        # It ran to its end: what came before sets the stage again.
        lab.goes("lab" if verb == "destroy" else "destroy")
    pytest.fail(f"no {name} was met in {TRIES} runs of {verb}; undisturbed, it lived {seen[name]}")


def _hit(lab: FaultLab, running: Running, name: str, number: signal.Signals, chance: random.Random) -> str:
    """The process that got the signal, or nothing when there was none in time."""
    deadline = time.monotonic() + LATE_S
    while time.monotonic() < deadline and not running.has_ended:
        found = sorted(VICTIMS[name](lab, running), key=lambda p: p.pid)
        if found:
            victim = chance.choice(found)
            if victim.signal(number):
                return victim.words[:100]
        time.sleep(0.01)
    return ""


def _ends(running: Running, injection: Injection, *, alone: bool) -> None:
    """The command ends by itself, and all that it started does; Pulumi goes on when it was not hit but what started it."""
    code = running.wait(UP_TIMEOUT_S)
    left = running.outlived_by(UP_TIMEOUT_S if alone else LAST_WORDS_S)
    assert not left, f"{injection.what}: outlived by {[p.words[:120] for p in left]}\n{running.output[-3000:]}"
    said = running.output
    # Python's own word for an interruption that no person can send: steps and plugins have process groups of their own, and a
    # language plugin passes it on to the program.
    python = ".py " in injection.what or "pulumi-language-python" in injection.what
    interrupted = "SIGINT" in injection.fault and python and "KeyboardInterrupt" in said
    assert interrupted or "Traceback" not in said, f"{injection.what}:\n{said[-3000:]}"
    assert "panic:" not in said, f"{injection.what}:\n{said[-3000:]}"
    injection.end = f"exit code {code}"


@pytest.mark.parametrize(("number", "count"), CASES)
def test_a_command_that_is_hurt_ends_and_the_same_commands_finish_or_clear_everything(
    number: signal.Signals, count: int, lab: FaultLab, undisturbed: dict[str, Windows], tally: Tally
) -> None:
    chance = random.Random(f"{SEED} {number} {count}")
    # In five rounds each signal meets each of them once.
    turn = count + SIGNALS.index(number)
    in_up = strike(lab, "lab", number, turn, chance, undisturbed["lab"], tally)
    # Every third lab is finished, the others are cleared as they are.
    if turn % 3 == 0:
        lab.goes("lab")
        lab.works()
        assert lab.pending() == []
        in_up.ended("make lab finished it")
    lab.note_secrets()
    in_destroy = strike(lab, "destroy", number, turn + 2, chance, undisturbed["destroy"], tally)
    lab.goes("destroy")
    for injection in (in_up, in_destroy):
        injection.orphans = lab.orphans()
        injection.secrets = lab.leaks()
        assert injection.orphans == [], injection.what
        assert injection.secrets == [], injection.what
        if not injection.recovered:
            injection.ended("make destroy cleared it")
    in_destroy.ended("make destroy cleared it")
