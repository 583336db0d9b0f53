"""Guests of a libvirt on another machine, which alone reaches them: driven from where there is no way to them but by ssh to it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.lab import PROJECT
from tests.libvirt.guests import NOTHING, STEP_S, UP_S, Guests, left_in
from tests.libvirt.keys import make_key
from tests.libvirt.remote import MACHINE, Remote
from tools.setup import kvm

pytestmark = [pytest.mark.libvirt, pytest.mark.slow, pytest.mark.timeout(UP_S + STEP_S)]


@pytest.fixture(scope="module")
def guests(remote: Remote) -> Iterator[Guests]:
    """One guest, up for all tests here; the last one removes it."""
    accelerator = "kvm" if kvm.starts_a_guest()[0] else "tcg"
    stack = Guests("lv-remote", remote, {"diskGib": 4, "accelerator": accelerator})
    stack.env.pop("SSH_AUTH_SOCK", None)
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


def way(guests: Guests) -> dict[str, str | int]:
    """What is written down of the way to the guest."""
    found: dict[str, str | int] = json.loads((guests.run_folder / "forwards" / "host-1.json").read_text())
    return found


def shut(guests: Guests) -> int:
    """End the way as a reboot of the operator's machine does; its port."""
    pid, port = int(way(guests)["pid"]), int(way(guests)["port"])
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + STEP_S
    while Path("/proc", str(pid)).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert guests.ssh("host-1", "true", check=False).returncode == 255
    return port


def asked(guests: Guests, *verb: str) -> subprocess.CompletedProcess[str]:
    """What the Makefile calls before it logs in: ``make ssh``, ``make logs HOST=``."""
    command = ["python3", "-m", "tools.setup", *verb]
    return guests.daemon.run(command, cwd=PROJECT, env=guests.env, capture_output=True, timeout=STEP_S)


def test_the_guest_is_reached_by_its_verified_key_and_by_no_other_way(guests: Guests) -> None:
    (host,) = json.loads(guests.pulumi("stack", "output", "hosts", "--json").stdout)
    assert guests.ssh("host-1", "hostname").stdout.strip() == "host-1"
    assert guests.daemon.run(["ip", "route", "get", host["address"]], capture_output=True).returncode != 0
    config = (guests.run_folder / "ssh_config").read_text()
    assert f"Host host-1\n  HostName 127.0.0.1\n  Port {way(guests)['port']}\n  HostKeyAlias host-1\n" in config
    assert "StrictHostKeyChecking yes" in config
    assert way(guests)["target"] == f"{host['address']}:22"


def test_another_key_of_the_guest_is_refused(guests: Guests, tmp_path: Path) -> None:
    _, other = make_key(tmp_path / "other")
    (tmp_path / "known").write_text(f"host-1 {other}\n")
    refused = guests.ssh("host-1", "true", "-o", f"UserKnownHostsFile={tmp_path / 'known'}", check=False)
    assert refused.returncode == 255
    assert "verification failed" in refused.stderr


def test_the_state_has_the_port_and_no_key_of_the_operators(guests: Guests, remote: Remote) -> None:
    state = json.dumps(guests.state())
    assert re.search(rf'\\"port\\": {way(guests)["port"]}\b', state)
    client = (remote.folder / "client").read_text().splitlines()[1]
    assert client not in state
    assert "PRIVATE KEY" not in state


def test_the_guest_is_handed_no_agent_and_the_way_is_open_on_loopback_alone(guests: Guests) -> None:
    assert guests.ssh("host-1", "echo ${SSH_AUTH_SOCK:-none}").stdout.strip() == "none"
    heard = guests.daemon.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"], capture_output=True).stdout
    port = f"{int(way(guests)['port']):04X}"
    assert re.findall(rf"([0-9A-F]+):{port} \S+ 0A ", heard) == ["0100007F"]


def test_an_unchanged_lab_shows_no_change(guests: Guests) -> None:
    guests.pulumi("preview", "--expect-no-changes")
    guests.pulumi("refresh", "--yes", "--skip-preview")
    guests.pulumi("preview", "--expect-no-changes")


def test_a_way_that_was_shut_is_opened_again_on_its_port_before_a_person_logs_in(guests: Guests) -> None:
    port = shut(guests)
    done = asked(guests, "up", guests.name, "host-1")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"The way to host-1 on port {port} was shut, and is open again." in done.stderr
    assert guests.ssh("host-1", "hostname").stdout.strip() == "host-1"
    assert way(guests)["port"] == port


def test_so_it_is_by_an_up_which_changes_nothing(guests: Guests) -> None:
    port = shut(guests)
    done = guests.up()
    assert "unchanged" in done.stdout
    assert not re.search(r"updated|created|replaced", done.stdout)
    assert guests.ssh("host-1", "hostname").stdout.strip() == "host-1"
    assert way(guests)["port"] == port


def test_a_machine_with_another_key_is_not_trusted(guests: Guests, remote: Remote, tmp_path: Path) -> None:
    port = shut(guests)
    _, other = make_key(tmp_path / "other")
    remote.know(other)
    try:
        done = asked(guests, "up", guests.name, "host-1")
        assert done.returncode == 1
        said = (
            f"error: {MACHINE} shows another ssh host key than the one that is known of it, and nothing was sent to it."
        )
        assert said in done.stderr
        assert f"'ssh-keygen -R {MACHINE}' forgets the old key" in done.stderr
        assert "Traceback" not in done.stderr
        remote.know()
        assert f"{MACHINE}'s ssh host key is not known here" in asked(guests, "up", guests.name, "host-1").stderr
        assert f"{MACHINE}'s ssh host key is not known here" in guests.refused()
    finally:
        remote.know(remote.host_key)
    assert asked(guests, "up", guests.name, "host-1").returncode == 0
    assert way(guests)["port"] == port


def test_a_machine_that_is_not_reached_is_named(guests: Guests, remote: Remote) -> None:
    remote.stop()
    try:
        shut(guests)
        done = asked(guests, "up", guests.name, "host-1")
        assert done.returncode == 1
        assert f"error: {MACHINE} is not reached by ssh (" in done.stderr
        assert "Connection refused" in done.stderr
    finally:
        remote.start()
    assert asked(guests, "up", guests.name, "host-1").returncode == 0


def test_a_way_of_a_lab_that_a_state_knows_is_no_orphan(guests: Guests) -> None:
    script = str(PROJECT / "components/scripts/forward/orphans.sh")
    listed = guests.daemon.run([script], capture_output=True, timeout=STEP_S).stdout
    assert guests.name not in listed


def test_destroy_leaves_no_guest_no_process_and_no_file(guests: Guests, remote: Remote) -> None:
    assert [line for line in remote.processes() if line.startswith("ssh ")]
    guests.destroy()
    assert left_in(remote) == NOTHING
    assert remote.processes() == []
    assert [p.name for p in guests.run_folder.iterdir() if not p.name.startswith("libvirt-")] == []
