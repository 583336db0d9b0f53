"""Ways to hosts through another machine: what ssh is told, that they are opened once, kept, opened again and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forward
import pytest

from components.places import PROJECT
from components.steps.scripts import scripts_of

THROUGH = "ssh://me@big.example"
TARGET = "10.87.3.11:22"


def words(through: str) -> list[str]:
    return forward.command(Path("/run"), forward.PortForward(through, TARGET, 20001))


class TestCommand:
    def test_it_forwards_a_port_of_loopback_alone_and_runs_nothing(self) -> None:
        told = words(THROUGH)
        assert told[told.index("-L") + 1] == "127.0.0.1:20001:10.87.3.11:22"
        assert "-N" in told
        assert told[-2:] == ["--", "big.example"]
        assert told[told.index("-l") + 1] == "me"

    @pytest.mark.parametrize(
        "option",
        [
            "BatchMode=yes", "StrictHostKeyChecking=yes", "ExitOnForwardFailure=yes", "ForwardAgent=no", "ControlPath=none", "ServerAliveInterval=15",
        ],
    )  # fmt: skip
    def test_it_asks_nothing_trusts_nobody_new_and_lends_no_agent(self, option: str) -> None:
        told = words(THROUGH)
        assert told[told.index(option) - 1] == "-o"

    def test_port_and_key_are_those_of_the_address(self) -> None:
        told = words("ssh://me@big.example:2222?keyfile=/home/me/.ssh/lab%20key")
        assert told[told.index("-p") + 1] == "2222"
        assert told[told.index("-i") + 1] == "/home/me/.ssh/lab key"

    def test_without_them_ssh_has_its_own(self) -> None:
        assert not {"-p", "-i", "-F"} & set(words(THROUGH))

    def test_an_ipv6_machine_has_no_brackets(self) -> None:
        assert words("ssh://me@[2001:db8::1]:22")[-1] == "2001:db8::1"

    def test_a_name_that_looks_like_an_option_is_none(self) -> None:
        assert words("ssh://me@-oProxyCommand=x")[-2] == "--"


class TestWhy:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ("@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "shows another ssh host key than the one that is known of it, and nothing was sent to it"),
            ("No ED25519 host key is known for big.example and you have requested strict checking.\nHost key verification failed.", "ssh host key is not known here"),
            ("me@big.example: Permission denied (publickey).", "lets nobody in with the keys that ssh has here"),
            ("ssh: connect to host big.example port 22: Connection refused", "is not reached by ssh (ssh: connect to host big.example port 22"),
            ("channel 2: open failed: administratively prohibited: open failed", "AllowTcpForwarding no"),
            ("bind [127.0.0.1]:8080: Address already in use\nchannel_setup_fwd_listener_tcpip: cannot listen to port: 8080", "LocalForward"),
        ],
    )  # fmt: skip
    def test_what_ssh_says_becomes_one_paragraph_with_a_cure(self, said: str, expected: str) -> None:
        told = forward.explain(THROUGH, said)
        assert expected in told
        assert "\n" not in told
        assert told.endswith("Then run the same command again.")

    def test_a_changed_key_is_forgotten_by_the_name_that_known_hosts_has(self) -> None:
        assert "ssh-keygen -R '[big.example]:2222'" in forward.explain(
            "ssh://me@big.example:2222", "REMOTE HOST IDENTIFICATION HAS CHANGED"
        )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lab's run folder, beside an ssh that goes nowhere."""
    monkeypatch.setenv("PATH", f"{PROJECT / 'tests/doubles/ssh'}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / ".lab" / "run" / "x-lab"
    folder.mkdir(parents=True)
    yield folder
    forward.close_all(folder)


def way(run: Path, name: str = "host-1") -> forward.PortForward:
    return forward.PortForward(**json.loads(forward.record(run, name).read_text()))


def running(run: Path) -> list[int]:
    """Processes that say they belong to this run folder."""
    return [pid for pid, path in forward.marked_processes() if path.is_relative_to(run) and forward.started(pid)]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while forward.started(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestWays:
    def test_one_is_opened_once_and_keeps_its_port(self, run: Path) -> None:
        port = forward.opened(run, "host-1", THROUGH, TARGET)
        assert port in forward.PORTS
        first = way(run).pid
        assert forward.opened(run, "host-1", THROUGH, TARGET) == port
        assert running(run) == [first]

    def test_it_outlives_the_step_that_opened_it(self, run: Path) -> None:
        program = f"import sys; sys.path.insert(0, {str(scripts_of('forwarding'))!r}); import forward, pathlib; print(forward.opened(pathlib.Path({str(run)!r}), 'host-1', {THROUGH!r}, {TARGET!r}))"
        # Its output ends with it, though what it started lives on.
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        assert int(done.stdout) == way(run).port
        assert forward.is_open(way(run))
        assert os.getsid(way(run).pid) != os.getsid(0)

    def test_a_dead_one_is_opened_again_on_the_same_port(self, run: Path) -> None:
        port = forward.opened(run, "host-1", THROUGH, TARGET)
        forward.opened(run, "host-2", THROUGH, "10.87.3.12:22")
        kill(way(run).pid)
        assert forward.reopen(run) == [f"host-1 on port {port}"]
        assert forward.is_open(way(run))
        assert way(run).port == port
        assert forward.reopen(run) == []

    def test_many_at_once_have_ports_of_their_own(self, run: Path) -> None:
        with ThreadPoolExecutor(6) as threads:
            ports = list(
                threads.map(lambda n: forward.opened(run, f"host-{n}", THROUGH, f"10.87.3.{10 + n}:22"), range(1, 7))
            )
        assert len(set(ports)) == 6
        assert len(running(run)) == 6

    def test_another_labs_ports_are_not_taken_though_nothing_runs_there(
        self, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = run.parent / "y-lab"
        (other / "forwards").mkdir(parents=True)
        monkeypatch.setattr(forward, "PORTS", range(20000, 20002))
        monkeypatch.setattr(forward, "_is_free", lambda _port: True)
        forward._write(other, "host-1", forward.PortForward(THROUGH, TARGET, 20000))
        with forward._held(run, "host-1"):
            assert forward._choose(run, "host-1") == 20001

    def test_one_that_was_killed_before_it_was_written_down_is_replaced(self, run: Path) -> None:
        port = forward.opened(run, "host-1", THROUGH, TARGET)
        first = way(run).pid
        forward._write(run, "host-1", forward.PortForward(THROUGH, TARGET, port))
        assert forward.opened(run, "host-1", THROUGH, TARGET) == port
        assert forward.started(first) == ""
        assert len(running(run)) == 1

    def test_closing_ends_the_process_and_leaves_no_file(self, run: Path) -> None:
        forward.opened(run, "host-1", THROUGH, TARGET)
        pid = way(run).pid
        forward.close(run, "host-1")
        assert forward.started(pid) == ""
        assert list((run / "forwards").iterdir()) == []
        forward.close_all(run)
        assert not (run / "forwards").exists()

    def test_a_process_that_only_has_the_pid_is_let_alone(self, run: Path) -> None:
        forward.opened(run, "host-1", THROUGH, TARGET)
        kill(way(run).pid)
        stranger = subprocess.Popen(["sleep", "60"])
        try:
            forward._write(
                run,
                "host-1",
                forward.PortForward(THROUGH, TARGET, way(run).port, stranger.pid, forward.started(stranger.pid)),
            )
            assert not forward.is_open(way(run))
            forward.close(run, "host-1")
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    def test_a_port_that_something_else_has_taken_is_named_with_its_holder(self, run: Path) -> None:
        port = forward.opened(run, "host-1", THROUGH, TARGET)
        kill(way(run).pid)
        with socket.create_server(("127.0.0.1", port)), pytest.raises(forward.ForwardError) as caught:
            forward.reopen(run)
        assert f"127.0.0.1:{port}, by which host-1 of lab x-lab is reached, is taken by process {os.getpid()} (" in str(
            caught.value
        )
        assert "End that, then run the same command again" in str(caught.value)

    def test_a_server_with_too_many_logins_is_asked_again(
        self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FAKE_SSH_SAYS", "kex_exchange_identification: Connection closed by remote host")
        monkeypatch.setenv("FAKE_SSH_ONCE", str(tmp_path / "said"))
        assert forward.opened(run, "host-1", THROUGH, TARGET) == way(run).port

    def test_others_are_opened_though_one_can_not_be(self, run: Path) -> None:
        for n in (1, 2):
            forward.opened(run, f"host-{n}", THROUGH, TARGET)
            kill(way(run, f"host-{n}").pid)
        with socket.create_server(("127.0.0.1", way(run).port)), pytest.raises(forward.ForwardError, match="host-1"):
            forward.reopen(run)
        assert forward.is_open(way(run, "host-2"))


class TestProgram:
    def run_it(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [scripts_of("forwarding") / "forward.py", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_what_it_opens_again_is_said_beside_its_output(self, run: Path) -> None:
        port = forward.opened(run, "host-1", THROUGH, TARGET)
        kill(way(run).pid)
        done = self.run_it("reopen", str(run))
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == f"The way to host-1 on port {port} was shut, and is open again.\n"

    @pytest.mark.usefixtures("run")
    def test_a_machine_that_lets_nobody_in_is_one_paragraph(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAKE_SSH_SAYS", "me@big.example: Permission denied (publickey).")
        done = self.run_it("try", THROUGH)
        assert done.returncode == 1
        assert done.stderr.startswith("error: big.example lets nobody in with the keys that ssh has here")
        assert done.stderr.count("\n") == 1

    def test_one_of_a_lab_that_no_state_knows_is_named_and_ended_when_asked(self, run: Path) -> None:
        forward.opened(run, "host-1", THROUGH, TARGET)
        mine = f"lab x-lab of {run}: a way to host-1"
        listed = self.run_it("orphans")
        assert any(line.startswith(mine) for line in listed.stdout.splitlines())
        assert listed.returncode == 1
        assert self.run_it("orphans", "--remove").returncode == 1
        assert self.run_it("orphans", "--remove", "other").returncode == 1
        assert running(run) != []
        assert f"{mine} through another machine" in (said := self.run_it("orphans", "--remove", "x-lab").stdout)
        assert any(line.startswith(mine) and line.endswith(": removed") for line in said.splitlines())
        assert running(run) == []
        forward.end(forward.record(run, "host-1"))

    def test_one_that_a_state_knows_is_none(self, run: Path) -> None:
        forward.opened(run, "host-1", THROUGH, TARGET)
        state = run.parent.parent / "state/.pulumi/stacks/litelab/x-lab.json"
        state.parent.mkdir(parents=True)
        state.write_text('{"type": "litelab:hosts:LibvirtHosts"}')
        assert str(run) not in self.run_it("orphans").stdout

    def test_what_a_killed_up_left_of_one_lab_is_ended(self, run: Path) -> None:
        forward.opened(run, "host-1", THROUGH, TARGET)
        subprocess.run([scripts_of("forwarding") / "leftovers.sh", run], check=True, timeout=60)
        assert running(run) == []
        assert not (run / "forwards").exists()
