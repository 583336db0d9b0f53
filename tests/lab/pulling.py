"""Doubles of registries on a lab's own network, and pods that must pull from them."""

from __future__ import annotations

import json
import platform
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.authority import Authority
from tests.lab.lab import PROJECT, LabStack, wait_for
from tools.setup import images


def certificate(folder: Path, *names: str) -> list[str]:
    """What gives a double a certificate for these names, issued by the authority in ``ca.pem``."""
    authority = Authority()
    (folder / "ca.pem").write_text(authority.pem)
    paths = authority.issue(folder, *names)
    return ["--cert", str(paths[0]), "--key", str(paths[1])]


def write_image(lab: LabStack, folder: Path, name: str) -> None:
    """``NAME.tar``, an image that no host has; it echoes."""
    (busybox,) = set(Path(lab.env["LITELAB_CACHE"]).glob("built/node-*/tree/bin/busybox")) or {Path("/bin/busybox")}
    files: dict[str, Path | str] = {"bin/busybox": busybox, "bin/echo": "busybox", f"only-in-{name}": "nowhere"}
    images.write(folder / f"{name}.tar", f"docker.io/litelab/{name}:1", files, ["echo"], platform.machine())


def start_doubles(
    lab: LabStack, commands: Sequence[Sequence[object]], addresses: Sequence[tuple[str, int]]
) -> list[subprocess.Popen[bytes]]:
    """Doubles in the network namespace of host-1, once they listen at these addresses."""
    inside = ["ip", "netns", "exec", f"{lab.namespace}-host-1", sys.executable, "-m", "tests.doubles.registry"]
    started = [subprocess.Popen([*inside, *map(str, command)], cwd=PROJECT) for command in commands]

    def listening() -> bool | None:
        assert all(process.poll() is None for process in started)
        for address in addresses:
            try:
                socket.create_connection(address, 1).close()
            except OSError:
                return None
        return True

    wait_for("the doubles", 60, listening)
    return started


def start_pod(lab: LabStack, name: str, image: str, node: str, policy: str, *command: str) -> None:
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": policy,
        **({"command": list(command)} if command else {}),
    }
    spec = {"nodeName": node, "restartPolicy": "Never", "containers": [container]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    wait_for(
        "the default service account", 60,
        lambda: lab.kubectl("get", "serviceaccount", "default", check=False).returncode == 0 or None,
    )  # fmt: skip
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def run_pod(lab: LabStack, name: str, image: str, node: str) -> dict[str, Any]:
    """A pod that must pull its image, and how it ended."""
    start_pod(lab, name, image, node, "Always", "echo", "pulled")

    def ended() -> dict[str, Any] | None:
        status: dict[str, Any] = lab.get("pod", name)["status"]
        return status if status["phase"] in ("Succeeded", "Failed") else None

    try:
        return wait_for(f"pod {name}", 180, ended)
    except TimeoutError:
        pytest.fail(lab.kubectl("describe", "pod", name).stdout[-3000:])
