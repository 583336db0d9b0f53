"""K3s by the lab's own install scripts: joined, measured, upgraded, reset, and held to what is promised.

Without more it runs against the double (``tests/doubles/k3s``). With ``LITELAB_K3S`` (a K3s binary), ``LITELAB_K3S_INSTALL`` (its
``install.sh``) and, for the upgrade, ``LITELAB_K3S_NEXT`` (a later one), the same tests run against the real one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.doubles.hostimage import DOUBLES, double_cache
from tests.lab.lab import LabStack, environment, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root")]

HOSTS = ("host-1", "host-2", "host-3")
STEPS = "cat /var/lib/litelab/steps.jsonl"


@dataclass(frozen=True)
class Release:
    """A K3s to install."""

    version: str
    binary: Path


@dataclass(frozen=True)
class Vendor:
    """Where K3s is: the double, or the real one."""

    install: Path
    first: Release
    next: Release | None
    is_double: bool


def stamped(folder: Path, version: str) -> Release:
    """The double as a release of that version."""
    binary = folder / f"k3s-{version}"
    binary.write_text((DOUBLES / "k3s" / "k3s").read_text().replace("@VERSION@", version))
    binary.chmod(0o755)
    return Release(version, binary)


def real(path: str) -> Release:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    return Release(said.split()[2], Path(path))


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    given = {name: os.environ.get(f"LITELAB_K3S{name}") for name in ("", "_INSTALL", "_NEXT")}
    if given[""] and given["_INSTALL"]:
        later = real(given["_NEXT"]) if given["_NEXT"] else None
        return Vendor(Path(given["_INSTALL"]), real(given[""]), later, is_double=False)
    folder = tmp_path_factory.mktemp("k3s")
    first, later = (stamped(folder, v) for v in ("v1.34.4+k3s1", "v1.34.5+k3s1"))
    return Vendor(DOUBLES / "k3s" / "install.sh", first, later, is_double=True)


def artifacts(vendor: Vendor, release: Release) -> str:
    digest = subprocess.run(["sha256sum", str(vendor.install)], capture_output=True, text=True, check=True).stdout[:64]
    return json.dumps({"k3s": str(release.binary), "install": {"source": str(vendor.install), "sha256": digest}})


@pytest.fixture(scope="module")
def lab(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    """One server, two agents, without any way out."""
    env = environment()
    cache = Path(env["LITELAB_CACHE"])
    images = cache / "artifacts" / "upstream" / "images"
    if vendor.is_double:
        cache = double_cache(cache, tmp_path_factory.mktemp("cache"), "k3s", releases=("v1.34.5",))
    settings = {
        "hosts.kind": "nspawn",
        "hosts.memoryMib": "1536",
        "workloads": "[pods-8]",
        "repeats": "1",
        "version": vendor.first.version,
        "artifacts": artifacts(vendor, vendor.first),
        "images": json.dumps(
            [
                {"source": str(images / "pause.tar"), "as": "docker.io/rancher/mirrored-pause:3.6"},
                {"source": str(images / "coredns.tar"), "as": "docker.io/rancher/mirrored-coredns-coredns:1.13.1"},
            ]
        ),
    }
    lab = LabStack("test-k3s", settings, {**env, "LITELAB_CACHE": str(cache)}, "k3s-lab")
    try:
        lab.prepare()
        lab.pulumi("up", "--yes", "--skip-preview", timeout=1800)
        yield lab
    finally:
        lab.remove()


class TestInstalled:
    def test_every_host_is_a_node_and_the_server_repels_pods(self, lab: LabStack) -> None:
        nodes = {n["metadata"]["name"]: n for n in lab.get("nodes")["items"]}
        assert nodes.keys() == set(HOSTS)
        taints = {name: [t["key"] for t in n["spec"].get("taints", [])] for name, n in nodes.items()}
        assert taints == {"host-1": ["node-role.kubernetes.io/control-plane"], "host-2": [], "host-3": []}

    def test_what_was_measured_came_up(self, lab: LabStack) -> None:
        assert lab.outputs()["results"]["workloads"]["pods-8"]["success_rate"] == 1

    def test_the_kubeconfig_has_a_context_named_as_the_server(self, lab: LabStack) -> None:
        assert lab.kubectl("--context", "host-1", "get", "--raw", "/readyz").stdout == "ok"

    def test_no_token_is_left_and_none_is_in_the_state(self, lab: LabStack) -> None:
        assert len(lab.ssh("host-1", "k3s token list").stdout.splitlines()) == 1
        assert not re.search(r"K10[0-9a-f]{64}::", lab.pulumi("stack", "export", "--show-secrets").stdout)

    def test_an_agent_restarts_when_its_token_is_gone(self, lab: LabStack) -> None:
        lab.ssh("host-2", "systemctl restart k3s-agent", timeout=120)
        lab.kubectl("wait", "node/host-2", "--for=condition=Ready", "--timeout=60s", timeout=90)

    def test_an_up_without_a_change_runs_no_step(self, lab: LabStack) -> None:
        before = lab.on_each(STEPS)
        lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
        assert lab.on_each(STEPS) == before


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


class TestUpgrade:
    def test_it_goes_over_the_hosts_and_leaves_pods_running(self, lab: LabStack, vendor: Vendor) -> None:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_K3S_NEXT)")
        wait_for(
            "the default service account", 60,
            lambda: lab.kubectl("get", "serviceaccount", "default", check=False).returncode == 0 or None,
        )  # fmt: skip
        image = ("--image=docker.io/litelab/busybox:1", "--image-pull-policy=Never", "--restart=Never")
        lab.kubectl("run", "keep", *image, "--", "sleep", "100000")
        lab.kubectl("wait", "pod/keep", "--for=condition=Ready", "--timeout=120s", timeout=150)
        before = lab.get("pod", "keep")["status"]["containerStatuses"][0]["containerID"]
        lab.pulumi("config", "set", "--path", "litelab:workloads", "[]")
        lab.pulumi("config", "set", "litelab:version", vendor.next.version)
        lab.pulumi("config", "set", "litelab:artifacts", artifacts(vendor, vendor.next))
        lab.pulumi("up", "--yes", "--skip-preview", timeout=1800)
        versions = {n["status"]["nodeInfo"]["kubeletVersion"] for n in lab.get("nodes")["items"]}
        assert {v.partition("+")[0] for v in versions} == {vendor.next.version.partition("+")[0]}
        after = lab.get("pod", "keep")["status"]["containerStatuses"][0]
        assert after["containerID"] == before
        assert "running" in after["state"]
        ended = [json.loads(line)["step"] for text in lab.on_each(STEPS).values() for line in text.splitlines()]
        assert (ended.count("upgrade"), ended.count("node"), ended.count("init")) == (3, 2, 1)

    def test_a_downgrade_is_refused_with_the_reason(self, lab: LabStack, vendor: Vendor) -> None:
        if vendor.next is None:
            pytest.skip("no later release is given (LITELAB_K3S_NEXT)")
        lab.pulumi("config", "set", "litelab:version", vendor.first.version)
        lab.pulumi("config", "set", "litelab:artifacts", artifacts(vendor, vendor.first))
        refused = lab.pulumi("up", "--yes", "--skip-preview", check=False)
        assert refused.returncode != 0
        assert "a cluster is never downgraded" in refused.stdout


class TestReset:
    def test_a_host_that_lives_on_has_nothing_left(self, lab: LabStack) -> None:
        for host in ("host-2", "host-1"):
            lab.ssh(host, "/opt/litelab/k3s/scripts/reset.sh", timeout=300)
            assert lab.ssh(host, "ls /opt/litelab").stdout == ""
            assert lab.ssh(host, "ss -Htln | grep -v ':22 ' || true").stdout == ""
            assert lab.ssh(host, "ip -br link | grep -E 'cni0|flannel' || true").stdout == ""
            assert lab.ssh(host, "ls -d /etc/rancher /usr/local/bin/k3s", check=False).returncode != 0
