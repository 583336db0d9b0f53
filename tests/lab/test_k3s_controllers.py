"""Three servers of K3s and an agent, and one server down. The double has one server: the real one alone runs this."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab import distributions as common
from tests.lab.controllers import CONTROLLERS, ONE, THREE, becomes, ready_by, starts_a_pod_without
from tests.lab.installed import ask_for
from tests.lab.k3slabs import Vendor, artifacts, find_vendor, lab_of
from tests.lab.lab import LabStack

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
    pytest.mark.skipif(not os.environ.get("LITELAB_K3S"), reason="the double of K3s has one server"),
]

NODES = {*CONTROLLERS, "host-4"}


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return find_vendor(tmp_path_factory.mktemp("k3s"))


@pytest.fixture(scope="module")
def lab(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    lab = lab_of(vendor, "test-k3s-ha", tmp_path_factory.mktemp("cache"), **THREE, workloads="[]")
    with lab.standing(common.UP_S):
        yield lab


class TestThreeServers:
    def test_all_hold_the_datastore_and_repel_pods(self, lab: LabStack) -> None:
        roles = {
            node["metadata"]["name"]: "node-role.kubernetes.io/etcd" in node["metadata"]["labels"]
            for node in lab.get("nodes")["items"]
        }
        assert roles == {**dict.fromkeys(CONTROLLERS, True), "host-4": False}
        assert {name for name, keys in common.taints(lab).items() if keys} == set(CONTROLLERS)

    def test_the_kubeconfig_has_a_context_for_each(self, lab: LabStack) -> None:
        assert all(ready_by(lab, name) for name in CONTROLLERS)

    def test_the_servers_token_is_another_than_the_one_that_they_joined_with(self, lab: LabStack) -> None:
        used = lab.ssh(
            "host-2", "stat -c %Y /etc/rancher/k3s/token; stat -c %Y /var/lib/rancher/k3s/server/tls/server-ca.crt"
        ).stdout
        replaced, joined = (int(word) for word in used.split())
        assert replaced >= joined
        held = lab.ssh("host-1", "sha256sum </var/lib/rancher/k3s/server/token").stdout
        assert lab.ssh("host-3", "sha256sum </etc/rancher/k3s/token").stdout == held

    @pytest.mark.parametrize("down", CONTROLLERS)
    def test_with_one_down_the_others_answer_and_a_pod_starts(self, down: str, lab: LabStack) -> None:
        starts_a_pod_without(lab, down, "k3s")

    def test_an_upgrade_goes_over_all_and_leaves_pods_running(self, lab: LabStack, vendor: Vendor) -> None:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_K3S_NEXT)")
        common.start_pod(lab, "keep")
        before = common.container_of(lab, "keep")
        ask_for(lab, vendor.next.version, artifacts(vendor, vendor.next))
        common.up(lab)
        versions = {n["status"]["nodeInfo"]["kubeletVersion"] for n in lab.get("nodes")["items"]}
        assert {v.partition("+")[0] for v in versions} == {vendor.next.version.partition("+")[0]}
        assert common.container_of(lab, "keep") == before
        assert all(ready_by(lab, name) for name in CONTROLLERS)

    def test_with_one_alone_it_is_another_cluster_on_the_same_hosts(self, lab: LabStack) -> None:
        becomes(lab, ONE, NODES)
        labels = [node["metadata"]["labels"] for node in lab.get("nodes")["items"]]
        assert not [one for one in labels if "node-role.kubernetes.io/etcd" in one]
