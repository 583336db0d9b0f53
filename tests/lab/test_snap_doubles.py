"""MicroK8s and MicroShift by their own install scripts, on hosts that have a double of each: joined, upgraded, held to what is promised."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.hostimage import double_cache
from tests.doubles.microshift_packages import debs
from tests.lab.lab import LabStack, environment, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root")]

STORE = """microk8s 1.34/stable v1.34.4 8511
microk8s 1.34/candidate v1.34.5 8600
core22 latest/stable 20250930 2139
"""
COMMON = {
    "hosts.kind": "nspawn",
    "hosts.internet": "false",
    "hosts.memoryMib": "1536",
    "workloads": "[pods-8]",
    "repeats": "1",
}
RELEASES = {"4.21.0_g29f429c21_4.21.0_okd_scos.ec.15": "v1.34.4", "4.21.1_g29f429c22_4.21.1_okd_scos.ec.16": "v1.34.5"}


def up(lab: LabStack) -> str:
    return lab.pulumi("up", "--yes", "--skip-preview", timeout=1800).stdout


def steps_run(lab: LabStack, host: str) -> str:
    return lab.ssh(host, "cat /var/lib/litelab/steps.jsonl").stdout


def start_pod(lab: LabStack, name: str) -> None:
    """A pod that would not come back if its process ended."""
    image = ["--image=docker.io/litelab/busybox:1", "--image-pull-policy=Never", "--restart=Never"]
    wait_for(
        "the default service account", 60,
        lambda: lab.kubectl("get", "serviceaccount", "default", check=False).returncode == 0 or None,
    )  # fmt: skip
    lab.kubectl("run", name, *image, "--", "sleep", "100000")
    lab.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s", timeout=150)


def container_of(lab: LabStack, name: str) -> str:
    (status,) = lab.get("pod", name)["status"]["containerStatuses"]
    assert "running" in status["state"]
    return str(status["containerID"])


class TestMicrok8s:
    @pytest.fixture(scope="class")
    def lab(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
        """One control plane, two workers."""
        env = environment()
        cache = double_cache(
            Path(env["LITELAB_CACHE"]), tmp_path_factory.mktemp("cache"), "microk8s", store=STORE, releases=("v1.34.5",)
        )
        lab = LabStack("test-microk8s", COMMON, {**env, "LITELAB_CACHE": str(cache)}, "microk8s-lab")
        try:
            lab.prepare()
            up(lab)
            yield lab
        finally:
            lab.remove()

    def test_every_host_is_a_node_and_the_control_plane_repels_pods(self, lab: LabStack) -> None:
        nodes = {n["metadata"]["name"]: n for n in lab.get("nodes")["items"]}
        assert nodes.keys() == {"host-1", "host-2", "host-3"}
        taints = {name: [t["key"] for t in n["spec"].get("taints", [])] for name, n in nodes.items()}
        assert taints == {"host-1": ["node-role.kubernetes.io/control-plane"], "host-2": [], "host-3": []}

    def test_what_was_measured_came_up(self, lab: LabStack) -> None:
        assert lab.outputs()["results"]["workloads"]["pods-8"]["success_rate"] == 1

    def test_hosts_joined_one_after_another(self, lab: LabStack) -> None:
        made = {n["metadata"]["name"]: n["metadata"]["creationTimestamp"] for n in lab.get("nodes")["items"]}
        assert made["host-1"] <= made["host-2"] <= made["host-3"]
        ready = next(
            c["lastTransitionTime"] for c in lab.get("node", "host-2")["status"]["conditions"] if c["type"] == "Ready"
        )
        assert ready <= made["host-3"]

    def test_no_token_is_left_and_a_used_one_is_refused(self, lab: LabStack) -> None:
        tokens = "/var/snap/microk8s/current/credentials/cluster-tokens.txt"
        assert lab.ssh("host-1", f"cat {tokens}").stdout == ""
        assert lab.ssh("host-1", "ls /var/lib/litelab").stdout.split() == ["steps.jsonl"]
        check = lab.ssh("host-1", "/snap/bin/microk8s add-node --format token-check").stdout.strip().partition("/")[2]
        lab.ssh("host-1", f"truncate -s 0 {tokens}")
        address = lab.hosts[0]["address"]
        refused = lab.ssh(
            "host-3", f"/snap/bin/microk8s join {address}:25000/{'a' * 32}/{check} --worker; code=$?; "
            "rm -f /var/snap/microk8s/current/var/lock/join-in-progress; exit $code", check=False,
        )  # fmt: skip
        assert refused.returncode == 6
        assert "invalid token (500)" in refused.stdout

    def test_refreshes_are_held_and_rbac_is_on(self, lab: LabStack) -> None:
        for listed in lab.on_each("snap list microk8s").values():
            assert "held" in listed
        asked = lab.kubectl("auth", "can-i", "*", "*", "--as=somebody", check=False)
        assert asked.stdout.strip() == "no"

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        before = {h: steps_run(lab, h) for h in ("host-1", "host-2", "host-3")}
        lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
        assert {h: steps_run(lab, h) for h in before} == before

    def test_an_upgrade_goes_over_the_hosts_and_leaves_pods_running(self, lab: LabStack) -> None:
        start_pod(lab, "keep")
        before = container_of(lab, "keep")
        lab.pulumi("config", "set", "--path", "litelab:workloads", "[]")
        lab.pulumi("config", "set", "litelab:version", "v1.34.5+rev8600")
        up(lab)
        versions = {n["status"]["nodeInfo"]["kubeletVersion"] for n in lab.get("nodes")["items"]}
        assert versions == {"v1.34.5"}
        assert container_of(lab, "keep") == before
        ended = [
            json.loads(line)["step"] for h in ("host-1", "host-2", "host-3") for line in steps_run(lab, h).splitlines()
        ]
        assert ended.count("upgrade") == 3
        assert ended.count("node") == 2

    def test_a_downgrade_is_refused_with_the_reason(self, lab: LabStack) -> None:
        lab.pulumi("config", "set", "litelab:version", "v1.34.4")
        refused = lab.pulumi("up", "--yes", "--skip-preview", check=False)
        assert refused.returncode != 0
        assert re.search(r"it runs v1\.34\.5\+rev8600, and the lab's file asks for v1\.34\.4", refused.stdout)

    def test_no_token_is_in_the_state(self, lab: LabStack) -> None:
        state = lab.pulumi("stack", "export", "--show-secrets").stdout
        assert not re.search(r"\b[0-9a-f]{32}/[0-9a-f]{12}\b", state)


class TestMicroshift:
    @pytest.fixture(scope="class")
    def archives(self, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        """A release's archive by its version."""
        return {v: debs(tmp_path_factory.mktemp("release"), v, kubernetes) for v, kubernetes in RELEASES.items()}

    @pytest.fixture(scope="class")
    def lab(self, tmp_path_factory: pytest.TempPathFactory, archives: dict[str, Path]) -> Iterator[LabStack]:
        """MicroShift on the first host of two."""
        env = environment()
        cache = double_cache(
            Path(env["LITELAB_CACHE"]), tmp_path_factory.mktemp("cache"), "microshift", releases=("v1.34.5",)
        )
        settings = {**COMMON, "workers": "1", "package": "deb", "artifacts.debs": str(next(iter(archives.values())))}
        lab = LabStack("test-microshift", settings, {**env, "LITELAB_CACHE": str(cache)}, "microshift-lab")
        try:
            lab.prepare()
            up(lab)
            yield lab
        finally:
            lab.remove()

    def test_it_runs_on_the_first_host_alone(self, lab: LabStack) -> None:
        (node,) = lab.get("nodes")["items"]
        assert node["metadata"]["name"] == "host-1"
        assert lab.ssh("host-2", "ls /opt/litelab /usr/bin/microshift", check=False).returncode != 0

    def test_the_kubeconfig_is_the_one_that_it_wrote_for_the_address(self, lab: LabStack) -> None:
        address = lab.hosts[0]["address"]
        wrote = lab.ssh("host-1", f"cat /var/lib/microshift/resources/kubeadmin/{address}/kubeconfig").stdout
        assert lab.outputs(secrets=True)["kubeconfig"].strip() == wrote.strip()

    def test_what_was_measured_came_up(self, lab: LabStack) -> None:
        assert lab.outputs()["results"]["workloads"]["pods-8"]["success_rate"] == 1

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        before = steps_run(lab, "host-1")
        lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
        assert steps_run(lab, "host-1") == before

    def test_an_upgrade_leaves_pods_running(self, lab: LabStack, archives: dict[str, Path]) -> None:
        start_pod(lab, "keep")
        before = container_of(lab, "keep")
        version, archive = list(archives.items())[1]
        lab.pulumi("config", "set", "--path", "litelab:workloads", "[]")
        lab.pulumi("config", "set", "--path", "litelab:artifacts.debs", str(archive))
        lab.pulumi("config", "set", "litelab:version", version)
        up(lab)
        assert version in lab.ssh("host-1", "microshift version").stdout
        assert container_of(lab, "keep") == before

    def test_a_reset_leaves_nothing_on_a_host_that_lives_on(self, lab: LabStack) -> None:
        lab.ssh("host-1", "/opt/litelab/microshift/scripts/reset.sh", timeout=300)
        assert lab.ssh("host-1", "ls /opt/litelab").stdout == ""
        assert lab.ssh("host-1", "ss -Htln | grep -v ':22 ' || true").stdout == ""
        assert lab.ssh("host-1", "ip -br link | grep -E 'cni0|flannel' || true").stdout == ""
        assert lab.ssh("host-1", "ls -d /etc/microshift /var/lib/microshift", check=False).returncode != 0
