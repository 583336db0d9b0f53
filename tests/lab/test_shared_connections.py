"""Steps on one host share a connection, and none of them depends on another's end: against an ssh server on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.steps.scripts import scripts_of
from tests.lab.lab import PROJECT, environment
from tests.libvirt.keys import make_key

START_S = 20.0
WAIT_S = 20.0
SLEEP = "sleep 3600.25"
"""What the tests' steps run; nothing else on a machine sleeps so long to the quarter of a second."""

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="the ssh server logs root in"),
]


class Server:
    """An ssh server on loopback, and a stack's run folder whose ``host-1`` it is."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self.folder, self.run = folder, folder / "run" / "a stack"
        _, self.host_key = make_key(folder / "host")
        (self.run / "ssh").mkdir(parents=True)
        _, client = make_key(self.run / "id_ed25519")
        (folder / "authorized_keys").write_text(f"{client}\n")
        shutil.copytree(scripts_of("ssh"), self.scripts)
        shutil.copytree(scripts_of("clusters"), self.scripts, dirs_exist_ok=True)
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
            f"PidFile {folder}/sshd.pid\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n"
            f"LogLevel INFO\nMaxStartups 100\n{options}\n"
        )
        self.start()
        self.record(self.host_key)

    @property
    def scripts(self) -> Path:
        return self.run / "part-0123456789ab"

    @property
    def log(self) -> Path:
        return self.folder / "sshd.log"

    @property
    def logins(self) -> int:
        return self.log.read_text(errors="replace").count("Accepted publickey")

    def start(self) -> None:
        """Start the server, and wait until its port is open."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [PROJECT / "tests/sshd-of-root-image.sh", "-D", "-e", "-f", self.folder / "sshd_config"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment(), start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while "Server listening" not in self.log.read_text(errors="replace"):
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server and every connection to it, as a host that loses power does."""
        found = subprocess.run(["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True, check=False)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._process.wait(START_S)

    def record(self, host_key: str) -> None:
        """Tell the stack of its host."""
        lines = ("Address 127.0.0.1", f"Port {self.port}", "Identity id_ed25519", f"HostKey {host_key}")
        subprocess.run(
            [self.scripts / "records.sh", self.run, "put", "host-1"], input="\n".join(lines), text=True, check=True
        )

    def forget(self) -> None:
        """The host goes."""
        subprocess.run([self.scripts / "records.sh", self.run, "drop", "host-1"], check=True)

    def step(self, command: str, how: str = 'on host-1 "$1"') -> subprocess.Popen[str]:
        """A step as Pulumi starts it: a process group of its own, and pipes that are read to their end."""
        words = f'set -euo pipefail; . "$0/operator.sh"; {how}'
        return subprocess.Popen(
            # A runner may have been told to ignore Ctrl-C.
            ["env", "--default-signal=INT", "bash", "-c", words, self.scripts, command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=environment(), start_new_session=True,
        )  # fmt: skip

    def say(self, command: str) -> str:
        """What a step prints that ends well, without a word on standard error."""
        process = self.step(command)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        return out

    def connections(self) -> list[int]:
        """Processes of ours that hold a shared connection."""
        found = subprocess.run(
            ["pgrep", "-f", f"^ssh -F {self.run}/ssh_config .* -M -N -f host-1$"],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(pid) for pid in found.stdout.split()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    try:
        yield server
    finally:
        server.forget()
        server.stop()
        # A command without a watch goes on when its ssh is killed.
        for pid in sleepers():
            os.kill(int(pid), signal.SIGKILL)


def sleepers() -> list[str]:
    return subprocess.run(["pgrep", "-xf", SLEEP], capture_output=True, text=True, check=False).stdout.split()


def becomes(number: int) -> None:
    """Wait until so many sleepers run."""
    deadline = time.monotonic() + WAIT_S
    while len(sleepers()) != number:
        assert time.monotonic() < deadline, f"{len(sleepers())} of {number}"
        time.sleep(0.05)


def test_steps_log_in_once_and_hold_no_pipe_open(server: Server) -> None:
    began = time.monotonic()
    assert [server.say(f"echo {n}") for n in range(5)] == [f"{n}\n" for n in range(5)]
    assert time.monotonic() - began < 30, "a step waited for the end of the shared connection"
    assert server.logins == 1
    assert len(server.connections()) == 1


def test_steps_that_start_together_log_in_once_and_more_than_a_server_allows_by_themselves(server: Server) -> None:
    steps = [server.step(f"sleep 2; echo {n}") for n in range(14)]
    said = [step.communicate(timeout=120) for step in steps]
    assert said == [(f"{n}\n", "") for n in range(14)]
    assert 1 <= server.logins <= 5, "ten sessions a connection are sshd's default"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_step_that_is_ended_ends_nothing_else(server: Server, number: signal.Signals) -> None:
    server.say("true")
    ended, other = server.step(f"exec {SLEEP}"), server.step("sleep 4; echo done")
    becomes(1)
    os.killpg(ended.pid, number)
    ended.communicate(timeout=20)
    assert other.communicate(timeout=60)[0] == "done\n"
    assert server.say("echo next") == "next\n"
    assert server.logins == 1


def test_who_gives_up_waiting_waits_for_nothing_more(server: Server) -> None:
    """A bounded step whose command on the host goes on."""
    step = server.step(f"true; exec {SLEEP}", 'echo to stderr >&2; bounded_on 2 host-1 "$1" || exit $?')
    said = step.communicate(timeout=30)[1]
    assert step.returncode == 124
    assert "had not ended after 2 s" in said


def test_what_a_command_says_on_standard_error_comes_whole_and_before_the_end(server: Server) -> None:
    step = server.step("for n in {1..20000}; do echo line $n >&2; done; exit 3")
    said = step.communicate(timeout=60)[1].splitlines()
    assert step.returncode == 3
    assert said == [f"line {n}" for n in range(1, 20001)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_script_on_the_host_ends_with_its_step(server: Server, tmp_path: Path, number: signal.Signals) -> None:
    """As ``remote.sh`` runs it, which watches its input; the connection itself goes on."""
    server.say("true")
    staged = Path("/opt/litelab/part/scripts/go.sh")
    assert not staged.parent.parent.exists()
    staged.parent.mkdir(parents=True)
    try:
        staged.write_text(f"#!/bin/bash\n{SLEEP}\n")
        staged.chmod(0o755)
        step = subprocess.Popen(
            [server.scripts / "remote.sh", "create", "host-1", "go.sh"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
        )  # fmt: skip
        becomes(1)
        os.killpg(step.pid, number)
        becomes(0)
        step.communicate(timeout=60)
    finally:
        shutil.rmtree("/opt/litelab/part")
        with contextlib.suppress(OSError):
            Path("/opt/litelab").rmdir()
    assert server.say("echo next") == "next\n"
    assert server.logins == 1


def test_a_host_that_started_again_is_logged_in_to_anew(server: Server) -> None:
    server.say("true")
    server.stop()
    server.start()
    assert server.say("echo back") == "back\n"
    assert server.logins == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_connections_own_end_is_no_error_of_the_next_step(server: Server, number: signal.Signals) -> None:
    server.say("true")
    for pid in server.connections():
        os.kill(pid, number)
    assert server.say("echo next") == "next\n"


def test_another_host_of_the_name_is_another_connection(server: Server) -> None:
    """Its key is checked: the old connection would not have looked."""
    server.say("true")
    _, other = make_key(server.folder / "other")
    server.record(other)
    assert server.connections() == []
    step = server.step("echo hello")
    _, err = step.communicate(timeout=60)
    assert step.returncode != 0
    assert "Host key verification failed" in err


def test_the_same_record_again_leaves_steps_alone(server: Server) -> None:
    step = server.step(f"{SLEEP} || echo done")
    becomes(1)
    server.record(server.host_key)
    os.kill(int(sleepers()[0]), signal.SIGTERM)
    assert step.communicate(timeout=60)[0] == "done\n"
    assert server.logins == 1


def test_when_the_host_goes_nothing_of_the_connection_is_left(server: Server) -> None:
    server.say("true")
    server.forget()
    assert server.connections() == []
    assert [path.name for path in (server.run / "ssh").iterdir()] == [".lock"]


def test_unused_it_ends_by_itself(server: Server) -> None:
    sharing = server.scripts / "sharing.sh"
    text = sharing.read_text()
    sharing.write_text(text.replace("UNUSED_S=10", "UNUSED_S=1"))
    assert sharing.read_text() != text
    server.say("true")
    deadline = time.monotonic() + WAIT_S
    while server.connections():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_run_folder_whose_path_is_too_long_for_a_socket_does_without(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    server = Server(deep)
    try:
        assert [server.say("echo 1"), server.say("echo 2")] == ["1\n", "2\n"]
        assert server.logins == 2
        assert server.connections() == []
    finally:
        server.forget()
        server.stop()


@pytest.mark.parametrize("options", ["MaxSessions 1", "MaxSessions 2"])
def test_a_host_that_allows_few_sessions_is_served(tmp_path: Path, options: str) -> None:
    server = Server(tmp_path, options)
    try:
        steps = [server.step(f"sleep 1; echo {n}") for n in range(4)]
        assert [step.communicate(timeout=60) for step in steps] == [(f"{n}\n", "") for n in range(4)]
    finally:
        server.forget()
        server.stop()
