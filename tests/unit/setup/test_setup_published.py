"""Scripts of a lab that somebody has deleted are put back before it is destroyed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from components.steps import scripts
from tools.lab import published

FOLDER = ".lab/run/x-lab/k0s-0123456789ab"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scripts, "COMPONENTS", tmp_path / "components")
    (tmp_path / "components/ssh/scripts").mkdir(parents=True)
    (tmp_path / "components/forwarding/scripts").mkdir(parents=True)
    for name in ("clusters/step.sh", "catalog/download.py", "k0s/reset.sh", "k0s/step.sh"):
        part, _, file = name.partition("/")
        path = tmp_path / "components" / ("clusters/k0s" if part == "k0s" else part) / "scripts" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n# {name}\n")
        path.chmod(0o755)
    return tmp_path


def step(path: str) -> dict[str, Any]:
    return {"inputs": {"environment": {"STEP": path}}}


@pytest.mark.parametrize("half", [False, True])
def test_a_part_comes_back_with_what_it_shares_and_can_be_run(project: Path, half: bool) -> None:
    if half:
        (project / FOLDER).mkdir(parents=True)
    assert published.put_back([step(f"{FOLDER}/reset.sh")], project) == ["k0s-0123456789ab"]
    assert os.access(project / FOLDER / "reset.sh", os.X_OK)
    assert "k0s/step.sh" in (project / FOLDER / "step.sh").read_text()
    assert (project / FOLDER / "download.py").exists()
    assert published.put_back([step(f"{FOLDER}/reset.sh")], project) == []


def test_scripts_that_are_there_stay_as_they_are(project: Path) -> None:
    old = project / FOLDER / "reset.sh"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    assert published.put_back([step(f"{FOLDER}/reset.sh")], project) == []
    assert old.read_text() == "old"


@pytest.mark.parametrize(
    "entry", [{}, {"inputs": {}}, step("/etc/passwd"), step(".lab/run/../../x-0123456789ab/a.sh"), {"inputs": {"environment": {"STEP": 1}}}]
)  # fmt: skip
def test_what_is_no_published_script_is_left_alone(project: Path, entry: dict[str, Any]) -> None:
    assert published.missing([entry], project) == []
