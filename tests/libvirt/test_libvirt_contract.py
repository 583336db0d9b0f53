"""What every kind of hosts promises, held against three guests: the contract's own tests, in the daemon's network namespace."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.lab.lab import PROJECT, environment
from tests.libvirt.daemon import Daemon

LIMIT_S = 2400

pytestmark = [pytest.mark.libvirt, pytest.mark.slow, pytest.mark.timeout(LIMIT_S + 60)]


def test_the_contract_holds_for_guests(daemon: Daemon) -> None:
    env = {
        **environment(),
        "LITELAB_TEST_URI": daemon.uri,
        "LITELAB_TEST_URI_STORAGE": str(daemon.images),
        "PATH": os.environ["PATH"],
    }
    done = daemon.run(
        ["pytest", "-m", "lab", "tests/contract/test_host_contract.py"],
        cwd=PROJECT, env=env, capture_output=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout or "100%" in done.stdout
