"""Two labs at once, brought up once for all tests, as a person would."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.lab import machine
from tests.lab.lab import LabStack, finish, interrupt, wait_for
from tests.lab.standing import CPUS, MEMORY_MIB, Standing, tree
from tests.lab.watcher import PodWatcher


@pytest.fixture(scope="session")
def standing() -> Iterator[Standing]:
    """A lab of three hosts that was interrupted once on its way, and one of a single host made at the same time."""
    if os.geteuid() != 0:
        pytest.skip("nspawn hosts are made by root")
    # Their names begin alike on purpose: what is made on the machine has short names.
    lab = LabStack("test-lab", {"hosts.cpus": str(CPUS), "hosts.memoryMib": str(MEMORY_MIB), "repeats": "1"})
    second = LabStack(
        "test-lab-2",
        {"hosts.memoryMib": str(MEMORY_MIB), "workers": "0", "controllerRunsWorkloads": "true", "workloads": "[]"},
    )
    assert shutil.which("pulumi", path=lab.env["PATH"]), "pulumi is not there: run make setup"
    watcher = PodWatcher(lab)
    running: list[subprocess.Popen[str]] = []
    try:
        for stack in (lab, second):
            stack.prepare()
        before, tree_before = machine.look(), tree()

        running = [stack.start_up() for stack in (lab, second)]
        staged = [lab.run_folder / "hosts" / f"host-{n}" / "upper/opt/litelab/upstream" for n in (1, 2, 3)]

        def three_hosts() -> bool | None:
            if running[0].poll() is not None:
                pytest.fail(f"up ended before it could be interrupted:\n{finish(running[0])}")
            # What comes after a host has begun on it: the state knows the host.
            return all(folder.exists() for folder in staged) or None

        wait_for("three hosts", 120, three_hosts)
        interrupt(running[0])
        interrupted = finish(running[0], 120)
        machines = lab.machine_ids()
        exit_code = running[0].returncode

        watcher.start()
        running[0] = lab.start_up()
        resumed, other = (finish(process) for process in running)
        assert running[0].returncode == 0, resumed[-6000:]
        assert running[1].returncode == 0, other[-6000:]
        metrics = lab.kubectl("get", "--raw", "/metrics").stdout
        watcher.stop()
        yield Standing(lab, second, before, tree_before, interrupted, exit_code, machines, resumed, watcher, metrics)
    finally:
        for process in running:
            if process.poll() is None:
                interrupt(process)
                finish(process, 120)
        watcher.stop()
        for stack in (second, lab):
            stack.remove()


@pytest.fixture(scope="session")
def lab(standing: Standing) -> LabStack:
    """The lab of three hosts."""
    return standing.lab


@pytest.fixture(scope="session")
def second(standing: Standing) -> LabStack:
    """The lab of a single host."""
    return standing.second
