"""What a host answers is told from what its login prints, whatever the login shell is, in shell and in Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import hostio
import pytest

from components.places import PROJECT
from components.steps.scripts import COMPONENTS, scripts_of

SSH_HERE = PROJECT / "tests" / "doubles" / "ssh-here"
SHELLS = ["sh", "bash", "dash", "zsh", "fish", "tcsh", "bsd-csh"]
NOISE = "Welcome to node!\nversion=v9.9.9\n{}\nno line's end"
HARD = """printf '%s|' "it's" 'a!b' "c\\\\d" '$HOME' "%h" '\\'; echo "two
lines"; cat"""
HARD_SAYS = "it's|a!b|c\\d|$HOME|%h|\\|two\nlines\n"

Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    path = shutil.which(str(request.param))
    if path is None:
        pytest.skip(f"{request.param} is not installed")
    return path


def environment(said: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "PATH": f"{SSH_HERE}:{os.environ['PATH']}", **said}


def by_shell(run: Path, command: str, stdin: str = "", **said: str) -> subprocess.CompletedProcess[str]:
    """``ask.sh``, which is ``on_host`` of the steps' shell scripts."""
    return subprocess.run(
        [scripts_of("ssh") / "ask.sh", run, "host-1", command],
        input=stdin, capture_output=True, text=True, env=environment(said), timeout=60, check=False,
    )  # fmt: skip


def by_python(run: Path, command: str, stdin: str = "", **said: str) -> subprocess.CompletedProcess[str]:
    """``hostio.ask``, as a script would use it."""
    program = (
        "import sys, hostio, pathlib\n"
        "try: sys.stdout.write(hostio.ask(pathlib.Path(sys.argv[1]), 'host-1', sys.argv[2], stdin=sys.stdin.read()))\n"
        "except hostio.AnswerError as e: sys.exit(str(e))"
    )
    return subprocess.run(
        ["python3", "-c", program, run, command],
        input=stdin, capture_output=True, text=True, env={**environment(said), "PYTHONPATH": str(scripts_of("ssh"))}, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(params=[by_shell, by_python], ids=["shell", "python"])
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Ask:
    def asked(command: str, stdin: str = "", **said: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = request.param(tmp_path, command, stdin, **said)
        return done

    return asked


class TestAnswer:
    def test_a_command_reaches_bash_unchanged_through_any_login_shell(self, ask: Ask, shell: str) -> None:
        done = ask(HARD, stdin="and input\n", LOGIN_SHELL=shell)
        assert (done.returncode, done.stdout) == (0, f"{HARD_SAYS}and input\n"), done.stderr

    @pytest.mark.parametrize("text", ["", "x", "x\n", "x\n\n", "\n", "\nx", "a\nb\n\nc", "litelab-1 end\n"])
    def test_the_answer_is_what_was_printed_to_the_byte(self, ask: Ask, text: str) -> None:
        assert ask("cat", stdin=text, LOGIN_SAYS=NOISE, LOGOUT_SAYS="bye\n").stdout == text

    @pytest.mark.parametrize(
        "noise", ["one line\n", NOISE, "\n\n", "no line's end", "litelab-0 begin\nfake\nlitelab-0 end\n"]
    )
    def test_what_a_login_prints_is_no_answer(self, ask: Ask, noise: str) -> None:
        done = ask("echo K10token", LOGIN_SAYS=noise, LOGOUT_SAYS=noise)
        assert (done.returncode, done.stdout, done.stderr) == (0, "K10token\n", "")

    def test_a_command_that_fails_fails(self, ask: Ask) -> None:
        done = ask("echo it broke >&2; exit 7", LOGIN_SAYS=NOISE)
        assert done.returncode != 0
        assert "it broke" in done.stderr

    def test_a_login_that_runs_nothing_is_an_error_that_shows_what_it_printed(self, ask: Ask, tmp_path: Path) -> None:
        shell = tmp_path / "nologin"
        shell.write_text("#!/bin/sh\necho This account is currently not available.\nexit ${CODE:-0}\n")
        shell.chmod(0o755)
        for code in ("0", "1"):
            done = ask("echo K10token", LOGIN_SHELL=str(shell), CODE=code)
            assert done.returncode != 0
            assert done.stdout == ""
            assert "it ran nothing, and its login printed: This account is currently not available." in done.stderr

    def test_an_answer_that_breaks_off_is_an_error(self, ask: Ask) -> None:
        done = ask("echo half; kill -9 $PPID; kill -9 $$")
        assert done.returncode != 0

    def test_noise_while_it_runs_is_not_cut_out(self, ask: Ask) -> None:
        """Else the test above could not fail: what is in the frame is the command's."""
        assert ask("echo a; echo b", LOGIN_SAYS="x\n").stdout == "a\nb\n"

    def test_set_minus_e_ends_the_command_and_not_the_frame(self, ask: Ask) -> None:
        done = ask("set -e; echo a; false; echo b")
        assert done.returncode != 0
        assert "broke off" not in done.stderr


class TestRoot:
    def test_who_is_not_root_becomes_it_by_sudo(self, tmp_path: Path) -> None:
        (tmp_path / "ssh").mkdir()
        (tmp_path / "ssh" / "host-1").write_text("Address 192.0.2.1\nUser op\n")
        words = hostio.words(tmp_path, "host-1", "mark", "id -u")
        assert words[-1].startswith("sudo -n bash --norc -c '")
        sudo = tmp_path / "bin" / "sudo"
        sudo.parent.mkdir()
        sudo.write_text('#!/bin/sh\necho "by $*" >"$SAW"\nshift\nexec "$@"\n')
        sudo.chmod(0o755)
        path = f"{SSH_HERE}:{sudo.parent}:{os.environ['PATH']}"
        done = by_shell(tmp_path, "echo done", PATH=path, SAW=str(tmp_path / "saw"))
        assert done.stdout == "done\n"
        assert (tmp_path / "saw").read_text().startswith("by -n bash ")


ALLOWED = {
    "ssh/config.sh": "what leads through a bastion",
    "ssh/hostio.sh": "the reader itself",
    "ssh/hostio.py": "the reader itself",
    "ssh/remote.sh": "reads by unframed",
    "ssh/sharing.sh": "opens, looks at and ends connections, and reads nothing",
    "clusters/operator.sh": "asks whether anybody answers, and reads nothing",
    "nspawn/host.sh": "asks whether anybody answers, and reads nothing",
    "nspawn/presence.sh": "asks whether anybody answers, and reads nothing",
    "libvirt/presence.py": "asks whether anybody answers, and reads nothing",
    "existing/presence.sh": "asks why nobody answers",
    "existing/facts.py": "asks whether the host lets us in, and reads nothing",
    "existing/host.sh": "asks ssh itself",
    "forwarding/forward.py": "forwards",
}


def test_no_script_reads_from_a_host_past_the_frame() -> None:
    """Whoever adds an ``ssh -F`` of its own takes what a login prints for data."""
    found = set()
    for path in COMPONENTS.glob("**/scripts/*.*"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
        if any(re.search(r"""(^|[^\w'./-])ssh (-T -G )?-F|\[\s*"ssh",""", line) for line in lines):
            found.add(f"{path.parent.parent.name}/{path.name}")
    for path in [*(PROJECT / "tools").glob("*/*.py"), *(PROJECT / "components").glob("**/*.py")]:
        if path.parent.name != "scripts" and re.search(r"""\[\s*"ssh",""", path.read_text(encoding="utf-8")):
            found.add(path.name)
    assert found <= set(ALLOWED)
    assert {"ssh/hostio.sh", "ssh/hostio.py"} <= found, "the search finds nothing any more"
