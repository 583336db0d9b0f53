"""The ``nspawn`` kind on a machine with systemd and cgroup v2, which a guest is: its own scripts, from nothing to ssh and back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.checks import kvm
from components.steps.scripts import scripts_of
from tests.libvirt.daemon import Daemon
from tests.libvirt.guests import STEP_S, UP_S, Guests
from tools import places

HOST_S = 900
"""A host's boot, emulated."""
CAP_MIB = 512
NAMES = ("host-1", "host-2")
RUN = "/lab/repo/.lab/run/nested"

pytestmark = [pytest.mark.libvirt, pytest.mark.slow, pytest.mark.timeout(UP_S + 4 * HOST_S)]


class Machine:
    """A guest that is somebody's machine: the hosts' root image, the scripts and systemd-nspawn are on it."""

    def __init__(self, guests: Guests, folder: Path) -> None:
        self.guests = guests
        root = places.cache() / "rootfs" / "current"
        self.put(f"tar -C {root}/. -c .", "/lab/cache/rootfs/current")
        for part in ("ssh", "nspawn"):
            self.put(f"tar -C {scripts_of(part)} -c .", f"{RUN}/nspawn-x")
        # Of the guest's own release, for its image is made from the same mirrors; without what else its package wants.
        subprocess.run(["apt-get", "download", "-qq", "systemd-container"], cwd=folder, check=True, timeout=STEP_S)
        (package,) = folder.glob("systemd-container_*.deb")
        self.put(f"dpkg-deb --fsys-tarfile {package}", "/", "./usr/bin/systemd-nspawn")

    def put(self, tar: str, target: str, *only: str) -> None:
        """Unpack what a command of this machine's packs."""
        config = self.guests.run_folder / "ssh_config"
        far = f"mkdir -p {target} && tar -C {target} -x {' '.join(only)}"
        # A file whose links were counted anew meanwhile is 1, and no harm.
        line = f"set -o pipefail; {{ {tar} || [ $? -eq 1 ]; }} | ssh -F {config} host-1 '{far}'"
        self.guests.daemon.run(["bash", "-c", line], check=True, timeout=HOST_S)

    def run(self, command: str) -> str:
        """What root's shell prints there."""
        config = str(self.guests.run_folder / "ssh_config")
        done = self.guests.daemon.run(
            ["ssh", "-F", config, "host-1", command], capture_output=True, timeout=HOST_S, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def step(self, script: str, *words: str, **environment: str) -> str:
        """A step, as the component declares it."""
        given = {"LITELAB_CACHE": "/lab/cache", "INTERNET": "false", "SSH_TIMEOUT_S": str(HOST_S), **environment}
        variables = " ".join(f"{key}={value}" for key, value in given.items())
        return self.run(f"cd /lab/repo && {variables} {RUN}/nspawn-x/{script} {' '.join(words)}")


@pytest.fixture(scope="module")
def machine(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    accelerator = "kvm" if kvm.starts_a_guest()[0] else "tcg"
    guests = Guests("lv-nspawn", daemon, {"diskGib": 4, "memoryMib": 1536, "accelerator": accelerator})
    try:
        guests.up()
        yield Machine(guests, tmp_path_factory.mktemp("package"))
    finally:
        guests.remove()


def test_two_hosts_come_up_under_systemd_and_cgroup_v2_and_leave_nothing(machine: Machine) -> None:
    assert machine.run("stat -fc %T /sys/fs/cgroup; ps -o comm= 1").split() == ["cgroup2fs", "systemd"]
    before = machine.run(LOOK)

    machine.step("keys.sh", "create", ">/dev/null")
    machine.step("network.sh", "create", SUBNET="")
    for number, name in enumerate(NAMES, start=1):
        machine.step("host.sh", "create", name, ADDRESS=str(10 + number), CPUS="1", MEMORY_MIB=str(CAP_MIB))

    def on_host(command: str) -> str:
        return machine.run(f"ssh -F {RUN}/ssh_config host-1 '{command}'")

    assert on_host("systemctl is-system-running --wait").strip() == "running"
    assert on_host("stat -fc %T /sys/fs/cgroup").strip() == "cgroup2fs"
    assert on_host("mkdir /sys/fs/cgroup/own && rmdir /sys/fs/cgroup/own && echo writable").strip() == "writable"
    assert int(on_host("grep MemTotal /proc/meminfo").split()[1]) == CAP_MIB * 1024
    assert on_host("ping -c 1 -W 20 host-2 >/dev/null && echo reached").strip() == "reached"
    caps = "systemctl show 'litelab-*-host-1.service' -p CPUQuotaPerSecUSec -p MemoryMax -p Delegate"
    assert set(machine.run(caps).split()) == {"CPUQuotaPerSecUSec=1s", f"MemoryMax={CAP_MIB * 2**20}", "Delegate=yes"}

    for name in NAMES:
        machine.step("host.sh", "delete", name)
    machine.step("network.sh", "delete")
    machine.step("keys.sh", "delete")
    assert machine.run(LOOK) == before


LOOK = (
    "ls /run/litelab 2>&1; ip netns; ip -o link | cut -d: -f2; ip route; grep -c litelab /proc/mounts; "
    "find /sys/fs/cgroup -name '*litelab*'; systemctl list-units 'litelab*' --all --no-legend; "
    "sysctl vm.overcommit_memory kernel.panic kernel.panic_on_oops fs.inotify.max_user_instances; "
    f"find {RUN} -mindepth 1 -maxdepth 1"
)
"""What a lab could leave on the machine."""
