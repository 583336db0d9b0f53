"""Guests of a libvirt on another machine, which alone reaches them: driven from where there is no way to them but by ssh to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.checks import kvm
from tests.libvirt.guests import NOTHING, STEP_S, UP_S, Guests, left_in
from tests.libvirt.keys import make_key
from tests.libvirt.remote import MACHINE, Remote

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


def test_the_guest_is_reached_by_its_verified_key_and_by_no_other_way(guests: Guests) -> None:
    (host,) = json.loads(guests.pulumi("stack", "output", "hosts", "--json").stdout)
    assert guests.ssh("host-1", "hostname").stdout.strip() == "host-1"
    assert guests.daemon.run(["ip", "route", "get", host["address"]], capture_output=True).returncode != 0
    config = (guests.run_folder / "ssh_config").read_text()
    assert f"Host host-1\n  HostName {host['address']}\n" in config
    assert re.search(rf"^  ProxyCommand ssh .* -W '\[%h\]:%p' -- {re.escape(MACHINE)}$", config, re.MULTILINE)
    assert "StrictHostKeyChecking yes" in config


def test_another_key_of_the_guest_is_refused(guests: Guests, tmp_path: Path) -> None:
    _, other = make_key(tmp_path / "other")
    (tmp_path / "known").write_text(f"host-1 {other}\n")
    refused = guests.ssh("host-1", "true", "-o", f"UserKnownHostsFile={tmp_path / 'known'}", check=False)
    assert refused.returncode == 255
    assert "verification failed" in refused.stderr


def test_the_state_has_no_key_of_the_operators(guests: Guests, remote: Remote) -> None:
    state = json.dumps(guests.state())
    client = (remote.folder / "client").read_text().splitlines()[1]
    assert client not in state
    assert "PRIVATE KEY" not in state


def test_the_guest_is_handed_no_agent(guests: Guests) -> None:
    assert guests.ssh("host-1", "echo ${SSH_AUTH_SOCK:-none}").stdout.strip() == "none"


def test_an_unchanged_lab_shows_no_change(guests: Guests) -> None:
    guests.pulumi("preview", "--expect-no-changes")
    guests.pulumi("refresh", "--yes", "--skip-preview")
    guests.pulumi("preview", "--expect-no-changes")


def test_a_machine_with_another_key_is_not_trusted(guests: Guests, remote: Remote, tmp_path: Path) -> None:
    _, other = make_key(tmp_path / "other")
    remote.know(other)
    try:
        done = guests.ssh("host-1", "true", check=False)
        assert done.returncode == 255
        assert "HOST IDENTIFICATION HAS CHANGED" in done.stderr
        remote.know()
        assert "No ED25519 host key is known" in guests.ssh("host-1", "true", check=False).stderr
        assert f"{MACHINE}'s ssh host key is not known here" in guests.refused()
    finally:
        remote.know(remote.host_key)
    assert guests.ssh("host-1", "true").returncode == 0


def test_a_machine_that_is_not_reached_is_named(guests: Guests, remote: Remote) -> None:
    remote.stop()
    try:
        done = guests.ssh("host-1", "true", check=False)
        assert done.returncode == 255
        assert MACHINE in done.stderr
        assert "Connection refused" in done.stderr
    finally:
        remote.start()
    assert guests.ssh("host-1", "true").returncode == 0


def test_destroy_leaves_no_guest_no_process_and_no_file(guests: Guests, remote: Remote) -> None:
    guests.destroy()
    assert left_in(remote) == NOTHING
    assert remote.processes() == []
    assert [p.name for p in guests.run_folder.iterdir() if not p.name.startswith("libvirt-")] == []
