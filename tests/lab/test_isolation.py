"""Controllers that run workloads and such as are no node, where that is not the default: what ``kubectl get nodes`` must show then.

The real K3s and k0s where the environment names them; else K3s's double alone, for k0s's knows no controller that is a node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab import distributions as common
from tests.lab import k0slabs, k3slabs
from tests.lab.lab import LabStack

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]


@dataclass(frozen=True)
class Case:
    """A setting, and the nodes that two hosts are with it."""

    part: str
    setting: str
    nodes: tuple[str, ...]


CASES = [
    Case("k0s", "controllerRunsWorkloads", ("host-1", "host-2")),
    Case("k3s", "controllerRunsWorkloads", ("host-1", "host-2")),
    Case("k3s", "agentless", ("host-2",)),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case.part}-{case.setting}")
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    if found.part == "k0s" and "LITELAB_K0S" not in os.environ:
        pytest.skip("the double of k0s knows no controller that is a node; LITELAB_K0S names no real one")
    return found


@pytest.fixture(scope="module")
def lab(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    labs = {"k0s": k0slabs, "k3s": k3slabs}[case.part]
    vendor = labs.find_vendor(tmp_path_factory.mktemp(case.part))
    more = {case.setting: "true", "workers": "1"}
    lab = labs.lab_of(vendor, f"test-{case.part}-nodes", tmp_path_factory.mktemp("cache"), **more)
    with lab.standing(common.UP_S):
        yield lab


def test_the_nodes_are_those_and_take_pods(lab: LabStack, case: Case) -> None:
    assert common.taints(lab) == {name: [] for name in case.nodes}
    assert lab.outputs()["cluster"]["nodes"] == list(case.nodes)


def test_what_was_measured_came_up_on_all_of_them(lab: LabStack, case: Case) -> None:
    common.measured(lab, "pods-8")
    assert set(lab.outputs()["results"]["workloads"]["pods-8"]["pods_per_node"]) == set(case.nodes)


def test_logs_come_through_from_every_node(lab: LabStack, case: Case) -> None:
    for name in case.nodes:
        pinned = f'{{"spec": {{"nodeName": "{name}"}}}}'
        pod = f"says-{name}"
        lab.kubectl("run", pod, *common.BUSYBOX, f"--overrides={pinned}", "--", "sh", "-c", "echo hello; sleep 1000")
        lab.kubectl("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=120s", timeout=150)
        assert lab.kubectl("logs", pod).stdout == "hello\n"
