"""A fleet of MicroShift: every host a cluster of its own, and the load spread over all of them. Double or real one, as for one cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab import distributions as common
from tests.lab import microshift
from tests.lab.lab import LabStack

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> microshift.Vendor:
    return microshift.vendor(tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def lab(vendor: microshift.Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    """MicroShift on three hosts, each alone."""
    made = microshift.stack("test-fleet", vendor, tmp_path_factory.mktemp("cache"), topology="fleet")
    with made.standing(common.UP_S) as lab:
        yield lab


def test_each_context_is_a_cluster_of_its_own(lab: LabStack) -> None:
    for host in common.HOSTS:
        (node,) = lab.get("nodes", "--context", host)["items"]
        assert node["metadata"]["name"] == host
    assert lab.outputs()["cluster"]["nodes"] == list(common.HOSTS)


def test_the_load_was_spread_over_all_of_them(lab: LabStack) -> None:
    common.measured(lab, *common.BOTH)
    results = lab.outputs()["results"]["workloads"]
    assert results["pods-8"]["pods_per_node"] == {"host-1": 3, "host-2": 3, "host-3": 2}
    assert results["deployments-40"]["pods_per_node"] == {"host-1": 15, "host-2": 15, "host-3": 10}


def test_an_up_without_a_change_runs_no_step(lab: LabStack) -> None:
    common.unchanged_up_runs_no_step(lab)


def test_an_upgrade_goes_over_all_clusters_and_leaves_pods_running(lab: LabStack, vendor: microshift.Vendor) -> None:
    if vendor.next is None:
        pytest.skip("no later release is given (LITELAB_MICROSHIFT_NEXT)")
    for host in common.HOSTS:
        common.start_pod(lab, "keep", context=host)
    before = {host: common.container_of(lab, "keep", context=host) for host in common.HOSTS}
    lab.pulumi("config", "set", "--path", "litelab:workloads", "[]")
    lab.pulumi("config", "set", "--path", "litelab:artifacts.debs", str(vendor.next.folder))
    lab.pulumi("config", "set", "litelab:version", vendor.next.version)
    common.up(lab)
    for said in lab.on_each("microshift version").values():
        assert vendor.next.version in said
    assert {host: common.container_of(lab, "keep", context=host) for host in common.HOSTS} == before
