"""What a person sees when something is wrong, and that nothing is left after it. Guests run and boot nothing: no wait for ssh."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.lab import PROJECT, wait_for
from tests.libvirt.daemon import Daemon
from tests.libvirt.guests import NOTHING, STEP_S, Guests, blank_disk, end, left_in

DOMAIN = "libvirt:index/domain:Domain"

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(900)]


@pytest.fixture
def blank(tmp_path: Path) -> dict[str, str]:
    return blank_disk(tmp_path)


@pytest.fixture
def stack(daemon: Daemon, blank: dict[str, str]) -> Iterator[Callable[..., Guests]]:
    """Makes a stack whose guests boot nothing; removes it afterwards, whatever became of it."""
    made: list[Guests] = []

    def make(**hosts: Any) -> Guests:
        made.append(Guests(f"lv-fail-{len(made)}", daemon, {"image": blank, "diskGib": 2, **hosts}))
        return made[-1]

    yield make
    for one in made:
        one.remove()
    assert left_in(daemon) == NOTHING


def paragraph(said: str, beginning: str) -> str:
    """The error that begins so."""
    assert beginning in said, said[-3000:]
    return said[said.index(beginning) :].partition("\n")[0]


class TestImage:
    def test_one_that_is_missing_is_named_before_libvirt_is_asked_for_anything(
        self, stack: Callable[..., Guests], daemon: Daemon, tmp_path: Path
    ) -> None:
        lab = stack(image={"source": str(tmp_path / "none.qcow2"), "sha256": "0" * 64})
        assert "there is no file" in paragraph(lab.refused(), "error: hosts.image")
        assert left_in(daemon) == NOTHING

    def test_one_with_another_digest_never_reaches_libvirt(
        self, stack: Callable[..., Guests], daemon: Daemon, blank: dict[str, str]
    ) -> None:
        lab = stack(image={**blank, "sha256": "1" * 64})
        said = paragraph(lab.refused(), "error: hosts.image")
        assert blank["sha256"] in said
        assert "1" * 64 in said
        assert left_in(daemon) == NOTHING

    def test_a_disk_that_is_too_small_for_it_is_told_what_it_needs(
        self, stack: Callable[..., Guests], daemon: Daemon, tmp_path: Path
    ) -> None:
        big = tmp_path / "big.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(big), "5G"], check=True)
        digest = subprocess.run(["sha256sum", str(big)], capture_output=True, text=True, check=True).stdout.split()[0]
        said = paragraph(stack(image={"source": str(big), "sha256": digest}).refused(), "error: hosts.diskGib is 2")
        assert "Set hosts.diskGib to 5 or more" in said
        assert left_in(daemon) == NOTHING


class TestAddresses:
    def test_a_subnet_that_another_network_has_is_refused_by_its_key(
        self, stack: Callable[..., Guests], daemon: Daemon
    ) -> None:
        xml = daemon.folder / "other.xml"
        xml.write_text(
            "<network><name>other</name><bridge name='other0'/><ip address='10.87.9.1' netmask='255.255.255.0'/></network>"
        )
        daemon.virsh("net-define", str(xml))
        try:
            said = paragraph(stack(subnet="10.87.9.0/24").refused(), "error: hosts.subnet")
            assert "10.87.9.0/24 is in use" in said
        finally:
            daemon.virsh("net-undefine", "other")

    def test_two_labs_choose_subnets_of_their_own(self, stack: Callable[..., Guests]) -> None:
        one, other = stack(), stack()
        begun = [lab.start_up() for lab in (one, other)]
        for lab, process in zip((one, other), begun, strict=True):
            wait_for("its place", STEP_S, lambda lab=lab: (lab.run_folder / "lab.env").exists() or None)  # type: ignore[misc]
            del process
        prefixes = [
            dict(line.split("=", 1) for line in (lab.run_folder / "lab.env").read_text().splitlines())["PREFIX"]
            for lab in (one, other)
        ]
        for process in begun:
            end(process, signal.SIGINT)
        networks = [ipaddress.IPv4Network(f"{prefix}.0/24") for prefix in prefixes]
        assert not networks[0].overlaps(networks[1])


class TestKilledRuns:
    # A start that fails leaves a guest that is defined and off, outside of the state too.
    @pytest.mark.parametrize("left", ["running", "off"])
    def test_a_guest_that_no_state_knows_is_taken_away_and_made_again(
        self, stack: Callable[..., Guests], daemon: Daemon, left: str
    ) -> None:
        lab = stack()
        process = lab.start_up()
        name = lab.wait_for_guest(process)
        end(process, signal.SIGKILL)
        before = daemon.virsh("domuuid", name).stdout.strip()
        if left == "off":
            daemon.virsh("destroy", name)
        lab.pulumi("cancel", "--yes")
        lab.make_pulumi_forget(DOMAIN)
        process = lab.start_up()
        wait_for("another guest", STEP_S, lambda: _uuid(daemon, name) not in {before, ""} or None)
        end(process, signal.SIGINT)
        assert daemon.virsh("list", "--all", "--name").stdout.split() == [name]

    def test_destroy_takes_a_guest_that_no_state_knows(self, stack: Callable[..., Guests], daemon: Daemon) -> None:
        lab = stack()
        process = lab.start_up()
        lab.wait_for_guest(process)
        end(process, signal.SIGKILL)
        lab.pulumi("cancel", "--yes")
        lab.make_pulumi_forget(DOMAIN)
        lab.destroy()
        assert left_in(daemon) == NOTHING


class TestOrphans:
    """``make orphans`` and ``make orphans REMOVE=LAB``, which run this script of every kind of hosts."""

    def orphans(self, daemon: Daemon, *options: str) -> tuple[int, str]:
        done = subprocess.run(
            [PROJECT / "components/hosts/libvirt/scripts/orphans.sh", *options], capture_output=True, text=True, timeout=STEP_S,
            env={**os.environ, "LIBVIRT_DEFAULT_URI": daemon.uri}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    @pytest.fixture
    def begun(self, stack: Callable[..., Guests]) -> Guests:
        """A lab whose guest runs."""
        lab = stack()
        process = lab.start_up()
        lab.wait_for_guest(process)
        end(process, signal.SIGINT)
        return lab

    @pytest.mark.usefixtures("begun")
    def test_what_a_state_knows_is_none_and_stays(self, daemon: Daemon) -> None:
        before = left_in(daemon)
        assert self.orphans(daemon, "--remove", *before["pools"]) == (0, "")
        assert left_in(daemon) == before

    def test_a_lab_that_no_state_knows_is_named_and_taken_away_when_told_to(
        self, begun: Guests, daemon: Daemon
    ) -> None:
        (pool,) = left_in(daemon)["pools"]
        begun.make_pulumi_forget()
        code, said = self.orphans(daemon)
        assert code == 1
        assert said.startswith(f"lab {pool} of {begun.run_folder}: no state knows it")
        assert left_in(daemon)["pools"] == [pool]
        assert self.orphans(daemon, "--remove", pool) == (0, f"lab {pool}: removed\n")
        assert left_in(daemon) == NOTHING
        assert not list(Path("/run/litelab-libvirt").glob(f"{pool}.*"))
        assert self.orphans(daemon) == (0, "")

    def test_one_of_another_checkout_is_named_and_left_alone(self, daemon: Daemon) -> None:
        xml = daemon.folder / "foreign.xml"
        xml.write_text("<network><name>litelab-foreign-0a1b2c</name><bridge name='foreign0'/></network>")
        daemon.virsh("net-define", str(xml))
        try:
            code, said = self.orphans(daemon, "--remove", "litelab-foreign-0a1b2c")
            assert code == 1
            assert "left alone" in said
            assert left_in(daemon)["networks"] == ["litelab-foreign-0a1b2c"]
        finally:
            daemon.virsh("net-undefine", "litelab-foreign-0a1b2c")


class TestLibvirtGone:
    @pytest.mark.parametrize("when", ["as the guest starts", "while it is waited for"])
    def test_stopped_in_the_middle_of_up_it_is_named_with_the_cure(
        self, stack: Callable[..., Guests], daemon: Daemon, when: str
    ) -> None:
        lab = stack()
        process = lab.start_up()
        lab.wait_for_guest(process)
        if when == "while it is waited for":
            console = lab.run_folder / "console-host-1.log"
            wait_for("the wait for the guest", STEP_S, lambda: console.exists() or None)
        daemon.stop()
        try:
            said, _ = process.communicate(timeout=STEP_S)
        finally:
            daemon.start()
        assert process.returncode != 0
        assert "libvirt" in said
        assert "systemctl start libvirtd" in said

    def test_unreachable_at_destroy_it_is_named_and_the_state_stays(
        self, stack: Callable[..., Guests], daemon: Daemon
    ) -> None:
        lab = stack()
        process = lab.start_up()
        lab.wait_for_guest(process)
        end(process, signal.SIGINT)
        daemon.stop()
        try:
            refused = lab.destroy(check=False)
        finally:
            daemon.start()
        assert refused.returncode != 0
        assert "is not reached" in refused.stdout + refused.stderr
        assert "systemctl start libvirtd" in refused.stdout + refused.stderr
        lab.destroy()
        assert left_in(daemon) == NOTHING


def _uuid(daemon: Daemon, name: str) -> str:
    return daemon.virsh("domuuid", name, check=False).stdout.strip()
