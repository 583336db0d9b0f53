"""A whole lab on virtual machines: upstream Kubernetes by the same component and scripts as on nspawn hosts, and real pods."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.checks import kvm
from tests.lab.lab import PROJECT, LabStack
from tests.libvirt.daemon import Daemon
from tests.libvirt.guests import NOTHING, left_in
from tests.libvirt.labs import LAB_S, ROUTINE_S, inside, standing

NODES = ("host-1", "host-2", "host-3")
WORKERS = NODES[1:]

pytestmark = [pytest.mark.libvirt, pytest.mark.slow, pytest.mark.timeout(LAB_S + ROUTINE_S)]


@pytest.fixture(scope="module")
def accelerator() -> str:
    return "kvm" if kvm.starts_a_guest()[0] else "tcg"


@pytest.fixture(scope="module")
def lab(daemon: Daemon, accelerator: str) -> Iterator[LabStack]:
    """Up, with ``pods-8`` measured once."""
    stack = LabStack(
        "lv-lab",
        {
            "hosts.accelerator": accelerator,
            "hosts.memoryMib": "1792",
            "hosts.diskGib": "6",
            "repeats": "1",
            "workloads[0]": "pods-8",
        },
        lab="libvirt-lab",
    )
    with standing(daemon, stack) as lab:
        yield lab


def kubectl(daemon: Daemon, stack: LabStack, *words: str) -> Any:
    """What the API server says, as the kubectl on the controller prints it."""
    config = stack.run_folder / "ssh_config"
    command = " ".join(["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *words, "-o", "json"])
    return json.loads(inside(daemon, stack, "ssh", "-F", str(config), "host-1", command))


def test_all_nodes_are_ready_and_alike(lab: LabStack, daemon: Daemon) -> None:
    nodes = kubectl(daemon, lab, "get", "nodes")["items"]
    assert sorted(node["metadata"]["name"] for node in nodes) == list(NODES)
    info = [node["status"]["nodeInfo"] for node in nodes]
    for key in ("kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion", "architecture"):
        assert len({each[key] for each in info}) == 1, key
    assert len({(n["status"]["capacity"]["cpu"], n["status"]["capacity"]["memory"]) for n in nodes}) == 1
    for node in nodes:
        ready = [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"]
        assert ready == ["True"]


def test_the_workload_was_measured_with_every_pod_up_and_says_the_accelerator(lab: LabStack, accelerator: str) -> None:
    result = json.loads((lab.results_folder / "latest-pods-8" / "result.json").read_text())
    assert result["fingerprint"]["lab"]["kind"] == "libvirt"
    assert result["fingerprint"]["lab"]["facts"]["accelerator"] == accelerator
    summary = json.loads((lab.results_folder / "latest-pods-8" / "summary.json").read_text())
    assert summary["success_rate"] == 1.0


def test_a_pod_runs_on_each_worker_and_they_reach_each_other(lab: LabStack, daemon: Daemon) -> None:
    config = str(lab.run_folder / "ssh_config")
    for worker in WORKERS:
        spec = {
            "nodeName": worker,
            "containers": [{"name": "b", "image": "litelab/busybox:1", "command": ["sleep", "3600"]}],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"on-{worker}"}, "spec": spec}
        apply = f"echo '{json.dumps(pod)}' | kubectl --kubeconfig=/etc/kubernetes/admin.conf apply -f -"
        inside(daemon, lab, "ssh", "-F", config, "host-1", apply)
    deadline = time.monotonic() + ROUTINE_S
    while True:
        pods = [kubectl(daemon, lab, "get", "pod", f"on-{worker}") for worker in WORKERS]
        if all(pod["status"]["phase"] == "Running" for pod in pods):
            break
        assert time.monotonic() < deadline, [pod["status"] for pod in pods]
        time.sleep(2)
    assert [pod["spec"]["nodeName"] for pod in pods] == list(WORKERS)
    address = pods[1]["status"]["podIP"]
    ping = f"kubectl --kubeconfig=/etc/kubernetes/admin.conf exec on-host-2 -- ping -c 3 -W 20 {address}"
    assert "0% packet loss" in inside(daemon, lab, "ssh", "-F", config, "host-1", ping)


def test_an_unchanged_lab_shows_no_change(lab: LabStack, daemon: Daemon) -> None:
    inside(daemon, lab, "pulumi", "preview", "--expect-no-changes", "--stack", lab.name, "--non-interactive")


def test_a_bundle_holds_every_guests_journal_and_no_key(lab: LabStack, daemon: Daemon) -> None:
    packed = Path(inside(daemon, lab, "python3", "-m", "tools.setup", "logs", lab.name).split()[0])
    with tarfile.open(PROJECT / packed) as bundle:
        texts = {
            member.name.partition("/")[2]: file.read().decode()
            for member in bundle.getmembers()
            if (file := bundle.extractfile(member))
        }
    for host in NODES:
        assert "kubelet" in texts[f"hosts/{host}/journal.txt"]
    assert "host-3" in texts["cluster/nodes.txt"]
    for key in [lab.run_folder / "id_ed25519", lab.run_folder / "kubeconfig"]:
        secret = max(key.read_text().split(), key=len)
        assert [name for name, text in texts.items() if secret in text] == []
    (PROJECT / packed).unlink()


def test_destroy_leaves_nothing(lab: LabStack, daemon: Daemon) -> None:
    inside(daemon, lab, "python3", "-m", "tools.setup", "destroy", lab.name)
    assert left_in(daemon) == NOTHING
