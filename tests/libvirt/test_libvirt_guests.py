"""Two real guests from ``up`` to ssh and back to nothing. Emulated where KVM starts none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from components.checks import kvm
from tests.libvirt.daemon import Daemon
from tests.libvirt.guests import NOTHING, STEP_S, UP_S, Guests, left_in

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(UP_S + STEP_S)]

DISK_GIB = 4
NAMES = ("host-1", "host-2")


@pytest.fixture(scope="module")
def guests(daemon: Daemon) -> Iterator[Guests]:
    """Up for all tests here; the last one removes it."""
    accelerator = "kvm" if kvm.starts_a_guest()[0] else "tcg"
    stack = Guests("lv-guests", daemon, {"diskGib": DISK_GIB, "accelerator": accelerator}, workers=1)
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


def test_each_answers_with_the_key_that_was_made_for_it(guests: Guests) -> None:
    for name in NAMES:
        assert guests.ssh(name, "hostname").stdout.strip() == name


def test_another_key_is_refused(guests: Guests) -> None:
    known = (guests.run_folder / "known_hosts").read_text()
    keys = dict(line.split(" ", 1) for line in known.splitlines())
    swapped = guests.run_folder / "known_hosts.swapped"
    swapped.write_text(f"host-1 {keys['host-2']}\nhost-2 {keys['host-1']}\n")
    refused = guests.ssh("host-1", "true", "-o", f"UserKnownHostsFile={swapped}", check=False)
    assert refused.returncode == 255
    assert "verification failed" in refused.stderr


def test_no_password_logs_in(guests: Guests) -> None:
    settings = guests.ssh("host-1", "sshd -T").stdout
    assert "passwordauthentication no" in settings


def test_they_are_alike_in_all_that_matters(guests: Guests) -> None:
    ask = "uname -r; . /etc/os-release; echo $PRETTY_NAME; nproc; grep -m1 'model name' /proc/cpuinfo; grep MemTotal /proc/meminfo; lsblk -bdno SIZE /dev/vda; dpkg-query -W | sha256sum"
    one, other = (guests.ssh(name, ask).stdout for name in NAMES)
    assert one == other


def test_each_has_what_settings_say(guests: Guests) -> None:
    said = guests.ssh(
        "host-2", "nproc; lsblk -bdno SIZE /dev/vda; df -B1 --output=size / | tail -1; grep MemTotal /proc/meminfo"
    )
    cpus, disk, system, memory = said.stdout.splitlines()
    assert int(cpus) == 1
    assert int(disk) == DISK_GIB * 2**30
    # The file system has grown to its disk.
    assert int(system) > 0.9 * DISK_GIB * 2**30
    assert 900_000 < int(re.findall(r"\d+", memory)[0]) <= 1024 * 1024


def test_its_first_settings_left_nothing_failed(guests: Guests) -> None:
    for name in NAMES:
        assert guests.ssh(name, "systemctl --failed --no-legend").stdout.strip() == ""


def test_they_reach_each_other_by_name_and_nothing_leases_addresses(guests: Guests, daemon: Daemon) -> None:
    assert guests.ssh("host-1", "ping -c 1 -W 20 host-2").returncode == 0
    network = daemon.virsh("net-list", "--name").stdout.split()[0]
    assert daemon.virsh("net-dhcp-leases", network).stdout.strip() == ""


def test_without_a_way_out_there_is_none(guests: Guests) -> None:
    # An address of documentation, behind the default route: the network rejects it or drops it.
    assert guests.ssh("host-1", "ping -c 1 -W 3 192.0.2.1", check=False).returncode != 0


def test_an_unchanged_lab_shows_no_change_also_after_a_refresh(guests: Guests) -> None:
    guests.pulumi("preview", "--expect-no-changes")
    guests.pulumi("refresh", "--yes", "--skip-preview")
    guests.pulumi("preview", "--expect-no-changes")


def test_no_private_key_is_in_the_state_in_plain_text(guests: Guests) -> None:
    state = json.dumps(guests.state())
    assert "PRIVATE KEY" not in state


def test_steps_say_how_long_each_took(guests: Guests) -> None:
    steps = [json.loads(line) for line in (guests.run_folder / "steps.jsonl").read_text().splitlines()]
    assert {"image", "place", "host"} <= {step["step"] for step in steps}


def test_destroy_leaves_nothing(guests: Guests, daemon: Daemon) -> None:
    guests.destroy()
    assert left_in(daemon) == NOTHING
    assert [p.name for p in guests.run_folder.iterdir() if not p.name.startswith("libvirt-")] == ["known_hosts.swapped"]
    running = daemon.run(["ip", "netns", "pids", daemon.name], capture_output=True).stdout.split()
    names = [daemon.run(["cat", f"/proc/{pid}/comm"], capture_output=True).stdout.strip() for pid in running]
    assert not [name for name in names if name.startswith(("qemu", "dnsmasq"))]
