"""Programs from Go modules: when one is built again, and what ends with a set-up that is stopped."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tools import program
from tools.errors import SetupError
from tools.progress import Progress
from tools.setup import gobuild

PIN: dict[str, Any] = {"folder": "pause", "package": ".", "version": "1"}


class NoGo(gobuild.Go):
    """A machine on which no Go can be had."""

    def _look(self) -> str:
        msg = "no Go here"
        raise SetupError(msg)


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path)


def put_built(cache: Path, go: gobuild.Go) -> Path:
    """Pause, as an earlier set-up built it."""
    folder = cache / "built" / f"pause-{gobuild._key(go, 'pause', PIN)}"
    folder.mkdir(parents=True)
    (folder / "pause").write_text("built\n")
    return folder / "pause"


def test_what_is_built_needs_no_go_and_is_put_in_its_place(tmp_path: Path, progress: Progress) -> None:
    go = NoGo(tmp_path, "1.26.5", progress)
    built = put_built(tmp_path, go)
    gobuild.fetch(tmp_path, go, "pause", PIN, progress)
    assert gobuild.build(tmp_path, go, "pause", PIN, progress) == built
    assert (tmp_path / "bin/pause").samefile(built)


def test_another_minimum_of_go_builds_again(tmp_path: Path, progress: Progress) -> None:
    put_built(tmp_path, NoGo(tmp_path, "1.26.5", progress))
    with pytest.raises(SetupError, match="no Go here"):
        gobuild.build(tmp_path, NoGo(tmp_path, "1.27.0", progress), "pause", PIN, progress)


def test_a_changed_pin_builds_again(tmp_path: Path, progress: Progress) -> None:
    go = NoGo(tmp_path, "1.26.5", progress)
    put_built(tmp_path, go)
    with pytest.raises(SetupError, match="no Go here"):
        gobuild.build(tmp_path, go, "pause", {**PIN, "flags": "-X main.a=b"}, progress)


def test_what_a_stopped_set_up_has_started_ends_with_it(progress: Progress) -> None:
    ended: list[str] = []

    def build() -> None:
        try:
            progress.run("build", ["bash", "-c", "sleep 71.5 & wait"])
        except SetupError as error:
            ended.append(str(error))

    lane = threading.Thread(target=build, daemon=True)
    lane.start()
    deadline = time.monotonic() + 10
    while not progress._running and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(KeyboardInterrupt):
        program._terminate(progress)
    lane.join(10)
    assert not lane.is_alive()
    assert len(ended) == 1
    assert "exit code -15" in ended[0]
    assert subprocess.run(["pgrep", "-f", "^sleep 71.5"], check=False).returncode == 1
