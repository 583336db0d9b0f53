"""What goes wrong while K3s and k0s are installed, on hosts that have their doubles: an error that names host and fix, and ``up`` goes on.

Clocks that differ can't be had on hosts that share a machine's: tests/unit/components/test_validate.py has them. What another
distribution left is in tests/lab/test_change.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.running import processes
from tests.lab import k0slabs, k3slabs
from tests.lab.installed import Release
from tests.lab.lab import PROJECT, LabStack, wait_for

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
    pytest.mark.skipif("LITELAB_K0S" in os.environ or "LITELAB_K3S" in os.environ, reason="it hurts doubles"),
]

TWO_HOSTS = {"workers": "1", "workloads": "[]"}


@dataclass
class Case:
    """A lab of one distribution that has not been brought up."""

    name: str
    lab: LabStack
    release: Release
    artifacts: str
    folder: Path

    @property
    def program(self) -> str:
        return f"/usr/local/bin/{self.name}"

    @property
    def nodes(self) -> set[str]:
        return {"host-2"} if self.name == "k0s" else {"host-1", "host-2"}

    @property
    def hosts(self) -> list[dict[str, str]]:
        """Names and addresses, from what the lab has written for ssh: a lab that failed has no outputs."""
        words = (self.lab.run_folder / "ssh_config").read_text().split()
        pairs = [
            (words[n + 1], words[n + 3])
            for n, word in enumerate(words)
            if word == "Host" and words[n + 2] == "HostName"
        ]
        return [{"name": name, "address": address} for name, address in pairs]

    def given(self, artifacts: str) -> None:
        self.lab.pulumi("config", "set", "litelab:artifacts", artifacts)

    def up(self) -> None:
        self.lab.pulumi("up", "--yes", "--skip-preview", timeout=1200)

    def refused(self) -> str:
        """What an ``up`` says that can't go through."""
        done = self.lab.pulumi("up", "--yes", "--skip-preview", check=False, timeout=1200)
        assert done.returncode != 0, done.stdout[-3000:]
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def ready(self) -> set[str]:
        nodes = self.lab.get("nodes")["items"]
        return {
            n["metadata"]["name"]
            for n in nodes
            if any(c["type"] == "Ready" and c["status"] == "True" for c in n["status"]["conditions"])
        }


