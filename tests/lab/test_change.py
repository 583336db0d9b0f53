"""A stack's distribution is changed under a host that lives on: what the old one left goes first, and its place is the new one's.

The host is an nspawn host of another stack, with K3s's double on it; upstream Kubernetes is the other distribution.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.contract.cases import inventory
from tests.contract.conftest import USER
from tests.contract.hostsonly import HostsStack
from tests.lab import k3slabs
from tests.lab.distributions import UP_S
from tests.lab.lab import PROJECT, LabStack

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]


@dataclass(frozen=True)
class Living:
    """A host that lives on, what was on it before the lab, the lab, and one of K3s that is never brought up: its settings are taken."""

    ground: HostsStack
    before: dict[str, Any]
    lab: LabStack
    k3s: LabStack

    def become(self, distribution: str) -> None:
        """Change the stack's settings to another distribution."""
        if distribution == "upstream":
            for key in ("distribution", "version", "artifacts", "images"):
                self.lab.pulumi("config", "rm", f"litelab:{key}")
            return
        settings = {
            "distribution": "k3s",
            **{key: self.k3s.settings[key] for key in ("version", "artifacts", "images")},
        }
        words = [w for key, value in settings.items() for w in ("--plaintext", f"litelab:{key}={value}")]
        self.lab.pulumi("config", "set-all", *words)

    def runs(self) -> list[str]:
        """Whose parts are on the host, whose node is Ready."""
        (node,) = self.lab.get("nodes")["items"]
        assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"
        return self.lab.ssh("host-1", "sudo -n ls /opt/litelab").stdout.split()


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    vendor = k3slabs.find_vendor(tmp_path_factory.mktemp("k3s"))
    k3s = k3slabs.lab_of(vendor, "never-up", tmp_path_factory.mktemp("cache"))
    env = k3s.env
    hosts = {"kind": "nspawn", "cpus": 1, "memoryMib": 1536}
    ground = HostsStack("change-ground", hosts, ("controller",), {**env, "PYTHONPATH": str(PROJECT)})
    try:
        ground.prepare()
        ground.up()
        ground.by_root("host-1", USER)
        (host,) = ground.hosts
        settings = {
            "hosts.kind": "existing",
            "hosts.addresses[0]": host["address"],
            "hosts.hostKeys[0]": f"{host['address']} {host['hostKey']}",
            "hosts.user": "op",
            "hosts.cpus": "1",
            "hosts.memoryMib": "1536",
            "hosts.key": str(ground.run_folder / "id_ed25519"),
            "workers": "0",
            "controllerRunsWorkloads": "true",
            "workloads": "[]",
        }
        before = inventory(ground, ("host-1",))
        with LabStack("test-change", settings, env).standing(UP_S) as lab:
            yield Living(ground, before, lab, k3s)
    finally:
        ground.close()


def changes(preview: subprocess.CompletedProcess[str]) -> dict[str, set[str]]:
    """Names of resources by what a preview means to do with them."""
    steps = json.loads(preview.stdout)["steps"]
    found: dict[str, set[str]] = {}
    for step in steps:
        found.setdefault(step["op"], set()).add(step["urn"].rpartition("::")[2])
    return found


def test_upstream_comes_first(living: Living) -> None:
    assert living.runs() == ["upstream"]


def test_the_preview_of_another_distribution_gives_the_host_back_and_takes_it_again(living: Living) -> None:
    living.become("k3s")
    planned = changes(living.lab.pulumi("preview", "--json"))
    assert planned["replace"] == {"host-1"}
    assert planned["create"] >= {"validate", "init"}


@pytest.mark.parametrize("distribution", ["k3s", "upstream"])
def test_what_the_old_one_left_is_gone_before_the_new_one_comes(living: Living, distribution: str) -> None:
    if distribution == "upstream":
        living.become(distribution)
    living.lab.pulumi("up", "--yes", "--skip-preview", timeout=UP_S)
    assert living.runs() == [distribution]
    assert living.lab.outputs()["cluster"]["distribution"] == distribution
    living.lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")


def test_at_the_end_the_host_is_as_it_was(living: Living) -> None:
    living.lab.pulumi("destroy", "--yes", "--skip-preview")
    after = inventory(living.ground, ("host-1",))
    assert after["host-1"] - living.before["host-1"] == set()
    # The ground's own mount for kubelets: a reset of K3s takes the folder, as its uninstaller does.
    assert living.before["host-1"] - after["host-1"] <= {"mount /var/lib/kubelet", "path /var/lib/kubelet"}
