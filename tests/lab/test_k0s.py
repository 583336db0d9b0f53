"""k0s by the lab's own install scripts, on hosts without any way out: joined, measured, upgraded, reset, and held to what is promised.

Without more it runs against the double (``tests/doubles/k0s``). With ``LITELAB_K0S`` (a k0s binary), ``LITELAB_K0S_IMAGES`` (a folder
of tars with the images that it lists by ``k0s airgap list-images``) and, for the upgrade, ``LITELAB_K0S_NEXT`` (a later one), the
same tests run against the real one.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from collections.abc import Iterator

import pytest

from tests.lab import distributions as common
from tests.lab.installed import ask_for, refuses_a_downgrade, times_run
from tests.lab.k0slabs import Vendor, artifacts, find_vendor, lab_of
from tests.lab.lab import LabStack, wait_for

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return find_vendor(tmp_path_factory.mktemp("k0s"))


@pytest.fixture(scope="module")
def lab(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    """One controller without kubelet, two workers."""
    lab = lab_of(vendor, "test-k0s", tmp_path_factory.mktemp("cache"), workloads=json.dumps(common.BOTH))
    with lab.standing(common.UP_S):
        yield lab


class TestInstalled:
    def test_the_workers_are_nodes_and_the_controller_is_none(self, lab: LabStack) -> None:
        assert {n["metadata"]["name"] for n in lab.get("nodes")["items"]} == {"host-2", "host-3"}
        assert lab.ssh("host-1", "pgrep -x kubelet", check=False).returncode == 1

    def test_what_was_measured_came_up(self, lab: LabStack) -> None:
        common.measured(lab, *common.BOTH)

    def test_logs_come_through_though_the_controller_is_no_node(self, lab: LabStack) -> None:
        assert "CoreDNS" in lab.kubectl("-n", "kube-system", "logs", "deploy/coredns").stdout

    def test_telemetry_and_what_minimal_leaves_out_are_off(self, lab: LabStack) -> None:
        config = lab.ssh("host-1", "cat /etc/k0s/k0s.yaml").stdout
        assert "telemetry: {enabled: false}" in config
        assert lab.kubectl("-n", "kube-system", "get", "deploy", "metrics-server", check=False).returncode == 1

    def test_no_token_is_left_and_none_is_in_the_state(self, lab: LabStack) -> None:
        listed = lab.ssh("host-1", "k0s token list --role worker 2>&1").stdout
        assert not re.search(r"^\S+\s+\S*worker", listed, re.MULTILINE)
        assert lab.ssh("host-2", "cat /etc/k0s/token").stdout == "# used\n"
        # A packed token begins like every gzip in base64.
        assert "H4sI" not in lab.pulumi("stack", "export", "--show-secrets").stdout

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        common.unchanged_up_runs_no_step(lab)

    def test_a_worker_restarts_when_its_token_is_gone(self, lab: LabStack) -> None:
        lab.ssh("host-2", "systemctl restart k0sworker", timeout=120)
        lab.kubectl("wait", "node/host-2", "--for=condition=Ready", "--timeout=90s", timeout=120)


@pytest.mark.slow
class TestRefusals:
    """What k0s itself refuses; the double must refuse it too."""

    def refused(self, lab: LabStack, token: str) -> str:
        """What a worker that is to join with this token says first of it, within 90 s."""
        script = (
            "systemctl stop k0sworker; cd /var/lib/k0s; mv kubelet.conf kept; "
            f"printf '%s\\n' '{token}' >/run/wrong-token; timeout -k 5 90 k0s worker --debug --token-file /run/wrong-token 2>&1 | grep -m 1 -E 'Unauthorized|^Error:'; "
            "rm -f /run/wrong-token kubelet.conf; mv kept kubelet.conf; systemctl start k0sworker"
        )
        return lab.ssh("host-3", script, timeout=180).stdout

    def token(self, lab: LabStack, *flags: str) -> str:
        return lab.ssh("host-1", f"k0s token create {' '.join(flags)}").stdout.strip()

    def test_a_token_that_was_invalidated_is_not_authorized(self, lab: LabStack) -> None:
        token = self.token(lab, "--role=worker", "--expiry=1h")
        secret = re.search(r"token: (\S+)\.", gzip.decompress(base64.b64decode(token)).decode())
        assert secret
        lab.ssh("host-1", f"k0s token invalidate {secret.group(1)}")
        assert "Unauthorized" in self.refused(lab, token)

    def test_a_token_that_has_expired_is_not_authorized(self, lab: LabStack) -> None:
        token = self.token(lab, "--role=worker", "--expiry=1s")
        expired = int(lab.ssh("host-1", "date +%s").stdout) + 2
        wait_for("the token to expire", 10, lambda: int(lab.ssh("host-1", "date +%s").stdout) >= expired or None)
        assert "Unauthorized" in self.refused(lab, token)

    def test_a_controllers_token_is_of_the_wrong_type(self, lab: LabStack) -> None:
        token = self.token(lab, "--role=controller", "--expiry=1m")
        assert "wrong token type" in self.refused(lab, token)

    def test_what_is_no_token_cannot_be_decoded(self, lab: LabStack) -> None:
        assert "failed to decode join token" in self.refused(lab, "# used")

    @pytest.mark.parametrize("words", ["install worker", "token create", "reset"])
    def test_an_unknown_flag(self, lab: LabStack, words: str) -> None:
        done = lab.ssh("host-1", f"k0s {words} --no-such-flag", check=False)
        assert (done.returncode, "unknown flag: --no-such-flag" in done.stdout + done.stderr) == (1, True)


@pytest.mark.slow
class TestUpgrade:
    def test_it_goes_over_the_hosts_and_leaves_pods_running(self, lab: LabStack, vendor: Vendor) -> None:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_K0S_NEXT)")
        common.start_pod(lab, "keep")
        before = common.container_of(lab, "keep")
        ask_for(lab, vendor.next.version, artifacts(vendor.next))
        common.up(lab)
        running = lab.on_each("k0s status -o json")
        assert {json.loads(text)["Version"] for text in running.values()} == {vendor.next.version}
        assert common.container_of(lab, "keep") == before
        assert times_run(lab, ("upgrade", "node", "init")) == [3, 2, 1]

    def test_a_downgrade_is_refused_with_the_reason(self, lab: LabStack, vendor: Vendor) -> None:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_K0S_NEXT)")
        refuses_a_downgrade(lab, vendor.first.version, artifacts(vendor.first))


class TestReset:
    def test_a_host_that_lives_on_has_nothing_left(self, lab: LabStack) -> None:
        for host in ("host-2", "host-1"):
            common.reset_leaves_nothing(lab, "k0s", host, "/etc/k0s", "/usr/local/bin/k0s", "/run/k0s", "/var/log/pods")
            # kube-router's, to the other hosts' pods.
            assert lab.ssh(host, "ip route show proto 17").stdout == ""
