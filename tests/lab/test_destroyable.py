"""A lab can always be destroyed, whatever has happened to it: hosts made by the scripts alone, damaged, and removed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import machine
from tests.lab.bare import Bare

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    lab = Bare(tmp_path / "check out" / ".lab" / "run" / "destroyable")
    try:
        yield lab
    finally:
        lab.clear()


def sh(*words: str) -> None:
    subprocess.run(words, check=True, timeout=30, capture_output=True)


def frozen(lab: Bare) -> None:
    state = Path(f"/sys/fs/cgroup/freezer/litelab/{lab.id}/host-1/freezer.state")
    if not state.exists():
        pytest.skip("no freezer of cgroup v1")
    state.write_text("FROZEN")


def moved(lab: Bare) -> None:
    top = lab.run.parents[2]
    new = top.with_name("mo ved")
    top.rename(new)
    lab.run = new / lab.run.relative_to(top)


def entry_gone(lab: Bare) -> None:
    for path in Path(f"/run/litelab/labs/{lab.id}").glob("*"):
        if path.is_file():
            path.unlink()


def killed(lab: Bare) -> None:
    for pid in machine.processes_of(lab.id):
        os.kill(pid, 9)


DAMAGES: dict[str, Callable[[Bare], object]] = {
    "ssh_config-garbage": lambda lab: (lab.run / "ssh_config").write_text("Host\n\0nonsense"),
    "ssh-folder-gone": lambda lab: shutil.rmtree(lab.run / "ssh"),
    "keys-gone": lambda lab: (lab.run / "id_ed25519").unlink(),
    "lab.env-gone": lambda lab: (lab.run / "lab.env").unlink(),
    "lab.env-garbage": lambda lab: (lab.run / "lab.env").write_bytes(b"LAB_ID=$(touch /tmp/no)\nPREFIX=\xff\n"),
    "lab.env-empty": lambda lab: (lab.run / "lab.env").write_text(""),
    "entry-gone": entry_gone,
    "disk-half-gone": lambda lab: shutil.rmtree(lab.run / "hosts/host-1/upper/etc"),
    "network-namespace-gone": lambda lab: sh("ip", "netns", "del", f"litelab-{lab.id}"),
    "host-namespace-gone": lambda lab: sh("ip", "netns", "del", f"litelab-{lab.id}-host-1"),
    "unmounted-by-hand": lambda lab: sh("umount", "-l", f"/run/litelab/labs/{lab.id}/host-1"),
    "killed": killed,
    "frozen": frozen,
    "moved": moved,
    "nothing": lambda _: None,
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_is_left_of_a_lab_that_was_damaged(bare: Bare, damage: str) -> None:
    bare.create()
    lab_id = bare.id
    DAMAGES[damage](bare)
    bare.destroy()
    assert machine.look().traces_of(lab_id) == {}
    assert machine.processes_of(lab_id) == []
    left = {p.name for p in bare.run.glob("*")} if bare.run.exists() else set()
    assert left <= {"patience"}
