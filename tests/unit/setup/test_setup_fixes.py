"""Set-up where it is easily wrong: other people's folders and repositories, locks cut short, and being told to stop."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tools.errors import SetupError
from tools.lab import lifecycle, stacks
from tools.progress import Progress
from tools.setup import __main__ as setup
from tools.setup import debian
from tools.setup.cache import TAG, claim, keyed


def test_a_folder_with_other_things_in_it_is_not_taken_and_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mine").write_text("precious")
    with pytest.raises(SetupError, match="holds other things, and 'make clean-cache' would empty it"):
        setup.clean_cache(tmp_path)
    assert (tmp_path / "bin" / "mine").read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["bin"]


def test_clean_cache_removes_what_set_up_made_and_nothing_else(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    claim(cache)
    for name in ("built", "go", "venv-1", "notes"):
        (cache / name).mkdir()
    (tmp_path / "venv-2").mkdir()
    (cache / "venv").symlink_to("venv-1")
    (cache / "rootfs").symlink_to("../venv-2")
    assert setup.clean_cache(cache) == 0
    assert sorted(p.name for p in cache.iterdir()) == [TAG, "lock", "notes"]
    # A link goes, what it leads to stays.
    assert (tmp_path / "venv-2").is_dir()


def test_who_is_not_root_is_told_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    progress = Progress(tmp_path)
    with pytest.raises(SetupError, match=r"and you are not root\. Run 'sudo make setup STACK=my', then"):
        setup.set_up(tmp_path, ("runtime",), "my", progress)
    assert progress.took == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logs"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_nothing_is_deleted_through_a_mount(tmp_path: Path) -> None:
    machine, image = tmp_path / "shm of the machine", tmp_path / ".thing.partial-dead" / "dev" / "shm"
    for folder in (machine, image):
        folder.mkdir(parents=True)
    (machine / "precious").write_text("x")
    subprocess.run(["mount", "--bind", str(machine), str(image)], check=True)
    try:
        with pytest.raises(SetupError, match="a set-up was killed, or still works on it"):
            keyed(tmp_path, "thing", "k1", lambda _: None)
        assert (machine / "precious").exists()
    finally:
        subprocess.run(["umount", str(image)], check=True)
    assert keyed(tmp_path, "thing", "k1", lambda _: None).is_dir()


def test_a_cache_is_not_removed_under_a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "a cache"
    claim(cache)
    (cache / "rootfs").mkdir()
    read = Path.read_text
    mounts = "1 2 0:1 / /x rw - overlay litelab-x rw,lowerdir=" + f"{cache}/rootfs/y".replace(" ", "\\040")

    def text(path: Path, *arguments: str, **named: str) -> str:
        return mounts if str(path) == "/proc/self/mountinfo" else read(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", text)
    with pytest.raises(SetupError, match="A lab that is up stands on the root image"):
        setup.clean_cache(cache)
    assert (cache / "rootfs").is_dir()


def test_locks_are_told_apart_when_the_checkout_has_a_stacks_name(tmp_path: Path) -> None:
    state = tmp_path / "my" / "state"
    folder = state / ".pulumi" / "locks" / "organization" / "litelab" / "other"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text('{"pid": 1}')
    assert stacks.locks("my", state) == []
    assert len(stacks.locks("other", state)) == 1


@pytest.mark.parametrize("content", ["", '{"pid": 12', "[]"])
def test_a_lock_cut_short_is_dead_once_nobody_can_be_writing_it(content: str, tmp_path: Path) -> None:
    folder = tmp_path / ".pulumi" / "locks" / "organization" / "litelab" / "my"
    folder.mkdir(parents=True)
    path = folder / "x.json"
    path.write_text(content)
    (lock,) = stacks.locks("my", tmp_path)
    assert not lock.is_dead
    past = time.time() - 60
    os.utime(path, (past, past))
    assert lock.is_dead


def test_other_peoples_repositories_stay_out_of_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = tmp_path / "sources.list.d"
    lists.mkdir()
    for name in ("ours.list", "theirs.list"):
        (lists / name).write_text("deb https://example.invalid bookworm main\n")
    monkeypatch.setattr(debian, "SOURCES", tmp_path)
    monkeypatch.setattr(debian, "release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"})
    owners = {lists / "ours.list": {"debian"}, lists / "theirs.list": {"a vendor"}}
    monkeypatch.setattr(debian, "_origins", lambda: owners)
    assert debian.apt_sources() == [lists / "ours.list"]
    # Before the first apt-get update nothing is known of anyone.
    monkeypatch.setattr(debian, "_origins", dict)
    assert len(debian.apt_sources()) == 2


def test_an_unknown_package_has_no_candidate() -> None:
    assert debian.candidate("litelab-no-such-package").endswith(" none")


def test_destroy_without_an_engine_is_one_paragraph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "exists", lambda _: True)
    with pytest.raises(SetupError, match=r"There is no Pulumi in .*: set-up has not run with this cache.*make setup"):
        lifecycle.destroy(tmp_path, "upstream-lab", Progress(tmp_path))


def test_what_runs_ends_when_set_up_is_told_to_stop(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    failed: list[BaseException] = []

    def lane() -> None:
        try:
            progress.run("long", ["sleep", "60"])
        except SetupError as error:
            failed.append(error)

    thread = threading.Thread(target=lane)
    thread.start()
    until = time.monotonic() + 10
    while not progress._running:
        assert time.monotonic() < until
        time.sleep(0.01)
    progress.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert failed
    with pytest.raises(SetupError, match="not begun"), progress.step("next"):
        pytest.fail("begun after the stop")
