"""The host kinds that are held to the host contract. Another kind is one more entry of ``CASES``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.checks import kvm
from components.steps.scripts import scripts_of
from tests.contract.hostsonly import HostsStack
from tests.lab import machine

CPUS, MEMORY_MIB = 1, 1280
NAMES = ("host-1", "host-2", "host-3")


@dataclass(frozen=True)
class Case:
    """How a kind is brought up here, and where it could leave something.

    Attributes:
        hosts: ``hosts:`` of a lab's file, given nspawn hosts that stand.
        traces: everything of the stack's that is there now; empty once it is gone.
        untouched: what must be after the hosts as it was before them.
        is_itself_the_ground: it is the very stack of nspawn hosts that other kinds are tested on.
        stands_alone: it needs no nspawn hosts, and is its own ground.
    """

    hosts: Callable[[HostsStack], dict[str, Any]]
    traces: Callable[[HostsStack, HostsStack], dict[str, Any]]
    untouched: Callable[[HostsStack], dict[str, Any]] = lambda _: {}
    is_itself_the_ground: bool = False
    stands_alone: bool = False


def nspawn_traces(stack: HostsStack, _: HostsStack) -> dict[str, Any]:
    """What the machine shows of the lab's own names: links, routes, mounts, processes and so on."""
    return dict(machine.look().traces_of(*stack.marks))


def existing_hosts(ground: HostsStack) -> dict[str, Any]:
    """The nspawn hosts in another order, so that none has its own name in the lab, by a user with sudo."""
    order = [*ground.hosts[1:], ground.hosts[0]]
    return {
        "kind": "existing",
        "addresses": [host["address"] for host in order],
        "user": "op",
        "key": str(ground.run_folder / "id_ed25519"),
        "hostKeys": [f"{host['address']} {host['hostKey']}" for host in order],
        "cpus": CPUS,
        "memoryMib": MEMORY_MIB,
    }


def existing_traces(_: HostsStack, ground: HostsStack) -> dict[str, Any]:
    """What on the hosts bears the project's name."""
    script = "find / -xdev -name '*litelab*' -not -path '/proc/*' | grep -vE '^/(etc/(systemd|machine-id)|usr/local/sbin)/' || true"
    found = {name: ground.by_root(name, script).split() for name in NAMES}
    return {name: paths for name, paths in found.items() if paths}


def inventory(ground: HostsStack, names: Sequence[str] = NAMES) -> dict[str, Any]:
    """Files, packages, units, rules, links, listeners and so on of each host."""
    script = (scripts_of("existing") / "inventory.sh").read_text() + "\ninventory\n"
    return {name: set(ground.by_root(name, script).splitlines()) for name in names}


def libvirt_hosts(_: HostsStack) -> dict[str, Any]:
    """Guests of the libvirtd in whose network namespace these tests run (``tests/libvirt/daemon.py``)."""
    accelerator = "kvm" if kvm.starts_a_guest()[0] else "tcg"
    storage = {"uri": os.environ[LIBVIRT], "storage": os.environ[f"{LIBVIRT}_STORAGE"]}
    return {
        "kind": "libvirt",
        "accelerator": accelerator,
        "cpus": CPUS,
        "memoryMib": MEMORY_MIB,
        "diskGib": 4,
        **storage,
    }


def libvirt_traces(stack: HostsStack, _: HostsStack) -> dict[str, Any]:
    """Guests, networks, pools and files that bear the stack's name."""
    listings = {"guests": "list", "networks": "net-list", "pools": "pool-list"}
    found: dict[str, list[str]] = {}
    for what, verb in listings.items():
        words = ["virsh", "--connect", os.environ[LIBVIRT], "--quiet", verb, "--all", "--name"]
        found[what] = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    found["files"] = [str(path) for path in Path(os.environ[f"{LIBVIRT}_STORAGE"]).rglob("*")]
    ours = {what: [name for name in names if stack.name in name] for what, names in found.items()}
    return {what: names for what, names in ours.items() if names}


LIBVIRT = "LITELAB_TEST_URI"
CASES = {
    "existing": Case(existing_hosts, existing_traces, inventory),
    "nspawn": Case(
        lambda _: {"kind": "nspawn", "cpus": CPUS, "memoryMib": MEMORY_MIB}, nspawn_traces, is_itself_the_ground=True
    ),
}
"""By kind. Those that stand on nspawn hosts come before nspawn, whose end takes the ground away."""
if LIBVIRT in os.environ:
    # In the network namespace of that libvirtd, where nspawn hosts are not to be.
    CASES = {"libvirt": Case(libvirt_hosts, libvirt_traces, stands_alone=True)}
