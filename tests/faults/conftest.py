"""One lab for all fault tests, measured once undisturbed; the tally of the whole run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.faults.lab import ONE_HOST, FaultLab
from tests.faults.tally import TALLY, Tally
from tests.faults.victims import Windows, windows
from tests.lab.lab import PROJECT, UP_TIMEOUT_S


@pytest.fixture(scope="session")
def tally() -> Tally:
    return TALLY


@pytest.fixture(scope="session")
def one_host() -> Iterator[FaultLab]:
    """The stack of a lab of one host; what a killed run of these tests left of it is removed first."""
    if os.geteuid() != 0:
        pytest.skip("nspawn hosts are made by root")
    lab = FaultLab("fault-lab", ONE_HOST)
    assert shutil.which("pulumi", path=lab.env["PATH"]), "pulumi is not there: run make setup"
    with lab.ready():
        yield lab


@pytest.fixture(scope="session")
def undisturbed(one_host: FaultLab) -> dict[str, Windows]:
    """One lab up and away again: when there was whom to hurt, by verb."""

    def watched(verb: str) -> Windows:
        running = one_host.start_verb(verb)
        seen = windows(one_host, running)
        assert running.wait(UP_TIMEOUT_S) == 0, running.output[-5000:]
        return seen

    up = watched("lab")
    one_host.works()
    one_host.note_secrets()
    return {"lab": up, "destroy": watched("destroy")}


@pytest.fixture
def lab(one_host: FaultLab) -> Iterator[FaultLab]:
    """The lab's stack, empty before the test and after it."""
    yield one_host
    one_host.cleared()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY.injections:
        terminalreporter.section("faults")
        for line in TALLY.table():
            terminalreporter.write_line(line)
        path = TALLY.write(PROJECT / ".lab" / "faults")
        terminalreporter.write_line(f"Written to {path.relative_to(PROJECT)}")
