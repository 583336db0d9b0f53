"""Packages of this machine: only what is missing, with its reason, and never without leave."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.errors import SetupError
from tools.progress import Progress
from tools.setup import packages

WANTED = {"dpkg": "is there", "litelab-no-such-package": "is not"}


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would have been run."""
    found: list[list[str]] = []

    def run(_self: Progress, _name: str, command: Sequence[str], **_: object) -> str:
        found.append(list(command))
        return ""

    monkeypatch.setattr(Progress, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("YES", raising=False)
    return found


def test_only_what_is_missing_is_asked_for() -> None:
    assert packages.missing(WANTED) == ["litelab-no-such-package"]


def test_nothing_missing_runs_nothing(tmp_path: Path, commands: list[list[str]]) -> None:
    packages.install({"dpkg": "is there"}, Progress(tmp_path))
    assert commands == []


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("YES", "1")])
def test_leave_given_beforehand_installs_in_one_call(
    name: str, value: str, tmp_path: Path, commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv(name, value)
    packages.install(WANTED, Progress(tmp_path))
    installs = [command for command in commands if "install" in command]
    assert len(installs) == 1
    assert installs[0][-1] == "litelab-no-such-package"
    assert "dpkg" not in installs[0]
    # Listed, with the reason, before.
    assert "litelab-no-such-package is not" in " ".join(capsys.readouterr().err.split())


def test_without_leave_and_nobody_to_ask_nothing_is_installed(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(SetupError, match=r"nobody is there to agree.*YES=1"):
        packages.install(WANTED, Progress(tmp_path))
    assert commands == []


def test_not_root_is_told_the_command(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="sudo apt-get install litelab-no-such-package"):
        packages.install(WANTED, Progress(tmp_path))
    assert commands == []
