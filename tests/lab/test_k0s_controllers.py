"""Three controllers of k0s and a worker, and one controller down. The double has one controller: the real one alone runs this."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.lab import distributions as common
from tests.lab.controllers import CONTROLLERS, ONE, THREE, becomes, ready_by, starts_a_pod_without
from tests.lab.installed import ask_for
from tests.lab.k0slabs import Vendor, artifacts, find_vendor, lab_of
from tests.lab.lab import LabStack

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
    pytest.mark.skipif(not os.environ.get("LITELAB_K0S"), reason="the double of k0s has one controller"),
]


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return find_vendor(tmp_path_factory.mktemp("k0s"))


@pytest.fixture(scope="module")
def lab(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    # Without failover: the image of k0s's balancer is not among those that it lists by itself.
    more = {**THREE, "failover": "false", "workloads": "[]"}
    lab = lab_of(vendor, "test-k0s-ha", tmp_path_factory.mktemp("cache"), **more)
    with lab.standing(common.UP_S):
        yield lab


def members(lab: LabStack) -> str:
    return lab.ssh("host-1", "k0s etcd member-list").stdout


class TestThreeControllers:
    def test_all_are_members_of_one_datastore(self, lab: LabStack) -> None:
        assert all(f"{host['address']}:2380" in members(lab) for host in lab.hosts[:3])

    def test_the_kubeconfig_has_a_context_for_each(self, lab: LabStack) -> None:
        assert all(ready_by(lab, name) for name in CONTROLLERS)

    def test_no_token_is_left(self, lab: LabStack) -> None:
        for role in ("worker", "controller"):
            listed = lab.ssh("host-1", f"k0s token list --role {role} 2>&1").stdout
            assert not re.search(rf"^\S+\s+\S*{role}", listed, re.MULTILINE)

    # Workers know the first alone, without failover.
    def test_with_another_down_a_pod_starts(self, lab: LabStack) -> None:
        starts_a_pod_without(lab, "host-2", "k0scontroller")

    def test_an_upgrade_goes_over_all_and_leaves_pods_running(self, lab: LabStack, vendor: Vendor) -> None:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_K0S_NEXT)")
        common.start_pod(lab, "keep")
        before = common.container_of(lab, "keep")
        ask_for(lab, vendor.next.version, artifacts(vendor.next))
        common.up(lab)
        said = lab.on_each("k0s status -o json | grep '\"Version\"'")
        assert all(vendor.next.version in text for text in said.values()), said
        assert common.container_of(lab, "keep") == before
        assert all(ready_by(lab, name) for name in CONTROLLERS)

    def test_with_one_alone_it_is_another_cluster_on_the_same_hosts(self, lab: LabStack) -> None:
        becomes(lab, ONE, {"host-2", "host-3", "host-4"})
        assert members(lab).count(":2380") == 1
