"""Hosts of a lab end, as after a restart of the machine, and are lost: ``make lab`` and ``make status`` see it, and bring them back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.lab import ONE_HOST, FaultLab
from tests.lab.lab import wait_for

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]


@pytest.fixture(scope="module")
def lab() -> Iterator[FaultLab]:
    of = FaultLab("test-presence", {**ONE_HOST, "workloads": "[pods-8]", "repeats": "1"})
    with of.ready():
        of.goes("lab")
        yield of


def end_hosts(lab: FaultLab) -> None:
    """Kill whatever runs in the hosts' cgroups."""

    def living() -> set[int]:
        files = Path("/sys/fs/cgroup").glob(f"**/*{lab.names['LAB_ID']}*/**/cgroup.procs")
        return {int(pid) for file in files for pid in file.read_text().split()}

    def ended() -> bool:
        for pid in living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not living()

    wait_for("the hosts' processes to end", 20, ended)


def unmount(lab: FaultLab) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    own = (f"{lab.run_folder}/hosts/", f"{lab.record}/")
    for path in sorted((m for m in mounts if m.startswith(own)), reverse=True):
        subprocess.run(["umount", "-l", path], check=True)


def boot_ids(lab: FaultLab) -> str:
    return lab.ssh("host-1", "cat /etc/machine-id; ls /var/lib/etcd/member").stdout


def measured_at(lab: FaultLab) -> str:
    found: str = lab.outputs()["results"]["measuredAt"]["pods-8"]
    return found


def test_a_lab_that_stands_is_good_and_its_figures_are_called_old(lab: FaultLab) -> None:
    assert lab.verb("status")[0] == 0
    code, told = lab.verb("lab")
    assert code == 0
    assert "Pulumi had nothing to change, and nothing was measured" in told
    assert "* measured by an earlier run" in told


def test_a_unit_that_ended_is_named(lab: FaultLab) -> None:
    lab.ssh("host-1", "systemctl stop kube-scheduler")
    code, told = lab.verb("status")
    lab.ssh("host-1", "systemctl start kube-scheduler")
    assert code == 1
    assert "kube-scheduler on host-1 is" in told


@pytest.mark.parametrize("how", ["powered off", "killed", "restart of the machine"])
def test_hosts_that_ended_come_back_with_their_cluster(lab: FaultLab, how: str) -> None:
    before, figures = boot_ids(lab), measured_at(lab)
    lab.kubectl("create", "configmap", f"kept-{how.split()[0]}")
    if how == "powered off":
        lab.ssh("host-1", "systemctl poweroff", check=False)
        wait_for("the host to be off", 60, lambda: "host-1 is off" in lab.verb("status")[1])
    else:
        end_hosts(lab)
    if how == "restart of the machine":
        for name in (f"{lab.namespace}-host-1", lab.namespace):
            subprocess.run(["ip", "netns", "del", name], check=True)
        unmount(lab)
        shutil.rmtree(lab.record)
    code, told = lab.verb("status")
    assert code == 1
    assert "host-1 is off" in told
    code, told = lab.verb("lab")
    assert code == 0, told[-4000:]
    assert "host-1 is off" in told
    assert "* measured by an earlier run" in told
    lab.works()
    lab.kubectl("get", "configmap", f"kept-{how.split()[0]}")
    assert boot_ids(lab) == before
    assert measured_at(lab) == figures
    assert lab.verb("status")[0] == 0


def test_a_host_that_lost_its_disk_is_replaced_only_when_somebody_agrees(lab: FaultLab) -> None:
    before, figures = boot_ids(lab), measured_at(lab)
    end_hosts(lab)
    unmount(lab)
    shutil.rmtree(lab.run_folder / "hosts/host-1")
    code, told = lab.verb("lab", {"CI": "", "YES": ""})
    assert code == 1
    assert (
        "what was on the old ones is lost. Nothing was changed. 'make lab STACK=test-presence YES=1' replaces" in told
    )
    code, told = lab.verb("lab", {"YES": "1"})
    assert code == 0, told[-4000:]
    assert "* measured" not in told
    lab.works()
    assert boot_ids(lab) != before
    assert measured_at(lab) > figures
    assert json.loads((lab.results_folder / "latest-pods-8/summary.json").read_text())["finished_at"] == measured_at(
        lab
    )
