"""A standing lab is told of a proxy, an authority and a mirror: its hosts pull by them, and nothing on it is made anew.

Registry and proxy are doubles on the lab's own network, in the network namespace of host-1; nothing outside is asked.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.authority import Authority
from tests.lab.lab import PROJECT, LabStack, wait_for
from tools.setup import images

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

OUTSIDE = "registry.outside.example"
MIRROR_PORT, OUTSIDE_PORT, PROXY_PORT = 5000, 443, 3128


@dataclass
class Place:
    """The lab, and what the doubles were asked."""

    lab: LabStack
    folder: Path
    address: str
    before: dict[str, str]
    """Each host's machine and steps before the lab was told anything."""
    told: str
    """What the second ``up`` printed."""

    def asked(self, name: str) -> list[str]:
        log = self.folder / f"{name}.log"
        return log.read_text().splitlines() if log.exists() else []


def marks(lab: LabStack) -> dict[str, str]:
    steps = lab.on_each("grep -v '\"prepare\"' /var/lib/litelab/steps.jsonl; systemctl show -p MainPID kubelet")
    return {**steps, **lab.machine_ids()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("nspawn hosts are made by root")
    folder = tmp_path_factory.mktemp("site")
    lab = LabStack(
        "site-lab",
        {"hosts.memoryMib": "1536", "workers": "1", "controllerRunsWorkloads": "true", "workloads": "[]"},
    )
    doubles: list[subprocess.Popen[bytes]] = []
    try:
        lab.prepare()
        lab.pulumi("up", "--yes", "--skip-preview")
        before = marks(lab)
        address = lab.hosts[0]["address"]
        doubles = serve(lab, folder, address)
        settings = {
            "ca": folder / "ca.pem", "proxy": f"http://{address}:{PROXY_PORT}",
            "registries": json.dumps({"docker.io": f"https://{address}:{MIRROR_PORT}"}),
        }  # fmt: skip
        for key, value in settings.items():
            lab.pulumi("config", "set", "--plaintext", f"litelab:{key}", str(value))
        told = lab.pulumi("up", "--yes", "--skip-preview").stdout
        yield Place(lab, folder, address, before, told)
    finally:
        for double in doubles:
            double.kill()
            double.wait()
        lab.remove()


def serve(lab: LabStack, folder: Path, address: str) -> list[subprocess.Popen[bytes]]:
    """A mirror and a registry of the outside on host-1's network, and a proxy that leads there."""
    authority = Authority()
    (folder / "ca.pem").write_text(authority.pem)
    certificate, key = authority.issue(folder, address, OUTSIDE)
    tls = ["--cert", str(certificate), "--key", str(key)]
    (busybox,) = set(Path(lab.env["LITELAB_CACHE"]).glob("built/node-*/tree/bin/busybox")) or {Path("/bin/busybox")}
    for name in ("mirrored", "far"):
        # Names and contents that no host has.
        files: dict[str, Path | str] = {"bin/busybox": busybox, "bin/echo": "busybox", f"only-in-{name}": "nowhere"}
        images.write(folder / f"{name}.tar", f"docker.io/litelab/{name}:1", files, ["echo"], platform.machine())
    commands = [
        ["registry", f"{address}:{MIRROR_PORT}", folder / "mirror.log", "--tar", folder / "mirrored.tar", *tls],
        ["registry", f"{address}:{OUTSIDE_PORT}", folder / "outside.log", "--tar", folder / "far.tar", *tls],
        ["proxy", f"{address}:{PROXY_PORT}", folder / "proxy.log", "--to", f"{address}:{OUTSIDE_PORT}"],
    ]
    inside = ["ip", "netns", "exec", f"{lab.namespace}-host-1", sys.executable, "-m", "tests.doubles.registry"]
    started = [subprocess.Popen([*inside, *map(str, command)], cwd=PROJECT) for command in commands]

    def listening() -> bool | None:
        assert all(process.poll() is None for process in started)
        for port in (MIRROR_PORT, OUTSIDE_PORT, PROXY_PORT):
            try:
                socket.create_connection((address, port), 1).close()
            except OSError:
                return None
        return True

    wait_for("the doubles", 60, listening)
    return started


def run_pod(lab: LabStack, name: str, image: str, node: str) -> dict[str, Any]:
    """A pod that must pull its image, and how it ended."""
    container = {"name": "main", "image": image, "imagePullPolicy": "Always", "command": ["echo", "pulled"]}
    spec = {"nodeName": node, "restartPolicy": "Never", "containers": [container]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    wait_for(
        "the default service account", 60,
        lambda: lab.kubectl("get", "serviceaccount", "default", check=False).returncode == 0 or None,
    )  # fmt: skip
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def ended() -> dict[str, Any] | None:
        status: dict[str, Any] = lab.get("pod", name)["status"]
        return status if status["phase"] in ("Succeeded", "Failed") else None

    try:
        return wait_for(f"pod {name}", 180, ended)
    except TimeoutError:
        pytest.fail(lab.kubectl("describe", "pod", name).stdout[-3000:])


@pytest.mark.parametrize("node", ["host-1", "host-2"])
def test_a_pod_starts_from_an_image_that_only_the_mirror_has(place: Place, node: str) -> None:
    status = run_pod(place.lab, f"mirrored-{node}", "docker.io/litelab/mirrored:1", node)
    assert status["phase"] == "Succeeded"
    assert place.lab.kubectl("logs", f"mirrored-{node}").stdout == "pulled\n"
    asked = place.asked("mirror")
    for part in ("manifests", "blobs"):
        assert any(f"{place.address}:{MIRROR_PORT} /v2/litelab/mirrored/{part}/" in line for line in asked), asked
    # What is near is reached without the proxy.
    assert not [line for line in place.asked("proxy") if f":{MIRROR_PORT}" in line]


def test_a_pod_starts_from_an_image_of_the_outside_by_the_proxy_and_the_sites_authority(place: Place) -> None:
    status = run_pod(place.lab, "far", f"{OUTSIDE}/litelab/far:1", "host-2")
    assert status["phase"] == "Succeeded"
    assert f"CONNECT {OUTSIDE}:443" in place.asked("proxy")
    assert any(f" {OUTSIDE} /v2/litelab/far/manifests/" in line for line in place.asked("outside"))


def test_nothing_that_was_there_was_made_anew(place: Place) -> None:
    assert marks(place.lab) == place.before
    assert "2 created" in place.told or "3 created" in place.told, place.told
    assert "replaced" not in place.told


def test_an_up_without_a_change_runs_no_step(place: Place) -> None:
    place.lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")


def test_steps_on_hosts_see_the_proxy_and_the_authority_is_trusted(place: Place) -> None:
    seen = place.lab.ssh("host-2", ". /opt/litelab/upstream/scripts/step.sh; env").stdout
    assert f"HTTPS_PROXY=http://{place.address}:{PROXY_PORT}" in seen
    unit = place.lab.ssh(
        "host-2", "tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value containerd)/environ"
    ).stdout
    assert f"HTTPS_PROXY=http://{place.address}:{PROXY_PORT}" in unit


def test_without_the_settings_hosts_are_as_they_were(place: Place) -> None:
    lab = place.lab
    for key in ("ca", "proxy", "registries"):
        lab.pulumi("config", "rm", f"litelab:{key}")
    lab.pulumi("up", "--yes", "--skip-preview")
    left = lab.on_each("ls -d /etc/litelab/* /etc/containerd/certs.d/*/hosts.toml /var/lib/litelab/site /etc/systemd/system.conf.d/litelab-site.conf "
                       "/usr/local/share/ca-certificates/litelab-site.crt /etc/ssl/certs/litelab-site.pem 2>/dev/null || true")  # fmt: skip
    assert set(left.values()) == {""}
    unit = lab.ssh("host-2", "tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value containerd)/environ").stdout
    assert "PROXY" not in unit
    assert marks(lab) == place.before
