"""k0s by the lab's own install scripts, on hosts without any way out: joined, measured, reset, and held to what is promised.

There is no double of k0s: it runs against the real one where ``LITELAB_K0S`` (a k0s binary) and ``LITELAB_K0S_IMAGES`` (a folder of
tars with the images that this version lists by ``k0s airgap list-images``) are given, and not at all elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.lab import LabStack

BINARY, IMAGES = os.environ.get("LITELAB_K0S", ""), os.environ.get("LITELAB_K0S_IMAGES", "")

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
    pytest.mark.skipif(not (BINARY and IMAGES), reason="needs a real k0s: LITELAB_K0S and LITELAB_K0S_IMAGES"),
]

STEPS = "cat /var/lib/litelab/steps.jsonl"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabStack]:
    """One controller without kubelet, two workers."""
    version = subprocess.run([BINARY, "version"], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    settings = {
        "hosts.kind": "nspawn",
        "hosts.memoryMib": "1536",
        "workloads": "[pods-8]",
        "repeats": "1",
        "version": version,
        "artifacts": json.dumps({"k0s": BINARY}),
        "images": json.dumps([IMAGES]),
    }
    lab = LabStack("test-k0s", settings, lab="k0s-lab")
    try:
        lab.prepare()
        lab.pulumi("up", "--yes", "--skip-preview", timeout=1800)
        yield lab
    finally:
        lab.remove()


class TestInstalled:
    def test_the_workers_are_nodes_and_the_controller_is_none(self, lab: LabStack) -> None:
        assert {n["metadata"]["name"] for n in lab.get("nodes")["items"]} == {"host-2", "host-3"}
        assert lab.ssh("host-1", "pgrep -x kubelet", check=False).returncode == 1

    def test_what_was_measured_came_up(self, lab: LabStack) -> None:
        assert lab.outputs()["results"]["workloads"]["pods-8"]["success_rate"] == 1

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

    def test_a_worker_restarts_when_its_token_is_gone(self, lab: LabStack) -> None:
        lab.ssh("host-2", "systemctl restart k0sworker", timeout=120)
        lab.kubectl("wait", "node/host-2", "--for=condition=Ready", "--timeout=90s", timeout=120)

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        before = lab.on_each(STEPS)
        lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
        assert lab.on_each(STEPS) == before


class TestReset:
    def test_a_host_that_lives_on_has_nothing_left(self, lab: LabStack) -> None:
        for host in ("host-2", "host-1"):
            lab.ssh(host, "/opt/litelab/k0s/scripts/reset.sh", timeout=300)
            assert lab.ssh(host, "ls /opt/litelab").stdout == ""
            assert lab.ssh(host, "ss -Htln | grep -v ':22 ' || true").stdout == ""
            assert lab.ssh(host, "ip -br link | grep -E 'kube-bridge|kube-dummy|cni0' || true").stdout == ""
            assert lab.ssh(host, "ls -d /etc/k0s /usr/local/bin/k0s", check=False).returncode != 0
            assert lab.ssh(host, "iptables-save 2>/dev/null | grep -c KUBE || true").stdout.strip() == "0"
