"""The default lab on whole Debian machines: systemd, cgroup v2 and swap, as a user with sudo (``make test-machines``)."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator

import pytest

from tests.machines.image import CHECKOUT, RELEASES, USER, disks
from tests.machines.machine import Machine, is_fast
from tests.machines.steps import LOOK
from tools import places
from tools.progress import Progress

LIMIT_S = 90 * 60
LAB_S = 60 * 60
"""A lab that comes up and is measured, emulated."""

pytestmark = [pytest.mark.machines, pytest.mark.slow, pytest.mark.timeout(LIMIT_S)]


@pytest.fixture(
    scope="module", params=[pytest.param(code, id=name.replace(" ", "-")) for code, name in RELEASES.items()]
)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    lacking = [p for p in ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "mkswap") if shutil.which(p) is None]
    if os.geteuid() != 0 or lacking:
        pytest.fail(
            f"needs root and {', '.join(lacking) or 'nothing else'}: 'sudo apt-get install qemu-system-x86 mmdebstrap'"
        )
    # Beside the cache: a disk is too large for a small /tmp.
    folder = places.cache() / "machines" / f"run-{request.param}-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        with Machine(disks(request.param, folder, Progress(places.cache())), folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_machine_is_what_the_readme_asks_for_and_more(machine: Machine) -> None:
    assert machine.run("stat -fc %T /sys/fs/cgroup; ps -o comm= 1; id -un").split() == ["cgroup2fs", "systemd", USER]
    assert "/dev/vdb" in machine.run("cat /proc/swaps")
    machine.run("systemctl is-system-running --wait; true")
    assert machine.run("systemctl --failed --no-legend") == ""


def test_docker_and_firewalls_are_on(machine: Machine) -> None:
    units = machine.run(
        "systemctl list-unit-files --no-legend docker.service firewalld.service ufw.service | cut -d' ' -f1"
    ).split()
    if "ufw.service" in units:
        machine.run("sudo ufw allow ssh && sudo ufw --force enable && sudo ufw status | grep -q 'Status: active'")
    for unit in units:
        machine.run(f"systemctl is-active {unit}")
    assert units


def test_doctor_is_right_without_root(machine: Machine) -> None:
    machine.ssh("make doctor")  # what is read from the disk for the first time
    found = json.loads(machine.run("make doctor JSON=1", code=2))
    assert [f["name"] for f in found["findings"] if f["needed"] and not f["ok"]] == ["root"]
    machine.run("sudo make doctor")
    assert machine.run("git status --porcelain; find . -path ./.cache -prune -o -user root -print -quit") == ""


def test_the_readmes_two_commands_and_a_reboot_between(machine: Machine) -> None:
    before = machine.run(LOOK)
    hosts = _edit_lab(machine)
    assert "pods-8" in machine.run("sudo make lab", timeout=LAB_S)
    # All that is left of root's work in the checkout is what hosts are made of.
    machine.run(
        f"test -z \"$(find {CHECKOUT} -path '*/.cache' -prune -o -path '*/run/*/hosts' -prune -o -user root -print)\""
    )
    _is_up(machine, hosts)
    assert machine.run("make ssh CMD='cat /etc/hostname'").split() == ["host-1"]
    machine.run("make logs")

    machine.reboot()
    assert "this machine restarted" in machine.run("make status", code=2)
    said = machine.run("sudo make lab", timeout=LAB_S)
    assert "Started again, with what is on disk" in said
    _is_up(machine, hosts)

    machine.run("sudo make destroy", timeout=LAB_S)
    assert machine.run(LOOK) == before
    assert machine.run("sudo make orphans") == ""


def _edit_lab(machine: Machine) -> list[str]:
    """Leave out what an emulated machine can't carry, as a user edits a lab; names of the hosts that it then has."""
    number = int(os.environ.get("HOSTS") or (3 if is_fast() else 1))
    lines = ["/^workloads:/c\\workloads: [pods-8]", f"/^workers:/c\\workers: {number - 1}"]
    if number == 1:
        lines.append("1i controllerRunsWorkloads: true")
    machine.run(
        f"sed -i {' '.join(f'-e {shlex.quote(line)}' for line in lines)} stacks/upstream-lab.yaml && cat stacks/upstream-lab.yaml"
    )
    return [f"host-{n}" for n in range(1, number + 1)]


def _is_up(machine: Machine, hosts: list[str]) -> None:
    status = machine.run("make status")
    assert all(f"{name}: up" in status for name in hosts)
    assert status.count(" Ready ") == len(hosts)
