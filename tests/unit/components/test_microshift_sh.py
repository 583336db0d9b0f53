"""How a host's subscription ends, whatever ``subscription-manager`` says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.steps import SCRIPTS
from tests.unit.components.onhost import NEEDS_ROOT, on_host

pytestmark = NEEDS_ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scripts as they are staged: the distribution's own and the shared ones in one folder."""
    for part in ("shared", "microshift"):
        shutil.copytree(SCRIPTS / part, tmp_path / "scripts", dirs_exist_ok=True)
    return tmp_path


def unregister(folder: Path, manager: str) -> tuple[int, str]:
    programs = {"subscription-manager": manager, "sleep": "", "systemctl": ""}
    done = on_host('UNREGISTER_S=2 "$DIR/scripts/subscribe.sh" delete', folder=folder, programs=programs)
    return done.returncode, done.stderr


def test_a_host_that_is_not_registered_needs_nothing(folder: Path) -> None:
    assert unregister(folder, "exit 1") == (0, "")


def test_it_is_unregistered_once(folder: Path) -> None:
    manager = 'echo "$1" >>"$DIR/calls"; [ "$1" = identity ] || { touch "$DIR/gone"; exit 0; }; [ ! -e "$DIR/gone" ]'
    assert unregister(folder, manager) == (0, "")
    assert (folder / "calls").read_text().split() == ["identity", "unregister", "identity"]


@pytest.mark.parametrize("code", [0, 1], ids=["and says it did", "and says why"])
def test_one_that_stays_registered_ends_with_the_cure(folder: Path, code: int) -> None:
    ended, said = unregister(folder, f'[ "$1" = identity ] || {{ echo out of reach; exit {code}; }}')
    assert ended == 1
    assert "waited 2 s for 'subscription-manager unregister': out of reach" in said
    assert "console.redhat.com" in said
