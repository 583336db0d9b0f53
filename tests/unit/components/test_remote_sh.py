"""A step's script on a host: its input, its answer, and its end when nobody waits for it any more."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.places import PROJECT
from components.steps.scripts import scripts_of
from tests.unit.components.onhost import NEEDS_ROOT

SSH_HERE = PROJECT / "tests" / "doubles" / "ssh-here"
SECRET = "THIS-IS-SECRET"
END_S = 10.0

pytestmark = NEEDS_ROOT


class Step:
    """``remote.sh`` as a step starts it; ``/opt`` is its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scripts = folder / "part-0123456789ab"
        shutil.copytree(scripts_of("ssh"), self.scripts)
        (folder / "opt").mkdir()

    def start(self, script: str, **said: str) -> subprocess.Popen[str]:
        """Run it with a script on the host, in a process group of its own."""
        on_host = self.folder / "opt" / "litelab" / "part" / "scripts" / "go.sh"
        on_host.parent.mkdir(parents=True, exist_ok=True)
        on_host.write_text(f"#!/bin/bash\n{script}\n")
        on_host.chmod(0o755)
        enter = 'mount --bind "$1" /opt && shift && exec "$@"'
        words = ["unshare", "--mount", "bash", "-c", enter, "-", str(self.folder / "opt")]
        return subprocess.Popen(
            [*words, str(self.scripts / "remote.sh"), "create", "host-1", "go.sh"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PATH": f"{SSH_HERE}:{os.environ['PATH']}", "FOLDER": str(self.folder), **said},
        )  # fmt: skip

    def run(self, script: str, stdin: str = "", **said: str) -> tuple[int, str, str]:
        process = self.start(script, **said)
        out, err = process.communicate(stdin, timeout=60)
        return process.returncode, out, err


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return Step(tmp_path)


@pytest.mark.parametrize("stdin", ["", "A=b\n---\nrest", "ünïcode\n", "x" * 300_000 + "\n", "\n\n"])
def test_the_input_comes_whole(step: Step, stdin: str) -> None:
    assert step.run("cat", stdin, LOGIN_SAYS="Welcome!\n") == (0, stdin, "")


def test_the_script_is_told_what_to_do_and_its_failure_is_the_steps(step: Step) -> None:
    assert step.run('echo "$@"; echo why >&2; exit 3') == (3, "create\n", "why\n")


def test_input_that_is_not_read_holds_nobody(step: Step) -> None:
    assert step.run("echo done", "x" * 300_000) == (0, "done\n", "")


def test_what_is_not_staged_is_said(step: Step) -> None:
    process = step.start("true")
    (step.folder / "opt/litelab/part/scripts/go.sh").unlink()
    _, err = process.communicate("", timeout=60)
    assert process.returncode == 127
    assert "/opt/litelab/part/scripts/go.sh" in err


def test_no_argument_and_no_environment_has_the_input(step: Step) -> None:
    look = "cat >/dev/null; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    code, out, _ = step.run(look, f"TOKEN={SECRET}\n")
    assert code == 0
    assert "remote.sh" in out, "the search sees the step itself"
    assert SECRET not in out


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(params=["sleep 300", "trap '' TERM; while :; do sleep 1; done"], ids=["obedient", "deaf"])
def running(request: pytest.FixtureRequest, step: Step) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A step, and what it runs on its host."""
    process = step.start(f"cat >/dev/null; sleep 301 & echo $$ $! >$FOLDER/pids; {request.param}")
    assert process.stdin
    process.stdin.write(f"TOKEN={SECRET}\n")
    process.stdin.close()
    process.stdin = None
    pids = step.folder / "pids"
    deadline = time.monotonic() + END_S
    while not (pids.exists() and pids.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process, [int(pid) for pid in pids.read_text().split()]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_ends_the_step_ends_its_script(
    running: tuple[subprocess.Popen[str], list[int]], number: signal.Signals
) -> None:
    """Ctrl-C and a killed plugin end the step's process group, and the script is on another machine."""
    process, pids = running
    assert all(alive(pid) for pid in pids)
    os.killpg(process.pid, number)
    deadline = time.monotonic() + END_S
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "the script goes on"
        time.sleep(0.05)


def test_a_script_that_is_waited_for_is_not_ended(running: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = running
    time.sleep(1)
    assert process.poll() is None
    assert all(alive(pid) for pid in pids)


@pytest.mark.parametrize(("gone", "code"), [("host-1", 0), ("host-2 host-1", 0), ("host-11", 255)])
def test_nothing_is_removed_from_a_host_that_is_gone(tmp_path: Path, gone: str, code: int) -> None:
    scripts = tmp_path / "part-0123456789ab"
    shutil.copytree(scripts_of("ssh"), scripts)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text("#!/bin/sh\nexit 255\n")
    (tmp_path / "bin/ssh").chmod(0o755)
    done = subprocess.run(
        [scripts / "remote.sh", "delete", "host-1", "go.sh"],
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "LITELAB_GONE": gone},
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode == 0) == (code == 0), done.stderr
