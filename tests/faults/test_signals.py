"""SIGINT, SIGTERM and SIGKILL at seeded random moments of ``make lab`` and ``make destroy``.

Every command ends, what it started ends with it, and the same commands run again finish or clear everything.
"""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.faults.lab import FaultLab, Undisturbed
from tests.faults.running import LAST_WORDS_S, Running
from tests.faults.tally import SEED, Injection, Tally
from tests.faults.victims import VICTIMS
from tests.lab.lab import UP_TIMEOUT_S

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
QUICK_ROUNDS, ROUNDS = 5, 20
"""Of each signal, each in ``up`` and in ``destroy``: in ``make test`` and in ``make faults``."""
LATE_S = 5.0
"""How long to look for a victim that is not there at the moment."""
CASES = [
    pytest.param(number, count, id=f"{number.name}-{count}", marks=[pytest.mark.slow] if count >= QUICK_ROUNDS else [])
    for count in range(ROUNDS)
    for number in SIGNALS
]


def strike(
    lab: FaultLab, verb: str, number: signal.Signals, name: str, chance: random.Random, whole_s: float, tally: Tally
) -> Injection:
    """Run a command, hurt one of its processes at a moment by chance, and hold the command to its end.

    A moment at which there is no such process is no injection: another one is taken.
    """
    for _ in range(6):
        moment_s = chance.uniform(0.02, 0.98) * whole_s
        running = lab.start_verb(verb)
        while running.seconds < moment_s and not running.has_ended:
            time.sleep(0.005)
        hit = _hit(lab, running, name, number, chance)
        if hit:
            what = f"{name} ({hit}) after {running.seconds:.2f} s, meant {moment_s:.2f} of {whole_s:.1f}"
            injection = tally.inject(f"{number.name} in {verb}", what)
            _ends(running, injection, alone=name == "make")
            return injection
        assert running.wait(UP_TIMEOUT_S) == 0, f"{verb}, not disturbed:\n{running.output[-3000:]}"
        # It ran to its end: what came before sets the stage again.
        lab.goes("lab" if verb == "destroy" else "destroy")
    pytest.fail(f"no {name} was met in 6 runs of {verb}")


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
    # Python's own word for an interruption that no person can send: steps have process groups of their own.
    interrupted = "SIGINT" in injection.fault and ".py " in injection.what and "KeyboardInterrupt" in said
    assert interrupted or "Traceback" not in said, f"{injection.what}:\n{said[-3000:]}"
    assert "panic:" not in said, f"{injection.what}:\n{said[-3000:]}"
    injection.end = f"exit code {code}"


@pytest.mark.parametrize(("number", "count"), CASES)
def test_a_command_that_is_hurt_ends_and_the_same_commands_finish_or_clear_everything(
    number: signal.Signals, count: int, lab: FaultLab, undisturbed: Undisturbed, tally: Tally
) -> None:
    chance = random.Random(f"{SEED} {number} {count}")
    # In five rounds each signal meets each of them once.
    victims = list(VICTIMS)
    turn = count + SIGNALS.index(number)
    in_up = strike(lab, "lab", number, victims[turn % len(victims)], chance, undisturbed.up_s, tally)
    # Every third lab is finished, the others are cleared as they are.
    if turn % 3 == 0:
        lab.goes("lab")
        lab.works()
        assert lab.pending() == []
        in_up.ended("make lab finished it")
    lab.note_secrets()
    in_destroy = strike(
        lab, "destroy", number, victims[(turn + 2) % len(victims)], chance, undisturbed.destroy_s, tally
    )
    lab.goes("destroy")
    for injection in (in_up, in_destroy):
        injection.orphans = lab.orphans()
        injection.secrets = lab.leaks()
        assert injection.orphans == [], injection.what
        assert injection.secrets == [], injection.what
        if not injection.recovered:
            injection.ended("make destroy cleared it")
    in_destroy.ended("make destroy cleared it")
