"""What three controllers and a worker are held to, whatever the distribution, and how the same hosts become a cluster of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.distributions import UP_S, start_pod
from tests.lab.lab import LabStack, wait_for

CONTROLLERS = ("host-1", "host-2", "host-3")
THREE = {"controllers": "3", "workers": "1"}
ONE = {"controllers": "1", "workers": "3"}
"""On as many hosts."""


def ready_by(lab: LabStack, context: str) -> bool:
    """Whether one controller's API answers."""
    done = lab.kubectl("--context", context, "--request-timeout=5s", "get", "--raw", "/readyz", check=False)
    return done.returncode == 0 and done.stdout == "ok"


@contextmanager
def without(lab: LabStack, down: str, units: str) -> Iterator[str]:
    """One controller's units stopped, until the block ends and it is back; gives the context of one that answers."""
    others = [name for name in CONTROLLERS if name != down]
    lab.ssh(down, f"systemctl stop {units}", timeout=120)
    try:
        assert not ready_by(lab, down)
        wait_for("the others to answer", 60, lambda: all(ready_by(lab, name) for name in others))
        yield others[0]
    finally:
        lab.ssh(down, f"systemctl start {units}", timeout=240)
    wait_for(f"{down} to be back", 240, lambda: ready_by(lab, down))


def starts_a_pod_without(lab: LabStack, down: str, units: str) -> None:
    """With that one stopped a new pod starts on the worker."""
    with without(lab, down, units) as other:
        start_pod(lab, f"while-{down}-is-down", context=other)


def becomes(lab: LabStack, wanted: dict[str, str], nodes: set[str]) -> None:
    """Another number of controllers on the hosts that stand: another cluster of these nodes, and nothing left to do."""
    machines = lab.machine_ids()
    for key, value in wanted.items():
        lab.pulumi("config", "set", f"litelab:{key}", value)
    lab.pulumi("up", "--yes", "--skip-preview", timeout=UP_S)
    assert lab.machine_ids() == machines, "hosts were made anew"
    ready = {
        node["metadata"]["name"]
        for node in lab.get("nodes")["items"]
        if {"type": "Ready", "status": "True"}.items()
        <= {c["type"]: c for c in node["status"]["conditions"]}["Ready"].items()
    }
    assert ready == nodes
    lab.pulumi("preview", "--expect-no-changes")
    start_pod(lab, "afterwards")
