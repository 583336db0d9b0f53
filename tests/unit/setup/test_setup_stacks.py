"""Pulumi's locks: a dead owner's is told from a living one's."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.errors import SetupError
from tools.lab import stacks
from tools.progress import Progress

NO_PROCESS = 2**22 + 1
"""Above the largest process id that Linux gives."""


def _lock(state: Path, stack: str, pid: int, host: str = "") -> Path:
    folder = state / ".pulumi" / "locks" / "organization" / "litelab" / stack
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pid}.json"
    content = {
        "pid": pid,
        "username": "root",
        "hostname": host or socket.gethostname(),
        "timestamp": "2026-01-01T00:00:00Z",
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def pulumi_process(tmp_path: Path) -> Iterator[int]:
    """A living process that the kernel shows as pulumi."""
    program = tmp_path / "pulumi"
    sleep = shutil.which("sleep")
    assert sleep
    shutil.copy(sleep, program)
    process = subprocess.Popen([str(program), "60"])
    # The kernel names a process a moment after Popen returns.
    until = time.monotonic() + 10
    while Path(f"/proc/{process.pid}/comm").read_text() != "pulumi\n":
        assert time.monotonic() < until
        time.sleep(0.001)
    yield process.pid
    process.kill()
    process.wait()


def test_no_locks_where_there_is_no_state(tmp_path: Path) -> None:
    assert stacks.locks("my", tmp_path / "nothing") == []


def test_what_is_cut_off_beside_a_state_and_its_locks_goes_and_nothing_else(tmp_path: Path) -> None:
    lock = _lock(tmp_path, "my", NO_PROCESS)
    other = _lock(tmp_path, "other", NO_PROCESS)
    folder = tmp_path / ".pulumi/stacks/litelab"
    folder.mkdir(parents=True)
    files = [folder / "my.json", folder / "other.json", lock, other]
    for file in files:
        file.write_text("{}")
        file.with_name(f"{file.name}.attrs").write_text("")
    stacks.drop_cut_off_attributes("my", tmp_path)
    assert all(file.exists() for file in files)
    assert [file.with_name(f"{file.name}.attrs").exists() for file in files] == [False, True, False, True]
    whole = folder / "other.json.attrs"
    whole.write_text('{"user.content_type": "application/json"}')
    stacks.drop_cut_off_attributes("other", tmp_path)
    assert whole.exists()


def test_a_gone_owner_is_dead(tmp_path: Path) -> None:
    _lock(tmp_path, "my", NO_PROCESS)
    assert [lock.is_dead for lock in stacks.locks("my", tmp_path)] == [True]


def test_a_process_number_used_again_by_another_program_is_a_dead_owner(tmp_path: Path) -> None:
    _lock(tmp_path, "my", os.getpid())
    assert [lock.is_dead for lock in stacks.locks("my", tmp_path)] == [True]


def test_a_living_pulumi_is_not_dead(tmp_path: Path, pulumi_process: int) -> None:
    _lock(tmp_path, "my", pulumi_process)
    assert [lock.is_dead for lock in stacks.locks("my", tmp_path)] == [False]


def test_an_owner_on_another_machine_is_never_called_dead(tmp_path: Path) -> None:
    _lock(tmp_path, "my", NO_PROCESS, host="elsewhere")
    assert [lock.is_dead for lock in stacks.locks("my", tmp_path)] == [False]


def test_a_living_owner_is_named_and_left_alone(
    tmp_path: Path, pulumi_process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _lock(tmp_path, "my", pulumi_process)
    found = stacks.locks("my", tmp_path)
    monkeypatch.setattr(stacks, "locks", lambda _: found)
    monkeypatch.setattr(stacks, "pulumi", lambda *_: pytest.fail("touched a living owner's stack"))
    with pytest.raises(SetupError, match=f"is in use by process {pulumi_process} of root"):
        stacks.free(tmp_path, "my", Progress(tmp_path))
    assert path.exists()


def test_a_dead_owners_lock_is_cancelled_and_its_pending_steps_are_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lock(tmp_path, "my", NO_PROCESS)
    found = stacks.locks("my", tmp_path)
    state = tmp_path / ".pulumi" / "stacks" / "litelab" / "my.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"checkpoint": {"latest": {"pending_operations": [{"type": "creating"}]}}}))
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(stacks, "STATE", tmp_path)
    monkeypatch.setattr(stacks, "locks", lambda _: found)
    monkeypatch.setattr(stacks, "pulumi", lambda _, *arguments: asked.append(arguments))
    stacks.free(tmp_path, "my", Progress(tmp_path))
    assert [call[0] for call in asked] == ["cancel", "refresh"]
    assert "--clear-pending-creates" in asked[1]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout with the folders of one stack, ``my``."""
    monkeypatch.setattr(stacks, "PROJECT", tmp_path)
    monkeypatch.setattr(stacks, "OWN", tmp_path / ".lab")
    monkeypatch.setattr(stacks, "STATE", tmp_path / ".lab" / "state")
    for kind in ("stacks/litelab", "history/litelab/my", "backups/litelab/my"):
        (tmp_path / ".lab/state/.pulumi" / kind).mkdir(parents=True)
    return tmp_path


