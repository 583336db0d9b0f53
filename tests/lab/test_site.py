"""A standing lab is told of a proxy, an authority and a mirror: its hosts pull by them, and nothing on it is replaced.

Registry and proxy are doubles on the lab's own network, in the network namespace of host-1; nothing outside is asked. The labs: upstream
and MicroK8s' double always; k0s, K3s and MicroShift where the environment names the real ones, as for their own tests.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.doubles.hostimage import double_cache
from tests.lab import distributions as common
from tests.lab import k0slabs, k3slabs, microshift
from tests.lab.lab import LabStack, environment
from tests.lab.pulling import certificate, run_pod, start_doubles, start_pod, write_image

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

OUTSIDE = "registry.outside.example"
MIRROR_PORT, OUTSIDE_PORT, PROXY_PORT = 5000, 443, 3128


SMALL = {
    "hosts.memoryMib": "1536", "workers": "1", "controllerRunsWorkloads": "true", "workloads": "[]",
}  # fmt: skip


def upstream_lab(folder: Path) -> LabStack:
    return LabStack("site-lab", SMALL)


def k0s_lab(folder: Path) -> LabStack:
    vendor = k0slabs.find_vendor(folder)
    if vendor.is_double:
        pytest.skip("no real k0s is given (LITELAB_K0S)")
    return k0slabs.lab_of(vendor, "site-k0s", folder, **{**SMALL, "controllerRunsWorkloads": "false"})


def k3s_lab(folder: Path) -> LabStack:
    vendor = k3slabs.find_vendor(folder)
    if vendor.is_double:
        pytest.skip("no real K3s is given (LITELAB_K3S)")
    return k3slabs.lab_of(vendor, "site-k3s", folder, **SMALL)


def microshift_lab(folder: Path) -> LabStack:
    vendor = microshift.vendor(folder)
    if vendor.is_double:
        pytest.skip("no real MicroShift is given (LITELAB_MICROSHIFT)")
    return microshift.stack("site-microshift", vendor, folder, **SMALL)


def microk8s_lab(folder: Path) -> LabStack:
    env = environment()
    store = "microk8s 1.35/stable v1.35.4 8511\ncore22 latest/stable 20250930 2139\n"
    cache = double_cache(Path(env["LITELAB_CACHE"]), folder, "microk8s", store=store)
    lab = {**common.COMMON, **SMALL}
    return LabStack("site-microk8s", lab, {**env, "LITELAB_CACHE": str(cache)}, "microk8s-lab")


@dataclass(frozen=True)
class Kind:
    """What differs between distributions."""

    lab: Callable[[Path], LabStack]
    nodes: tuple[str, ...]
    """Hosts that run pods."""
    runtime: str
    """The last node's unit that pulls."""


KINDS = {
    "upstream": Kind(upstream_lab, ("host-1", "host-2"), "containerd"),
    "k3s": Kind(k3s_lab, ("host-1", "host-2"), "k3s-agent"),
    "k0s": Kind(k0s_lab, ("host-2",), "k0sworker"),
    "microshift": Kind(microshift_lab, ("host-1",), "crio"),
    "microk8s": Kind(microk8s_lab, ("host-1", "host-2"), "snap.microk8s.daemon-containerd"),
}


@dataclass
class Place:
    """The lab, and what the doubles were asked."""

    kind: Kind
    lab: LabStack
    folder: Path
    address: str
    before: dict[str, str]
    """Each host's machine and steps, and the container of a pod on each node, before the lab was told anything."""
    files: dict[str, str]
    """Each host's files at that time, where the lab may be told."""
    told: str
    """What the second ``up`` printed."""

    def asked(self, name: str) -> list[str]:
        log = self.folder / f"{name}.log"
        return log.read_text().splitlines() if log.exists() else []


def marks(kind: Kind, lab: LabStack) -> dict[str, str]:
    steps = lab.on_each("grep -v '\"prepare\"' /var/lib/litelab/steps.jsonl; systemctl show -p MainPID kubelet")
    pods = {f"pod on {node}": common.container_of(lab, f"keep-{node}") for node in kind.nodes}
    return {**steps, **lab.machine_ids(), **pods}


