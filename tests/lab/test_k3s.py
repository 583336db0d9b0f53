"""K3s by the lab's own install scripts: joined, measured, upgraded, reset, and held to what is promised.

Without more it runs against the double (``tests/doubles/k3s``). With ``LITELAB_K3S`` (a K3s binary), ``LITELAB_K3S_INSTALL`` (its
``install.sh``) and, for the upgrade, ``LITELAB_K3S_NEXT`` (a later one), the same tests run against the real one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest

from tests.lab import distributions as common
from tests.lab.installed import ask_for, refuses_a_downgrade, times_run
from tests.lab.k3slabs import Vendor, artifacts, find_vendor, lab_of
from tests.lab.lab import LabStack

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return find_vendor(tmp_path_factory.mktemp("k3s"))


@pytest.fixture(scope="module")
def lab(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    """One server, two agents, without any way out."""
    lab = lab_of(vendor, "test-k3s", tmp_path_factory.mktemp("cache"), workloads=json.dumps(common.BOTH))
    with lab.standing(common.UP_S):
        yield lab


class TestInstalled:
    def test_every_host_is_a_node_and_the_server_repels_pods(self, lab: LabStack) -> None:
        assert common.taints(lab) == {"host-1": ["node-role.kubernetes.io/control-plane"], "host-2": [], "host-3": []}

    def test_what_was_measured_came_up(self, lab: LabStack) -> None:
        common.measured(lab, *common.BOTH)

    def test_the_kubeconfig_has_a_context_named_as_the_server(self, lab: LabStack) -> None:
        assert lab.kubectl("--context", "host-1", "get", "--raw", "/readyz").stdout == "ok"

    def test_no_token_is_left_and_none_is_in_the_state(self, lab: LabStack) -> None:
        assert len(lab.ssh("host-1", "k3s token list").stdout.splitlines()) == 1
        assert not re.search(r"K10[0-9a-f]{64}::", lab.pulumi("stack", "export", "--show-secrets").stdout)

    def test_an_agent_restarts_when_its_token_is_gone(self, lab: LabStack) -> None:
        lab.ssh("host-2", "systemctl restart k3s-agent", timeout=120)
        lab.kubectl("wait", "node/host-2", "--for=condition=Ready", "--timeout=60s", timeout=90)

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        common.unchanged_up_runs_no_step(lab)


@pytest.mark.slow
class TestTokens:
    """What K3s itself refuses; the double must refuse it too."""

    def refused(self, lab: LabStack, token: str) -> str:
        """What an agent that starts with this token says, again and again."""
        config = f"server: https://{lab.hosts[0]['address']}:6443\\ntoken-file: /run/wrong-token\\nnode-name: other\\n"
        script = (
            "systemctl stop k3s-agent; cd /etc/rancher/k3s; cp config.yaml kept; mv /var/lib/rancher/k3s/agent /var/lib/rancher/k3s/kept; "
            f"printf '{config}' >config.yaml; echo '{token}' >/run/wrong-token; timeout 15 k3s agent 2>&1 | tail -n 100; "
            "mv kept config.yaml; rm -rf /var/lib/rancher/k3s/agent; mv /var/lib/rancher/k3s/kept /var/lib/rancher/k3s/agent; systemctl start k3s-agent"
        )
        return lab.ssh("host-3", script, timeout=180).stdout

    def test_a_wrong_secret_is_not_authorized(self, lab: LabStack) -> None:
        right = lab.ssh("host-1", "cat /var/lib/rancher/k3s/server/token").stdout.strip()
        assert "not authorized" in self.refused(lab, f"{right.partition('::')[0]}::abcdef.0123456789abcdef")

    def test_another_authority_is_not_trusted(self, lab: LabStack) -> None:
        assert "CA hash does not match" in self.refused(lab, f"K10{'0' * 64}::abcdef.0123456789abcdef")


@pytest.mark.slow
class TestUpgrade:
    def test_it_goes_over_the_hosts_and_leaves_pods_running(self, lab: LabStack, vendor: Vendor) -> None:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_K3S_NEXT)")
        common.start_pod(lab, "keep")
        before = common.container_of(lab, "keep")
        ask_for(lab, vendor.next.version, artifacts(vendor, vendor.next))
        common.up(lab)
        versions = {n["status"]["nodeInfo"]["kubeletVersion"] for n in lab.get("nodes")["items"]}
        assert {v.partition("+")[0] for v in versions} == {vendor.next.version.partition("+")[0]}
        assert common.container_of(lab, "keep") == before
        assert times_run(lab, ("upgrade", "node", "init")) == [3, 2, 1]

    def test_a_downgrade_is_refused_with_the_reason(self, lab: LabStack, vendor: Vendor) -> None:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_K3S_NEXT)")
        refuses_a_downgrade(lab, vendor.first.version, artifacts(vendor, vendor.first))


class TestReset:
    def test_a_host_that_lives_on_has_nothing_left(self, lab: LabStack) -> None:
        for host in ("host-2", "host-1"):
            common.reset_leaves_nothing(lab, "k3s", host, "/etc/rancher", "/usr/local/bin/k3s", "/var/log/pods")
