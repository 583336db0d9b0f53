"""A whole lab of one virtual machine on another machine, which alone reaches it: installed, measured and asked through that machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.checks import kvm
from tests.lab.lab import LabStack
from tests.libvirt.guests import NOTHING, left_in
from tests.libvirt.labs import LAB_S, ROUTINE_S, inside, standing
from tests.libvirt.remote import MACHINE, Remote
from tools.places import cache

KUBECTL = cache() / "artifacts/upstream/bin/kubernetes"

pytestmark = [pytest.mark.libvirt, pytest.mark.slow, pytest.mark.timeout(LAB_S + ROUTINE_S)]


@pytest.fixture(scope="module")
def lab(remote: Remote) -> Iterator[LabStack]:
    """Up, with ``pods-8`` measured once."""
    stack = LabStack(
        "lv-far",
        {
            "hosts.accelerator": "kvm" if kvm.starts_a_guest()[0] else "tcg",
            "hosts.memoryMib": "1792",
            "hosts.diskGib": "6",
            "workers": "0",
            "controllerRunsWorkloads": "true",
            "repeats": "1",
            "workloads[0]": "pods-8",
        },
        lab="libvirt-lab",
    )
    stack.env.pop("SSH_AUTH_SOCK", None)
    with standing(remote, stack) as lab:
        yield lab


def shut(lab: LabStack) -> dict[str, int]:
    """End all ways as a reboot does; the port of each."""
    found = {p.stem: json.loads(p.read_text()) for p in (lab.run_folder / "forwards").glob("*.json")}
    subprocess.run(["kill", "-KILL", *[str(way["pid"]) for way in found.values()]], check=True)
    return {name: way["port"] for name, way in found.items()}


def test_it_was_measured_with_every_pod_up_and_says_through_which_machine(lab: LabStack) -> None:
    result = json.loads((lab.results_folder / "latest-pods-8" / "result.json").read_text())
    assert result["fingerprint"]["lab"]["facts"]["reachedThrough"] == MACHINE
    assert [host["error"] for host in result["fingerprint"]["hosts"]] == [None]
    summary = json.loads((lab.results_folder / "latest-pods-8" / "summary.json").read_text())
    assert summary["success_rate"] == 1.0


def test_a_persons_kubectl_gets_there_also_after_all_ways_were_shut(lab: LabStack, remote: Remote) -> None:
    ports = shut(lab)
    api, host = sorted(ports)
    assert (api[:4], host) == ("api-", "host-1")
    path = inside(remote, lab, "python3", "-m", "tools.setup", "kubeconfig", lab.name).strip()
    assert path == str(lab.run_folder / "kubeconfig")
    (cluster,) = json.loads(Path(path).read_text())["clusters"]
    assert cluster["cluster"]["server"] == f"https://127.0.0.1:{ports[api]}"
    assert cluster["cluster"]["tls-server-name"].endswith(".11")
    nodes = inside(remote, lab, "bash", "-c", f"exec -a kubectl {KUBECTL} --kubeconfig {path} get nodes --no-headers")
    assert nodes.split()[:2] == ["host-1", "Ready"]


def test_bench_and_status_open_them_too(lab: LabStack, remote: Remote) -> None:
    shut(lab)
    said = inside(remote, lab, "python3", "-m", "tools.setup", "status", lab.name)
    assert "host-1: up" in said
    assert "Ready" in said
    shut(lab)
    assert "100 %" in inside(
        remote, lab, "python3", "-m", "tools.setup", "bench", lab.name, "pods-8", "--repeats", "1", timeout=LAB_S
    )


def test_the_lab_shows_no_change_and_its_kubeconfig_is_a_secret(lab: LabStack, remote: Remote) -> None:
    inside(remote, lab, "pulumi", "preview", "--expect-no-changes", "--stack", lab.name, "--non-interactive")
    state = inside(remote, lab, "pulumi", "stack", "export", "--stack", lab.name)
    assert "tls-server-name" not in state
    assert "client-key-data" not in state


def test_destroy_leaves_nothing(lab: LabStack, remote: Remote) -> None:
    inside(remote, lab, "python3", "-m", "tools.setup", "destroy", lab.name)
    assert left_in(remote) == NOTHING
    assert remote.processes() == []
    assert not (lab.run_folder / "forwards").exists()
