"""What labs of distributions have in common in their tests: small hosts without a way out, and what each distribution is held to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.lab.lab import LabStack, wait_for

HOSTS = ("host-1", "host-2", "host-3")
BOTH = ("pods-8", "deployments-40")
"""What every distribution's lab measures."""
COMMON = {
    "hosts.kind": "nspawn",
    "hosts.internet": "false",
    "hosts.memoryMib": "1536",
    "workloads": "[pods-8]",
    "repeats": "1",
}
UP_S = 1800
BUSYBOX = ("--image=docker.io/litelab/busybox:1", "--image-pull-policy=Never", "--restart=Never")


def up(lab: LabStack) -> str:
    return lab.pulumi("up", "--yes", "--skip-preview", timeout=UP_S).stdout


def steps_of(lab: LabStack, hosts: Iterable[str]) -> dict[str, list[str]]:
    """Names of the steps that have ended on each host, in order."""
    told = {host: lab.ssh(host, "cat /var/lib/litelab/steps.jsonl 2>/dev/null || true").stdout for host in hosts}
    return {host: [json.loads(line)["step"] for line in text.splitlines()] for host, text in told.items()}


def unchanged_up_runs_no_step(lab: LabStack) -> None:
    before = steps_of(lab, HOSTS)
    lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert steps_of(lab, HOSTS) == before


def taints(lab: LabStack) -> dict[str, list[str]]:
    """Of every node, the keys of its taints."""
    nodes: list[dict[str, Any]] = lab.get("nodes")["items"]
    return {n["metadata"]["name"]: [t["key"] for t in n["spec"].get("taints", [])] for n in nodes}


def start_pod(lab: LabStack, name: str, *, context: str = "") -> None:
    """A pod that would not come back if its process ended."""
    where = ("--context", context) if context else ()
    wait_for(
        "the default service account", 60,
        lambda: lab.kubectl(*where, "get", "serviceaccount", "default", check=False).returncode == 0 or None,
    )  # fmt: skip
    lab.kubectl(*where, "run", name, *BUSYBOX, "--", "sleep", "100000")
    lab.kubectl(*where, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s", timeout=150)


def container_of(lab: LabStack, name: str, *, context: str = "") -> str:
    """The pod's container, which runs."""
    (status,) = lab.get("pod", name, *(("--context", context) if context else ()))["status"]["containerStatuses"]
    assert "running" in status["state"]
    return str(status["containerID"])


def measured(lab: LabStack, *workloads: str) -> None:
    """All pods of each workload came up."""
    results = lab.outputs()["results"]["workloads"]
    assert {w: results[w]["success_rate"] for w in workloads} == dict.fromkeys(workloads, 1)


def reset_leaves_nothing(lab: LabStack, part: str, host: str, *paths: str) -> None:
    """The distribution's own end on an existing host."""
    lab.ssh(host, f"/opt/litelab/{part}/scripts/reset.sh", timeout=300)
    for what in (
        "ls /opt/litelab",
        "ss -Htlnp | grep -v ':22 ' || true",
        "ip -br link | awk '$1 !~ /^(lo|eth0)/' || true",
        "iptables-save | grep -E 'KUBE|CNI|KIND|FLANNEL|cali' || true",
        f"ls -d {' '.join(paths)} 2>/dev/null || true",
    ):
        left = lab.ssh(host, what).stdout
        assert left == "", f"{host}: {what}: {left}"
