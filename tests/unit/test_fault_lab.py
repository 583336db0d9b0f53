"""The search of the fault tests for secrets finds one where there is one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.faults.lab import FaultLab

ONE, ANOTHER = "4d2f-canary-of-the-first-key", "77aa-canary-of-another-key"


def searched(*printed: Path) -> FaultLab:
    return FaultLab("no-such-lab", env=dict(os.environ), printed=list(printed), secrets={ONE, ANOTHER})


def test_a_file_that_shows_a_secret_is_named_and_no_other(tmp_path: Path) -> None:
    showing, clean = tmp_path / "showing", tmp_path / "clean"
    showing.write_bytes(b"\0binary\nbefore" + ANOTHER.encode() + b"after\n")
    clean.write_text("nothing\n")
    assert searched(showing, clean).leaks() == [str(showing)]


def test_a_process_that_shows_a_secret_is_named(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "30"], env={**os.environ, "KEY": ONE}) as process:
        try:
            assert searched().leaks() == [f"environ of process {process.pid}"]
        finally:
            process.kill()


def test_without_secrets_nothing_is_found() -> None:
    lab = searched()
    lab.secrets.clear()
    assert lab.leaks() == []
