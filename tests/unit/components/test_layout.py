"""A lab that another Litelab made: gone on with, or refused with the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.checks import layout, preflight
from components.config.lab_file import parse
from components.config.settings import SettingsError
from components.places import run_folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run folder of a lab that stands, made before there were numbers."""
    monkeypatch.setattr(layout, "PROJECT", tmp_path)
    folder = tmp_path / run_folder("my")
    folder.mkdir(parents=True)
    (folder / "ssh_config").touch()
    return folder


def test_a_lab_of_a_newer_litelab_is_refused_with_the_cure(run: Path) -> None:
    (run / "layout").write_text(f"{layout.LAYOUT + 1}\n")
    with pytest.raises(SettingsError) as refused:
        preflight.require(parse({}, "x"), "my")
    told = str(refused.value)
    assert f"was made by a newer Litelab (layout {layout.LAYOUT + 1}; this one knows {layout.LAYOUT})" in told
    assert "'make destroy STACK=my'" in told
    assert "\n" not in told


def test_a_lab_that_is_too_old_is_refused_with_the_cure(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "GOES_ON_FROM", 2)
    told = str(layout.refusal("my"))
    assert "was made by an older Litelab (layout 1), and this one goes on from 2" in told
    assert "'make destroy STACK=my'" in told


@pytest.mark.parametrize("number", range(layout.GOES_ON_FROM, layout.LAYOUT + 1))
def test_a_lab_that_it_goes_on_with_is_not_refused(run: Path, number: int) -> None:
    (run / "layout").write_text(f"{number}\n")
    assert layout.refusal("my") is None


def test_what_an_earlier_lab_left_refuses_no_new_one(run: Path) -> None:
    (run / "layout").write_text("99\n")
    (run / "ssh_config").unlink()
    assert layout.refusal("my") is None


def test_an_up_notes_who_made_it(run: Path) -> None:
    assert layout.standing("my") == 1
    layout.mark("my")
    assert layout.standing("my") == layout.LAYOUT
    assert sorted(p.name for p in run.iterdir()) == ["layout", "ssh_config"]
