"""The keyed cache: what changes a key, what an interruption leaves, and two set-ups at once."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import SetupError
from tools.setup.cache import WORTH_A_LOOK_BYTES, key_of, keyed, link, only_one


def _fill(folder: Path) -> None:
    (folder / "program").write_text("whole")


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_key_depends_on_each_part_and_on_where_it_ends(one: list[str], other: list[str]) -> None:
    assert (key_of(*one) == key_of(*other)) == (one == other)


def test_key_of_a_folder_sees_names_and_contents_but_not_bytecode(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = key_of(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"1")
    assert key_of(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = key_of(tmp_path)
    (tmp_path / "b").write_text("y")
    assert len({first, renamed, key_of(tmp_path)}) == 3


def test_a_thing_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    made = keyed(tmp_path, "thing", "k1", _fill)
    again = keyed(tmp_path, "thing", "k1", lambda _: pytest.fail("made twice"))
    assert again == made
    assert (made / "program").read_text() == "whole"


def test_a_changed_key_makes_that_thing_alone(tmp_path: Path) -> None:
    keyed(tmp_path, "one", "k1", _fill)
    keyed(tmp_path, "two", "k1", _fill)
    keyed(tmp_path, "one", "k2", _fill)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["one-k1", "one-k2", "two-k1"]


def _big(folder: Path) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "program").write_bytes(b"x" * WORTH_A_LOOK_BYTES)


def _no_second_time(_: Path) -> None:
    pytest.fail("made twice")


@pytest.mark.parametrize("left", [0, 1, WORTH_A_LOOK_BYTES - 1, None])
def test_a_program_that_was_cut_off_is_made_again(
    left: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = keyed(tmp_path, "thing", "k1", _big) / "bin" / "program"
    if left is None:
        program.unlink()
    else:
        os.truncate(program, left)
    keyed(tmp_path, "thing", "k1", _big)
    assert program.stat().st_size == WORTH_A_LOOK_BYTES
    assert f"{program} is not as set-up made it" in capsys.readouterr().err
    keyed(tmp_path, "thing", "k1", _no_second_time)


def test_a_part_of_an_older_set_up_is_taken_as_it_is_and_known_from_then_on(tmp_path: Path) -> None:
    made = keyed(tmp_path, "thing", "k1", _big)
    (tmp_path / ".thing-k1.sizes").unlink()
    keyed(tmp_path, "thing", "k1", _no_second_time)
    (made / "bin" / "program").unlink()
    keyed(tmp_path, "thing", "k1", _big)
    assert (made / "bin" / "program").exists()


def test_a_damaged_image_that_labs_stand_on_stays_until_they_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = keyed(tmp_path, "image", "k1", _big)
    (made / "bin" / "program").unlink()
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 2 0:3 / /lab/root rw - overlay litelab-x rw,lowerdir={made},upperdir=/lab/upper\n")
    monkeypatch.setattr("tools.setup.cache.MOUNTS", mounts)
    with pytest.raises(SetupError, match="labs that are up stand on it"):
        keyed(tmp_path, "image", "k1", _no_second_time)
    assert made.is_dir()


def test_a_failure_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "program").write_text("ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keyed(tmp_path, "thing", "k1", half)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleared_and_made_anew(tmp_path: Path) -> None:
    killed = tmp_path / ".thing.partial-dead"
    killed.mkdir()
    (killed / "program").write_text("ha")
    other = tmp_path / ".other.partial-x"
    other.mkdir()
    made = keyed(tmp_path, "thing", "k1", _fill)
    assert (made / "program").read_text() == "whole"
    assert not killed.exists()
    assert other.exists()


def test_a_link_moves_to_what_is_new(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        link(tmp_path / "current", tmp_path / name)
        assert (tmp_path / "current").resolve() == tmp_path / name
    # Relative, so that a cache can be moved.
    assert (tmp_path / "current").readlink() == Path("new")


def test_a_second_set_up_waits_and_names_the_first(tmp_path: Path) -> None:
    said: list[str] = []
    told, entered = threading.Event(), threading.Event()

    def say(text: str) -> None:
        said.append(text)
        told.set()

    def second() -> None:
        with only_one(tmp_path, say, timeout_s=30):
            entered.set()

    with only_one(tmp_path, said.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(10)
        assert not entered.is_set()
    thread.join(10)
    assert entered.is_set()
    assert len(said) == 1
    assert f"process {os.getpid()}" in said[0]


def test_waiting_for_another_set_up_ends_and_says_for_whom(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as holder:
        holder.write("4711")
        holder.flush()
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(SetupError, match="process 4711"), only_one(tmp_path, lambda _: None, timeout_s=0):
            pytest.fail("entered beside the holder")


def test_a_lock_file_of_a_dead_set_up_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4711")
    with only_one(tmp_path, lambda _: pytest.fail("waited for a dead process"), timeout_s=0):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