def files(lab: LabStack) -> dict[str, str]:
    return lab.on_each(
        "find /etc /var/snap/microk8s/current/args /usr/local/share /var/lib/litelab -xdev -not -path '/etc/ssl/*' 2>/dev/null | sort || true"
    )


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("nspawn hosts are made by root")
    folder = tmp_path_factory.mktemp("site")
    kind = KINDS[request.param]
    lab = kind.lab(tmp_path_factory.mktemp("vendor"))
    doubles: list[subprocess.Popen[bytes]] = []
    try:
        lab.prepare()
        common.up(lab)
        for node in kind.nodes:
            start_pod(lab, f"keep-{node}", "docker.io/litelab/pause:1", node, "IfNotPresent")
            lab.kubectl("wait", f"pod/keep-{node}", "--for=condition=Ready", "--timeout=120s", timeout=150)
        before, there = marks(kind, lab), files(lab)
        address = lab.hosts[0]["address"]
        doubles = serve(lab, folder, address)
        settings = {
            "ca": folder / "ca.pem", "proxy": f"http://{address}:{PROXY_PORT}",
            "registries": json.dumps({"docker.io": f"https://{address}:{MIRROR_PORT}"}),
        }  # fmt: skip
        for key, value in settings.items():
            lab.pulumi("config", "set", "--plaintext", f"litelab:{key}", str(value))
        told = common.up(lab)
        yield Place(kind, lab, folder, address, before, there, told)
    finally:
        for double in doubles:
            double.kill()
            double.wait()
        lab.remove()


def serve(lab: LabStack, folder: Path, address: str) -> list[subprocess.Popen[bytes]]:
    """A mirror and a registry of the outside on host-1's network, and a proxy that leads there."""
    tls = certificate(folder, address, OUTSIDE)
    for name in ("mirrored", "far"):
        write_image(lab, folder, name)
    commands = [
        ["registry", f"{address}:{MIRROR_PORT}", folder / "mirror.log", "--tar", folder / "mirrored.tar", *tls],
        ["registry", f"{address}:{OUTSIDE_PORT}", folder / "outside.log", "--tar", folder / "far.tar", *tls],
        ["proxy", f"{address}:{PROXY_PORT}", folder / "proxy.log", "--to", f"{address}:{OUTSIDE_PORT}"],
    ]
    return start_doubles(lab, commands, [(address, port) for port in (MIRROR_PORT, OUTSIDE_PORT, PROXY_PORT)])


def test_a_pod_starts_from_an_image_that_only_the_mirror_has(place: Place) -> None:
    for node in place.kind.nodes:
        status = run_pod(place.lab, f"mirrored-{node}", "docker.io/litelab/mirrored:1", node)
        assert status["phase"] == "Succeeded"
        assert place.lab.kubectl("logs", f"mirrored-{node}").stdout == "pulled\n"
    asked = place.asked("mirror")
    for part in ("manifests", "blobs"):
        assert any(f"{place.address}:{MIRROR_PORT} /v2/litelab/mirrored/{part}/" in line for line in asked), asked
    # What is near is reached without the proxy.
    assert not [line for line in place.asked("proxy") if f":{MIRROR_PORT}" in line]


def test_a_pod_starts_from_an_image_of_the_outside_by_the_proxy_and_the_sites_authority(place: Place) -> None:
    status = run_pod(place.lab, "far", f"{OUTSIDE}/litelab/far:1", place.kind.nodes[-1])
    assert status["phase"] == "Succeeded"
    assert f"CONNECT {OUTSIDE}:443" in place.asked("proxy")
    assert any(f" {OUTSIDE} /v2/litelab/far/manifests/" in line for line in place.asked("outside"))


def test_nothing_that_was_there_was_made_anew(place: Place) -> None:
    assert marks(place.kind, place.lab) == place.before
    assert "2 created" in place.told or "3 created" in place.told, place.told
    assert "replaced" not in place.told


def test_an_up_without_a_change_runs_no_step(place: Place) -> None:
    place.lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")


def test_steps_on_hosts_see_the_proxy_and_the_authority_is_trusted(place: Place) -> None:
    node = place.kind.nodes[-1]
    seen = place.lab.ssh(node, ". /opt/litelab/*/scripts/step.sh; env").stdout
    assert f"HTTPS_PROXY=http://{place.address}:{PROXY_PORT}" in seen
    # K3s writes its title over what its environment begins with.
    assert f"PROXY=http://{place.address}:{PROXY_PORT}" in environment_of(place, node)


def environment_of(place: Place, node: str) -> str:
    """What the unit that pulls was started with."""
    unit = place.kind.runtime
    return place.lab.ssh(node, f"tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value {unit})/environ").stdout


def test_without_the_settings_hosts_are_as_they_were(place: Place) -> None:
    lab = place.lab
    for key in ("ca", "proxy", "registries"):
        lab.pulumi("config", "rm", f"litelab:{key}")
    common.up(lab)
    assert files(lab) == place.files
    node = place.kind.nodes[-1]
    assert lab.ssh(node, "ls /etc/ssl/certs | grep litelab || true").stdout == ""
    assert "PROXY" not in environment_of(place, node)
    assert marks(place.kind, lab) == place.before
