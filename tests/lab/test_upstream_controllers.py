"""Three controllers of upstream Kubernetes and a worker, and one controller after another down."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.lab.controllers import CONTROLLERS, ONE, THREE, becomes, ready_by, without
from tests.lab.distributions import start_pod
from tests.lab.lab import LabStack, wait_for

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]

CONTROL_PLANE = "etcd kube-apiserver kube-controller-manager kube-scheduler"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabStack]:
    settings = {
        **THREE,
        "hosts.memoryMib": "1536",
        "repeats": "1",
        "workloads": '["pods-8"]',
    }
    with LabStack("test-upstream-ha", settings).standing() as lab:
        yield lab


def node_is(lab: LabStack, context: str, node: str, status: str) -> bool:
    done = lab.kubectl("--context", context, "get", "node", node, "-o", "json", check=False)
    conditions = json.loads(done.stdout)["status"]["conditions"] if done.returncode == 0 else []
    return status in [c["status"] for c in conditions if c["type"] == "Ready"]


def test_all_are_nodes_and_the_workload_ran_on_the_worker_alone(lab: LabStack) -> None:
    nodes = {node["metadata"]["name"]: node for node in lab.get("nodes")["items"]}
    assert set(nodes) == {*CONTROLLERS, "host-4"}
    tainted = {name for name, node in nodes.items() if node["spec"].get("taints")}
    assert tainted == set(CONTROLLERS)
    result = json.loads((lab.results_folder / "latest-pods-8" / "result.json").read_text())
    assert {node for repeat in result["repeats"] for node in repeat["pods_per_node"]} == {"host-4"}
    assert result["summary"]["success_rate"] == 1.0


def test_the_kubeconfig_has_a_context_for_each(lab: LabStack) -> None:
    known = json.loads(lab.outputs(secrets=True)["kubeconfig"])
    assert [context["name"] for context in known["contexts"]] == list(CONTROLLERS)
    assert len({cluster["cluster"]["server"] for cluster in known["clusters"]}) == 3
    assert all(ready_by(lab, name) for name in CONTROLLERS)


def test_an_unchanged_up_runs_no_step(lab: LabStack) -> None:
    lab.pulumi("preview", "--expect-no-changes")


@pytest.mark.parametrize("down", CONTROLLERS)
def test_with_one_down_the_others_answer_and_a_pod_starts(down: str, lab: LabStack) -> None:
    with without(lab, down, CONTROL_PLANE) as other:
        start_pod(lab, f"while-{down}-is-down", context=other)
        for node in (down, "host-4"):
            assert node_is(lab, other, node, "True")


def test_with_the_first_host_off_the_worker_goes_on_and_it_comes_back(lab: LabStack) -> None:
    # Its link goes: nobody says that it is gone, as when a machine loses its power.
    lab.ssh("host-1", "nohup sh -c 'sleep 1; ip link set eth0 down; sleep 75; ip link set eth0 up; "
        "ip route add default via $(ip -4 -o addr show eth0 | sed -n \"s/.*inet \\([0-9.]*\\)\\.[0-9]*\\/.*/\\1.1/p\")' "
        ">/dev/null 2>&1 </dev/null &")  # fmt: skip
    wait_for("host-2 to miss host-1", 90, lambda: not node_is(lab, "host-2", "host-1", "True"))
    start_pod(lab, "while-the-first-host-is-off", context="host-2")
    assert node_is(lab, "host-2", "host-4", "True")
    wait_for("host-1 to be back", 120, lambda: ready_by(lab, "host-1") and node_is(lab, "host-1", "host-1", "True"))


def test_with_one_alone_and_three_again_it_is_another_cluster_on_the_same_hosts(lab: LabStack) -> None:
    lab.pulumi("config", "set", "--path", "litelab:workloads", "[]")
    for wanted in (ONE, THREE):
        becomes(lab, wanted, {*CONTROLLERS, "host-4"})