STATE, KEPT = ".lab/state/.pulumi/stacks/litelab/my.json", ".lab/state/.pulumi"
WHOLE = json.dumps({"version": 3, "checkpoint": {"latest": {}}})


def _write(path: Path, text: str, age_s: float = 0) -> None:
    path.write_text(text)
    os.utime(path, (time.time() - age_s,) * 2)


def test_a_whole_state_and_a_stack_that_never_was_are_no_trouble(checkout: Path) -> None:
    stacks.require_whole_state("my")
    _write(checkout / STATE, WHOLE)
    stacks.require_whole_state("my")


@pytest.mark.parametrize("left", ["", WHOLE[:20], "[]", "\0" * 40])
def test_a_broken_state_is_an_error_with_the_command_that_puts_back_the_newest_whole_copy(
    left: str, checkout: Path
) -> None:
    _write(checkout / STATE, left)
    _write(checkout / f"{STATE}.bak", WHOLE[:30])
    _write(checkout / KEPT / "backups/litelab/my/my.1.json", WHOLE, age_s=50)
    _write(checkout / KEPT / "history/litelab/my/my-2.checkpoint.json", WHOLE, age_s=20)
    _write(checkout / KEPT / "history/litelab/my/my-2.history.json", WHOLE)
    with pytest.raises(SetupError) as error:
        stacks.require_whole_state("my")
    command = f"cp {KEPT}/history/litelab/my/my-2.checkpoint.json {STATE}"
    assert f"'{command}' puts it back" in str(error.value)
    subprocess.run(command.split(), cwd=checkout, check=True, timeout=10)
    stacks.require_whole_state("my")


@pytest.mark.parametrize("record", ["lab.env", "ssh_config"])
def test_a_state_that_is_gone_while_its_lab_is_there_is_an_error_too(checkout: Path, record: str) -> None:
    (checkout / ".lab/run/my").mkdir(parents=True)
    (checkout / ".lab/run/my" / record).touch()
    with pytest.raises(SetupError, match=r"gone, and its lab is still there.*make orphans' lists"):
        stacks.require_whole_state("my")


def test_only_plugins_of_this_checkout_without_a_pulumi_above_them_are_ended(checkout: Path, tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep
    shutil.copy(sleep, tmp_path / "pulumi-language-python")
    ours = {"PULUMI_BACKEND_URL": f"file://{checkout}/.lab/state"}
    command = [str(tmp_path / "pulumi-language-python"), "60"]
    mine, other = (subprocess.Popen(command, env=env) for env in (ours, {"PULUMI_BACKEND_URL": "file:///elsewhere"}))
    try:
        until = time.monotonic() + 10
        while mine.poll() is None and time.monotonic() < until:
            stacks.end_left_plugins()
            time.sleep(0.01)
        assert mine.poll() == -signal.SIGTERM
        assert other.poll() is None
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()


def test_state_and_passphrase_are_the_owners_alone_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / ".lab"
    monkeypatch.setattr(stacks, "OWN", own)
    monkeypatch.setattr(stacks, "STATE", own / "state")
    stacks.prepare()
    first = (own / "passphrase").read_text()
    stacks.prepare()
    assert (own / "passphrase").read_text() == first
    assert len(first) > 40
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (own, own / "state", own / "passphrase")}
    assert modes == {".lab": 0o700, "state": 0o700, "passphrase": 0o600}


def test_an_unknown_lab_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="upstream-lab"):
        stacks.create_from(tmp_path, "my", "no-such-lab", Progress(tmp_path))


class TestAnotherStack:
    @pytest.fixture
    def asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What Pulumi is asked, with one stack, ``my``, that is there, of the lab ``k0s-lab``."""
        asked: list[str] = []
        monkeypatch.setattr(stacks, "OWN", tmp_path)
        monkeypatch.setattr(stacks, "exists", lambda name: name == "my")
        monkeypatch.setattr(stacks, "pulumi", lambda _, *words: asked.append(" ".join(words)))
        (tmp_path / "config").mkdir()
        (tmp_path / "config/Pulumi.my.yaml").write_text("config:\n  litelab:lab: k0s-lab\n")
        return asked

    @pytest.mark.parametrize(
        ("name", "lab", "said"),
        [
            ("k0s-lab", "upstream-lab", "is the stack of the lab stacks/k0s-lab.yaml"),
            ("my", "upstream-lab", "there is a stack my already, of the lab k0s-lab"),
            ("My_2", "upstream-lab", "'My_2' can't be a stack's name"),
            ("-x", "upstream-lab", "'-x' can't be a stack's name"),
        ],
    )
    def test_no_stack_is_taken_from_another_lab(
        self, asked: list[str], tmp_path: Path, name: str, lab: str, said: str
    ) -> None:
        with pytest.raises(SetupError, match=re.escape(said)):
            stacks.create_from(tmp_path, name, lab, Progress(tmp_path))
        assert asked == []

    @pytest.mark.parametrize("name", ["new", "my"])
    def test_the_next_command_is_said(
        self, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        stacks.create_from(tmp_path, name, "k0s-lab", Progress(tmp_path))
        assert asked[-1] == f"config set --stack {name} litelab:lab k0s-lab"
        assert f"make lab STACK={name}" in capsys.readouterr().out
