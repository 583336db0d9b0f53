"""A stack's distribution is changed under a host that lives on: what the old one left goes first, and its place is the new one's.

The host is an nspawn host of another stack, with K3s's double on it; upstream Kubernetes is the other distribution.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.cases import inventory
from tests.contract.conftest import USER
from tests.contract.hostsonly import HostsStack
from tests.doubles.hostimage import DOUBLES, double_cache
from tests.lab.distributions import UP_S
from tests.lab.lab import PROJECT, LabStack, environment

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]

VERSION = "v1.34.4+k3s1"
INSTALL = DOUBLES / "k3s" / "install.sh"


@dataclass(frozen=True)
class Living:
    """A host that lives on, what was on it before the lab, and the lab."""

    ground: HostsStack
    before: dict[str, Any]
    lab: LabStack
    folder: Path

    def become(self, distribution: str) -> None:
        """Change the stack's settings to another distribution."""
        if distribution == "upstream":
            for key in ("distribution", "version", "artifacts", "images"):
                self.lab.pulumi("config", "rm", f"litelab:{key}")
            return
        binary = self.folder / "k3s"
        binary.write_text((DOUBLES / "k3s" / "k3s").read_text().replace("@VERSION@", VERSION))
        binary.chmod(0o755)
        digest = subprocess.run(["sha256sum", str(INSTALL)], capture_output=True, text=True, check=True).stdout[:64]
        images = Path(self.lab.env["LITELAB_CACHE"]) / "artifacts/upstream/images"
        settings = {
            "distribution": "k3s",
            "version": VERSION,
            "artifacts": json.dumps({"k3s": str(binary), "install": {"source": str(INSTALL), "sha256": digest}}),
            "images": json.dumps(
                [
                    {"source": str(images / "pause.tar"), "as": "docker.io/rancher/mirrored-pause:3.6"},
                    {"source": str(images / "coredns.tar"), "as": "docker.io/rancher/mirrored-coredns-coredns:1.13.1"},
                ]
            ),
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
    cache = Path(environment()["LITELAB_CACHE"])
    env = {**environment(), "LITELAB_CACHE": str(double_cache(cache, tmp_path_factory.mktemp("cache"), "k3s"))}
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
            yield Living(ground, before, lab, tmp_path_factory.mktemp("k3s"))
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
