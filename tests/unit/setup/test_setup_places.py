"""What root makes in a checkout belongs to who called ``sudo``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import places

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
CALLER = 54321


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "PROJECT", tmp_path)
    monkeypatch.setattr(places, "OWN", tmp_path / ".lab")
    for name in (
        ".lab/results/one.json", ".lab/run/my/hosts/host-1/etc/passwd", "components/hosts/__pycache__/a.pyc",
        "components/hosts/a.py", "__pycache__/b.pyc", ".ruff_cache/c", "other/d",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def of_caller(checkout: Path) -> set[str]:
    return {str(p.relative_to(checkout)) for p in checkout.rglob("*") if p.lstat().st_uid == CALLER and not p.is_dir()}


def test_state_results_and_notes_of_programs_go_to_the_caller(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(CALLER))
    monkeypatch.setenv("SUDO_GID", str(CALLER))
    places.hand_over()
    assert of_caller(checkout) == {
        ".lab/results/one.json", "components/hosts/__pycache__/a.pyc", "__pycache__/b.pyc", ".ruff_cache/c"
    }  # fmt: skip


def test_root_without_sudo_gives_all_that_to_the_checkouts_owner(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.delenv("SUDO_GID", raising=False)
    os.chown(checkout, CALLER, CALLER)
    places.hand_over()
    assert ".lab/results/one.json" in of_caller(checkout)
    assert "other/d" not in of_caller(checkout)


def test_in_a_checkout_of_roots_nothing_changes_hands(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    places.hand_over()
    assert of_caller(checkout) == set()
