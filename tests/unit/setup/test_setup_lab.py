"""What ``make lab`` does with a lab that failed: kept for a look, unless the person said otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.setup import lab, stacks
from tools.setup.progress import Progress


@pytest.fixture
def verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Pulumi was asked to do with the stack ``my``."""
    asked: list[str] = []
    monkeypatch.setattr(lab, "OWN", tmp_path)
    (tmp_path / "run/my").mkdir(parents=True)
    monkeypatch.setattr(lab, "_known", lambda _: None)
    monkeypatch.setattr(lab, "_engine", lambda _: None)
    monkeypatch.setattr(lab, "hand_over", lambda *_: None)
    monkeypatch.setattr(stacks, "free", lambda *_: None)
    monkeypatch.setattr(stacks, "exists", lambda _: True)
    preflight: Any = lambda *_, **__: subprocess.CompletedProcess([], 0)  # noqa: E731
    monkeypatch.setattr("tools.setup.lab.subprocess.run", preflight)
    monkeypatch.delenv("DESTROY_ON_FAILURE", raising=False)
    return asked


def ending(asked: list[str], code: int) -> Any:
    def pulumi(_: Path, verb: str, *__: Any) -> int:
        asked.append(verb)
        return code if verb == "up" else 0

    return pulumi


class TestFailure:
    def up(self, tmp_path: Path) -> int:
        return lab.up(tmp_path, "my", Progress(tmp_path))

    def test_a_failed_lab_is_kept(
        self, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(lab, "_pulumi", ending(verbs, 255))
        assert self.up(tmp_path) == 255
        assert verbs == ["up"]
        told = capsys.readouterr().err
        assert "The lab is kept as it is." in told
        for command in ("make logs STACK=my", "make lab STACK=my", "make destroy STACK=my", "DESTROY_ON_FAILURE=1"):
            assert command in told
        # There is no host to look inside of.
        assert "make ssh" not in told

    def test_the_error_says_how_to_look_inside_of_hosts_that_are_there(
        self, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(lab, "_pulumi", ending(verbs, 255))
        (tmp_path / "run/my/ssh_config").touch()
        self.up(tmp_path)
        assert "'make ssh STACK=my HOST=host-1' looks inside" in capsys.readouterr().err

    def test_it_is_removed_when_the_person_said_so_and_the_failure_stays_a_failure(
        self, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lab, "_pulumi", ending(verbs, 255))
        monkeypatch.setenv("DESTROY_ON_FAILURE", "1")
        assert self.up(tmp_path) == 255
        assert verbs == ["up", "destroy"]

    def test_a_lab_that_a_person_stopped_is_kept_whatever_was_said(
        self, tmp_path: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lab, "_pulumi", ending(verbs, lab.STOPPED))
        monkeypatch.setenv("DESTROY_ON_FAILURE", "1")
        assert self.up(tmp_path) == lab.STOPPED
        assert verbs == ["up"]


# Stands for a Pulumi that the terminal's Ctrl-C, or a 'kill' of its parent, ends with an error.
PULUMI = """#!/usr/bin/env python3
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(255))
os.kill(os.getppid(), signal.SIGNAL)
if signal.SIGNAL == signal.SIGINT:
    os.kill(os.getpid(), signal.SIGINT)
signal.pause()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_run_that_was_stopped_ends_as_shells_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pulumi"
    program.write_text(PULUMI.replace("SIGNAL", name))
    program.chmod(0o755)
    monkeypatch.setattr(lab, "OWN", tmp_path)
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert lab._pulumi(tmp_path, "up", "my", dict(os.environ)) == lab.STOPPED
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    if name == "SIGINT":
        assert "Stopping after the steps that run; Ctrl-C again stops them too." in capsys.readouterr().err
