"""Two people, or one with two shells, on one stack and on two."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.faults.lab import ONE_HOST, FaultLab
from tests.faults.running import Running
from tests.faults.tally import Tally
from tests.faults.test_hosts import cleared
from tests.lab.lab import UP_TIMEOUT_S

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def other() -> Iterator[FaultLab]:
    """Another stack of the same checkout, whose name begins like the first one's."""
    with FaultLab("fault-lab-2", ONE_HOST).ready() as lab:
        yield lab


def start_up(lab: FaultLab, by: str) -> Running:
    return lab.start_verb("lab") if by == "make" else lab.start_pulumi("up")


@pytest.mark.parametrize("apart_s", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("by", ["make", "pulumi"])
def test_of_two_ups_on_one_stack_one_goes_through_and_the_other_says_who_is_in_its_way(
    by: str, apart_s: float, lab: FaultLab, tally: Tally
) -> None:
    first = start_up(lab, by)
    time.sleep(apart_s)
    second = start_up(lab, by)
    injection = tally.inject("two operators", f"two ups by {by}, {apart_s} s apart")
    codes = [running.wait(UP_TIMEOUT_S) for running in (first, second)]
    outputs = [running.output for running in (first, second)]
    assert not any("Traceback" in output for output in outputs)
    for code, output in zip(codes, outputs, strict=True):
        assert code == 0 or "is in use by process" in output or "is currently locked by" in output, output[-3000:]
    if 0 not in codes:
        # Each saw the other's lock.
        lab.goes("lab")
    lab.works()
    cleared(lab, injection, f"exit codes {codes}, and the lab works")


def test_two_stacks_come_up_and_go_at_once(lab: FaultLab, other: FaultLab, tally: Tally) -> None:
    for verb in ("lab", "destroy"):
        injection = tally.inject("two operators", f"two stacks, {verb} at once")
        both = [stack.start_verb(verb) for stack in (lab, other)]
        for running in both:
            assert running.wait(UP_TIMEOUT_S) == 0, running.output[-4000:]
        if verb == "lab":
            assert lab.names["PREFIX"] != other.names["PREFIX"]
            for stack in (lab, other):
                stack.works()
                stack.note_secrets()
        else:
            injection.orphans = lab.orphans() + other.orphans()
            assert injection.orphans == []
        injection.ended("both went through")


def test_one_comes_up_while_the_other_goes(lab: FaultLab, other: FaultLab, tally: Tally) -> None:
    lab.goes("lab")
    for going, coming in ((lab, other), (other, lab)):
        injection = tally.inject("two operators", f"{coming.name} comes up while {going.name} goes")
        both = [coming.start_verb("lab"), going.start_verb("destroy")]
        for running in both:
            assert running.wait(UP_TIMEOUT_S) == 0, running.output[-4000:]
        coming.works()
        injection.orphans = going.orphans()
        assert injection.orphans == []
        injection.ended("both went through")