@pytest.fixture(scope="module", params=["k0s", "k3s"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder, cache = tmp_path_factory.mktemp("vendor"), tmp_path_factory.mktemp("cache")
    name: str = request.param
    if name == "k0s":
        of_k0s = k0slabs.find_vendor(folder)
        lab = k0slabs.lab_of(of_k0s, "test-faults-k0s", cache, **TWO_HOSTS)
        release, artifacts = of_k0s.first, k0slabs.artifacts(of_k0s.first)
    else:
        of_k3s = k3slabs.find_vendor(folder)
        lab = k3slabs.lab_of(of_k3s, "test-faults-k3s", cache, **TWO_HOSTS)
        release, artifacts = of_k3s.first, k3slabs.artifacts(of_k3s, of_k3s.first)
    try:
        lab.prepare()
        yield Case(name, lab, release, artifacts, folder)
    finally:
        lab.remove()


class TestArtifacts:
    def test_a_wrong_digest_is_refused_with_both(self, case: Case) -> None:
        given = json.loads(case.artifacts)
        case.given(json.dumps(given | {case.name: {"source": str(case.release.binary), "sha256": "0" * 64}}))
        told = case.refused()
        assert f"artifacts.{case.name}" in told
        assert "0" * 64 in told

    def test_a_program_for_another_processor_is_refused_before_it_is_run(self, case: Case) -> None:
        other = case.folder / "other"
        # AArch64, or x86-64 on that.
        machine = 62 if os.uname().machine == "aarch64" else 183
        other.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little") + bytes(4096))
        given = json.loads(case.artifacts)
        case.given(json.dumps(given | {case.name: str(other)}))
        told = case.refused()
        assert f"the artifact {case.name} is built for another processor (ELF machine {machine})" in told
        assert case.lab.ssh("host-1", f"ls {case.program}", check=False).returncode != 0
        case.given(case.artifacts)


class TestHosts:
    def test_two_hosts_of_one_name_are_refused(self, case: Case) -> None:
        (script,) = case.lab.run_folder.glob(f"{case.name}-*/validate.py")
        pairs = ",".join(f"{host['name']}={host['address']}" for host in case.hosts)
        environment = {**case.lab.env, "HOSTS": pairs, "PORTS": "6443", "MEMORY_MIB": "900", "DISK_MIB": "100"}
        case.lab.ssh("host-2", "hostname host-1")
        try:
            done = subprocess.run(
                [sys.executable, str(script), "create"],
                cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120,
            )  # fmt: skip
        finally:
            case.lab.ssh("host-2", "hostname host-2")
        assert done.returncode == 1
        assert "hosts host-1 and host-2 have the same hostname host-1" in done.stderr


class TestJoin:
    def test_a_controller_that_can_not_be_reached_is_named_with_its_port(self, case: Case) -> None:
        rule = "OUTPUT -p tcp --dport 6443 -j DROP"
        # The first time up to there: the hosts are made by now.
        case.lab.ssh("host-2", f"iptables -I {rule}")
        try:
            told = case.refused()
        finally:
            case.lab.ssh("host-2", f"iptables -D {rule}")
        assert "host host-2: waited 60 s for the first controller's API at" in told
        assert "does a firewall between the hosts let port 6443 through" in told

    def test_a_token_that_has_expired_is_named_with_the_cure(self, case: Case) -> None:
        if case.name == "k3s":
            pytest.skip("K3s asks again and again; the wait for its unit ends with its journal, after four minutes")
        controller = case.hosts[0]["address"]
        token = case.lab.ssh("host-1", "k0s token create --role=worker --expiry=1s; sleep 2").stdout.strip()
        told = {
            "ADDONS": "minimal", "CONTROLLERS": "1", "RUNS_WORKLOADS": "false", "ROLE": "worker", "FAILOVER": "true",
            "CONTROLLER_ADDRESSES": controller,
        }  # fmt: skip
        lines = "".join(f"{key}={value}\n" for key, value in told.items())
        words = [
            "ssh",
            "-F",
            str(case.lab.run_folder / "ssh_config"),
            "host-2",
            "/opt/litelab/k0s/scripts/node.sh create",
        ]
        done = subprocess.run(words, input=f"{lines}---\n{token}\n", capture_output=True, text=True, timeout=200)
        assert done.returncode == 1
        assert "host host-2: the first controller does not take the token for this host" in done.stderr
        assert token not in done.stdout + done.stderr

    def test_the_next_up_goes_on_to_a_whole_cluster(self, case: Case) -> None:
        case.up()
        assert case.ready() == case.nodes


def die(lab: LabStack, host: str) -> None:
    """All that a host is ends at once, as without power."""
    marks = (f"/{lab.names['LAB_ID']}/{host}", f"litelab-{lab.names['LAB_ID']}-{host}.service")

    def dead() -> bool | None:
        alive = [p for p in processes() if any(mark in p.cgroup for mark in marks)]
        for process in alive:
            process.signal(signal.SIGKILL)
        return not alive or None

    wait_for(f"{host} to be dead", 30, dead)


class TestAfterwards:
    def test_a_worker_that_dies_is_made_anew_and_joins_under_its_name(self, case: Case) -> None:
        before = case.lab.get("node", "host-2")["metadata"]["uid"]
        die(case.lab, "host-2")
        wait_for("the node to be lost", 180, lambda: "host-2" not in case.ready() or None)
        resources = json.loads(case.lab.pulumi("stack", "export").stdout)["deployment"]["resources"]
        (urn,) = [r["urn"] for r in resources if r["urn"].endswith("::host-2")]
        refused = case.lab.pulumi("up", "--yes", "--skip-preview", "--replace", urn, check=False, timeout=1200)
        assert "GONE=host-2" in refused.stdout
        case.lab.env["LITELAB_GONE"] = "host-2"
        case.lab.pulumi("up", "--yes", "--skip-preview", "--replace", urn, timeout=1200)
        assert case.ready() == case.nodes
        assert case.lab.get("node", "host-2")["metadata"]["uid"] != before
