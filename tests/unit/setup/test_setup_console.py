"""What a command prints is kept beside the terminal, and the terminal shows it as before."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.places import PROJECT

PROGRAM = """
import subprocess, sys
from pathlib import Path
from tools import console
with console.recorded(Path(sys.argv[1])):
    print("out", flush=True)
    print("err", file=sys.stderr, flush=True)
    subprocess.run(["bash", "-c", sys.argv[2]], check=False)
print("afterwards", flush=True)
"""


def command(log: Path, script: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(log), script]


def test_output_and_errors_go_where_they_went_and_into_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs/my.lab.log"
    done = subprocess.run(
        command(log, "echo child; echo trouble >&2"), cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("out\nchild\nafterwards\n", "err\ntrouble\n")
    assert sorted(log.read_text().splitlines()) == ["child", "err", "out", "trouble"]
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_terminal_stays_one_and_its_display_is_kept_as_plain_lines(tmp_path: Path) -> None:
    log, shown = tmp_path / "log", b""
    ours, theirs = pty.openpty()
    script = r"[ -t 1 ] && [ -t 2 ] && echo terminal; printf '\e[1mbold\e[0m\n10%%\r20%%\n'; echo again; echo again"
    process = subprocess.Popen(
        command(log, script), cwd=PROJECT, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL
    )
    os.close(theirs)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and select.select([ours], [], [], 60)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    assert process.wait(10) == 0
    assert b"terminal\r\n\x1b[1mbold" in shown
    assert sorted(log.read_text().splitlines()) == ["20%", "again", "bold", "err", "out", "terminal"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_outlives_the_command_still_has_where_to_print_to(tmp_path: Path, number: signal.Signals) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    script = f"trap '' INT; until [ -e {go} ]; do sleep 0.05; done; echo last words"
    process = subprocess.Popen(
        command(log, script), cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "out\n"
    os.kill(process.pid, number)
    if number == signal.SIGKILL:
        process.wait(10)
    go.touch()
    assert "last words\n" in process.stdout.read()
    process.wait(10)
    assert "last words" in log.read_text()
