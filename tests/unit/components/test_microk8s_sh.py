"""What MicroK8s's steps make of what ``snap`` says: which version is there, what is retried, what an error tells."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.components import onhost
from tests.unit.components.onhost import NEEDS_ROOT

pytestmark = NEEDS_ROOT


def on_host(script: str, tmp_path: Path, snap: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has sourced the steps' own, with a ``snap`` that does as told."""
    sourced = ("shared/step.sh", "microk8s/microk8s.sh")
    return onhost.on_host("sleep() { :; }\n" + script, *sourced, folder=tmp_path, programs={"snap": snap})


LIST = 'printf "Name Version Rev\\nmicrok8s v1.34.4 8511\\n"'


@pytest.mark.parametrize(
    ("wanted", "is_it"),
    [
        ("v1.34", True),
        ("v1.34.4", True),
        ("v1.34.4+rev8511", True),
        ("v1.34.4+rev8512", False),
        ("v1.34.40", False),
        ("v1.3", False),
        ("v1.35", False),
        ("v1.34.5", False),
    ],
)
def test_an_installed_snap_is_the_wanted_one_by_minor_patch_or_revision(
    tmp_path: Path, wanted: str, is_it: bool
) -> None:
    done = on_host(f"satisfies {wanted} && echo yes || echo no", tmp_path, LIST)
    assert done.stdout == ("yes\n" if is_it else "no\n"), done.stderr


def test_the_channel_is_the_minors(tmp_path: Path) -> None:
    done = on_host("channel v1.34.4+rev8511; RISK=edge; channel v1.35", tmp_path, "")
    assert done.stdout == "1.34/stable\n1.35/edge\n"


def test_a_lock_that_is_held_is_waited_for(tmp_path: Path) -> None:
    snap = """
n=$(cat "$DIR/n" 2>/dev/null || echo 0); echo $((n + 1)) >"$DIR/n"
[ "$n" -ge 3 ] || { echo 'error: snap "microk8s" has "install-snap" change in progress' >&2; exit 1; }
echo installed"""
    done = on_host('snap_do "install it" 60 install microk8s && cat "$DIR/n"', tmp_path, snap)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr


def test_a_lock_that_is_never_given_back_ends_with_what_holds_it(tmp_path: Path) -> None:
    snap = """echo 'error: snap "microk8s" has "install-snap" change in progress' >&2; exit 1"""
    done = on_host('snap_do "install it" 1 install microk8s', tmp_path, snap)
    assert done.returncode == 1
    assert "waited 1 s to install it; snapd is still busy" in done.stderr
    assert "snap changes" in done.stderr


def test_a_store_out_of_reach_is_said_at_once_with_both_cures(tmp_path: Path) -> None:
    snap = 'echo "error: unable to contact snap store" >&2; echo x >>"$DIR/calls"; exit 1'
    done = on_host('snap_do "install it" 60 install microk8s', tmp_path, snap)
    assert done.returncode == 1
    assert "hosts: {internet: true}" in done.stderr
    assert "artifacts: microk8s, microk8s-assert, core22, core22-assert" in done.stderr
    assert (tmp_path / "calls").read_text() == "x\n"


def test_what_snapd_refuses_is_said_in_its_own_words(tmp_path: Path) -> None:
    done = on_host('snap_do "install it" 60 install x', tmp_path, 'echo "error: snap \\"x\\" not found" >&2; exit 1')
    assert done.returncode == 1
    assert 'snapd could not install it: error: snap "x" not found' in done.stderr
