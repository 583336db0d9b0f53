"""Hosts that can't become a cluster are refused by name, reason and fix, before anything is put on them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.steps.scripts import scripts_of

GOOD = {
    "hostname": "HOST", "machine_id": "id of HOST", "architecture": "x86_64", "kernel": "6.1", "os": "ubuntu-24.04", "user": "root",
    "init": "systemd", "cgroup": "2", "memory_mib": "2048", "disk_free_mib": "9000", "virtualization": "kvm", "swap": "0",
    "addresses": "127.0.0.1,10.0.0.1,10.0.0.2,10.0.0.3,", "listening": "22,", "parts": "",
}  # fmt: skip

SSH = """#!/bin/bash
host=$3
words=($4)
command=$(base64 -d <<<"${words[-1]}") mark=${words[-2]}
printf '%s\\n' "$host $command" >>"$DIR/asked"
[ -e "$DIR/$host" ] || { echo "Connection refused" >&2; exit 255; }
printf 'Welcome!\\n\\n%s begin\\n' "$mark"
trap 'printf "\\n%s end\\n" "$mark"' EXIT
[ "$command" = "bash -s" ] || { sed -i 's/^parts=.*/parts=/' "$DIR/$host"; exit 0; }
echo "clock=$(($(date +%s) + $(cat "$DIR/$host.clock" 2>/dev/null || echo 0)))"
cat "$DIR/$host"
"""


class Hosts:
    """Three that answer for themselves, and what they are asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.step = folder / "k0s-0123456789ab"
        self.step.mkdir()
        for path in (
            scripts_of("clusters") / "validate.py",
            scripts_of("clusters") / "facts.sh",
            *(scripts_of("ssh")).glob("*.*"),
        ):
            shutil.copy(path, self.step)
        (folder / "bin").mkdir()
        (folder / "bin" / "ssh").write_text(SSH)
        (folder / "bin" / "ssh").chmod(0o755)
        for number in (1, 2, 3):
            self.answers(f"host-{number}")

    def answers(self, host: str, **other: str) -> None:
        said = {key: value.replace("HOST", host) for key, value in GOOD.items()} | other
        (self.folder / host).write_text("".join(f"{key}={value}\n" for key, value in said.items()))

    def clock_is_off(self, host: str, seconds: int) -> None:
        (self.folder / f"{host}.clock").write_text(str(seconds))

    def validate(self) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "DIR": str(self.folder), "PORTS": "6443,10250",
            "HOSTS": "host-1=10.0.0.1,host-2=10.0.0.2,host-3=10.0.0.3", "MEMORY_MIB": "1000", "DISK_MIB": "1500",
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, str(self.step / "validate.py"), "create"],
            capture_output=True, text=True, env=environment, timeout=60, check=False,
        )  # fmt: skip

    def refused(self) -> str:
        done = self.validate()
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1
        return done.stderr


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


def test_good_hosts_are_taken_with_their_facts(hosts: Hosts) -> None:
    done = hosts.validate()
    facts: dict[str, dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert facts.keys() == {"host-1", "host-2", "host-3"}
    assert facts["host-1"]["virtualization"] == "kvm"


@pytest.mark.parametrize("off_s", [40, -40])
def test_a_clock_that_is_40_s_off_is_refused_with_how_far_it_is(hosts: Hosts, off_s: int) -> None:
    hosts.clock_is_off("host-2", off_s)
    told = hosts.refused()
    found = re.search(r"host host-2: its clock is ([+-]\d+) s", told)
    assert found, told
    # Whole seconds, known to half the round trip, which a busy machine makes long.
    assert abs(int(found[1]) - off_s) <= 5
    assert "set-ntp true" in told


def test_clocks_that_are_20_s_apart_are_taken(hosts: Hosts) -> None:
    hosts.clock_is_off("host-2", 20)
    assert hosts.validate().returncode == 0


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"hostname": "host-1"}, "hosts host-1 and host-2 have the same hostname host-1: set another with 'hostnamectl hostname'"),
        ({"machine_id": "id of host-1"}, "hosts host-1 and host-2 have the same machine-id"),
        ({"architecture": "aarch64"}, "host host-2 is aarch64 and host-1 x86_64"),
        ({"memory_mib": "900"}, "host host-2: 900 MiB of memory, and k0s takes 1000 at least"),
        ({"disk_free_mib": "100"}, "host host-2: 100 MiB of free disk in /var/lib"),
        ({"listening": "22,6443,"}, "host host-2: something listens on port 6443 already, which k0s needs"),
        ({"init": "runit"}, "host host-2: its first process is runit, and services need systemd"),
        ({"addresses": "10.0.0.9,"}, "host host-2: no interface has its address 10.0.0.2 (it has 10.0.0.9)"),
        ({"user": "op"}, "host host-2: steps run there as op, and they need root"),
    ],
)  # fmt: skip
def test_a_host_that_does_not_fit_is_named_with_the_cure(hosts: Hosts, said: dict[str, str], told: str) -> None:
    hosts.answers("host-2", **said)
    assert told in hosts.refused()


def test_all_that_is_wrong_is_told_at_once(hosts: Hosts) -> None:
    hosts.answers("host-2", memory_mib="10")
    hosts.answers("host-3", memory_mib="20")
    told = hosts.refused()
    assert "host host-2: 10 MiB" in told
    assert "host host-3: 20 MiB" in told


def test_a_host_that_does_not_answer_is_named(hosts: Hosts) -> None:
    (hosts.folder / "host-3").unlink()
    assert "host host-3: could not be asked over ssh: Connection refused" in hosts.refused()


def test_what_another_distribution_left_goes_by_its_own_reset_and_the_host_is_asked_again(hosts: Hosts) -> None:
    hosts.answers("host-2", parts="k3s,", listening="22,6443,")
    # Its ports are still taken when it is asked again: this stand-in takes off the part alone.
    assert "host host-2: something listens on port 6443" in hosts.refused()
    asked = [line for line in (hosts.folder / "asked").read_text().splitlines() if "reset.sh" in line]
    assert len(asked) == 1
    assert "host-2" in asked[0]
    assert "/opt/litelab/k3s/scripts/reset.sh" in asked[0]


def test_its_own_ports_are_no_obstacle_where_it_runs_already(hosts: Hosts) -> None:
    hosts.answers("host-2", parts="k0s,", listening="22,6443,")
    assert hosts.validate().returncode == 0
