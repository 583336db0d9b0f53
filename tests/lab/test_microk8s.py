"""MicroK8s by its own install scripts, on hosts that have a double of it (``tests/doubles/microk8s``): joined, measured, upgraded, reset.

The short version (``-m 'lab and not slow'``) is a lab that is installed, joined, measured and reset.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.hostimage import LATER, RELEASE, double_cache
from tests.lab import distributions as common
from tests.lab.lab import LabStack, environment

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]

STORE = """microk8s 1.35/stable v1.35.4 8511
microk8s 1.35/candidate v1.35.5 8600
core22 latest/stable 20250930 2139
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    """One control plane, two workers."""
    env = environment()
    cache = double_cache(
        Path(env["LITELAB_CACHE"]), tmp_path_factory.mktemp("cache"), "microk8s", store=STORE, releases=(LATER,)
    )
    settings = {**common.COMMON, "workloads": json.dumps(common.BOTH)}
    lab = LabStack("test-microk8s", settings, {**env, "LITELAB_CACHE": str(cache)}, "microk8s-lab")
    with lab.standing(common.UP_S):
        yield lab


class TestInstalled:
    def test_every_host_is_a_node_and_the_control_plane_repels_pods(self, lab: LabStack) -> None:
        assert common.taints(lab) == {
            "host-1": ["node-role.kubernetes.io/control-plane"],
            "host-2": [],
            "host-3": [],
        }

    def test_what_was_measured_came_up(self, lab: LabStack) -> None:
        common.measured(lab, *common.BOTH)

    def test_hosts_joined_one_after_another(self, lab: LabStack) -> None:
        made = {n["metadata"]["name"]: n["metadata"]["creationTimestamp"] for n in lab.get("nodes")["items"]}
        assert made["host-1"] <= made["host-2"] <= made["host-3"]
        ready = next(
            c["lastTransitionTime"] for c in lab.get("node", "host-2")["status"]["conditions"] if c["type"] == "Ready"
        )
        assert ready <= made["host-3"]

    def test_refreshes_are_held_and_rbac_is_on(self, lab: LabStack) -> None:
        for listed in lab.on_each("snap list microk8s").values():
            assert "held" in listed
        asked = lab.kubectl("auth", "can-i", "*", "*", "--as=somebody", check=False)
        assert asked.stdout.strip() == "no"

    def test_no_token_is_in_the_state(self, lab: LabStack) -> None:
        state = lab.pulumi("stack", "export", "--show-secrets").stdout
        assert not re.search(r"\b[0-9a-f]{32}/[0-9a-f]{12}\b", state)

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        common.unchanged_up_runs_no_step(lab)


@pytest.mark.slow
class TestOfTheWholeVersion:
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

    def test_an_upgrade_goes_over_the_hosts_and_leaves_pods_running(self, lab: LabStack) -> None:
        common.start_pod(lab, "keep")
        before = common.container_of(lab, "keep")
        lab.pulumi("config", "set", "--path", "litelab:workloads", "[]")
        lab.pulumi("config", "set", "litelab:version", f"{LATER}+rev8600")
        common.up(lab)
        versions = {n["status"]["nodeInfo"]["kubeletVersion"] for n in lab.get("nodes")["items"]}
        assert versions == {LATER}
        assert common.container_of(lab, "keep") == before
        ended = [step for steps in common.steps_of(lab, common.HOSTS).values() for step in steps]
        assert ended.count("upgrade") == 3
        assert ended.count("node") == 2

    def test_a_downgrade_is_refused_with_the_reason(self, lab: LabStack) -> None:
        lab.pulumi("config", "set", "litelab:version", RELEASE)
        refused = lab.pulumi("up", "--yes", "--skip-preview", check=False)
        assert refused.returncode != 0
        assert re.search(r"it runs v1\.34\.5\+rev8600, and the lab's file asks for v1\.34\.4", refused.stdout)


class TestReset:
    def test_a_host_that_lives_on_has_nothing_left(self, lab: LabStack) -> None:
        for host in ("host-2", "host-1"):
            common.reset_leaves_nothing(lab, "microk8s", host, "/var/snap/microk8s", "/root/snap/microk8s")
            assert "microk8s" not in lab.ssh(host, "snap list || true").stdout
