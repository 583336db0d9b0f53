"""MicroShift by the lab's own install scripts: installed, measured, upgraded, reset, and held to what is promised.

Against the double, or by environment variables against the real one (``tests/lab/microshift.py``). The short version (``-m 'lab and not
slow'``) is a lab that is installed, measured and reset.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
import yaml

from tests.lab import distributions as common
from tests.lab import microshift
from tests.lab.lab import LabStack
from tests.lab.microshift import Release, Vendor

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return microshift.vendor(tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def lab(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    """MicroShift on the first host of three."""
    with microshift.stack("test-microshift", vendor, tmp_path_factory.mktemp("cache")).standing(common.UP_S) as lab:
        yield lab


class TestInstalled:
    def test_it_runs_on_the_first_host_alone(self, lab: LabStack) -> None:
        assert common.taints(lab) == {"host-1": []}
        for other in ("host-2", "host-3"):
            assert lab.ssh(other, "ls -d /opt/litelab /usr/bin/microshift 2>/dev/null || true").stdout == ""

    def test_the_kubeconfig_is_the_one_that_it_wrote_for_the_address(self, lab: LabStack) -> None:
        address = lab.hosts[0]["address"]
        wrote = yaml.safe_load(
            lab.ssh("host-1", f"cat /var/lib/microshift/resources/kubeadmin/{address}/kubeconfig").stdout
        )
        given = json.loads(lab.outputs(secrets=True)["kubeconfig"])
        assert given["current-context"] == "host-1"
        assert [one["cluster"] for one in given["clusters"]] == [one["cluster"] for one in wrote["clusters"]]
        assert [one["user"] for one in given["users"]] == [one["user"] for one in wrote["users"]]

    def test_what_was_measured_came_up(self, lab: LabStack) -> None:
        common.measured(lab, *common.BOTH)

    def test_a_pod_asks_the_clusters_dns(self, lab: LabStack) -> None:
        common.start_pod(lab, "asks")
        asked = lab.kubectl("exec", "asks", "--", "nslookup", "kubernetes.default.svc.cluster.local")
        assert "Address: 10.43.0.1" in asked.stdout.replace(" 1:", ":")
        lab.kubectl("delete", "pod", "asks", "--now", timeout=120)

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        common.unchanged_up_runs_no_step(lab)


@pytest.mark.slow
class TestUpgrade:
    @pytest.fixture
    def later(self, vendor: Vendor) -> Release:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_MICROSHIFT_NEXT)")
        return vendor.next

    def test_it_leaves_pods_running(self, lab: LabStack, later: Release) -> None:
        common.start_pod(lab, "keep")
        before = common.container_of(lab, "keep")
        lab.pulumi("config", "set", "--path", "litelab:workloads", "[]")
        lab.pulumi("config", "set", "--path", "litelab:artifacts.debs", str(later.folder))
        lab.pulumi("config", "set", "litelab:version", later.version)
        common.up(lab)
        assert later.version in lab.ssh("host-1", "microshift version").stdout
        assert common.container_of(lab, "keep") == before
        assert common.steps_of(lab, ["host-1"])["host-1"].count("upgrade") == 1

    def test_a_downgrade_is_refused_with_the_reason(self, lab: LabStack, vendor: Vendor, later: Release) -> None:
        lab.pulumi("config", "set", "--path", "litelab:artifacts.debs", str(vendor.first.folder))
        lab.pulumi("config", "set", "litelab:version", vendor.first.version)
        refused = lab.pulumi("up", "--yes", "--skip-preview", check=False)
        assert refused.returncode != 0
        assert f"it runs {later.version}, and the lab's file asks for {vendor.first.version}" in refused.stdout
        assert "a cluster is never downgraded" in refused.stdout


class TestReset:
    def test_a_host_that_lives_on_is_as_one_that_never_had_it(self, lab: LabStack, vendor: Vendor) -> None:
        common.reset_leaves_nothing(lab, "microshift", "host-1", "/etc/microshift", "/var/lib/microshift")
        look = "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | grep -v '^un'; systemctl list-unit-files --no-legend | awk '{ print $1, $2 }'"
        if not vendor.is_double:
            # Behind the double runs a containerd, which leaves folders of its own.
            look += "; find /etc /opt /usr /var/lib -xdev -not -path '/var/lib/dpkg/*' -not -path '/var/lib/systemd/*'"
        was, now = (set(lab.ssh(host, look).stdout.splitlines()) for host in ("host-2", "host-1"))
        # The lab's own folders, which further steps use; and apt's.
        assert now ^ was <= {"/opt/litelab", "/var/lib/litelab", "/var/lib/apt/lists/auxfiles"}
