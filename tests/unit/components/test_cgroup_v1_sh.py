"""Every distribution lets its kubelet run on cgroup v1, and says nothing of it on v2 (kubernetes#134298)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.steps.scripts import scripts_of
from tests.unit.components import onhost
from tests.unit.components.onhost import NEEDS_ROOT

pytestmark = NEEDS_ROOT

SETTINGS = (
    "NODE=host-1 ADDRESS=10.87.3.11 ADDONS=minimal CONTROLLERS=1 CONTROLLER_ADDRESSES=10.87.3.11 FIRST=true RUNS_WORKLOADS=true "
    "AGENTLESS=false FAILOVER=false"
)


def configured(folder: Path, part: str, script: str, *, v1: bool, container: bool) -> str:
    """What a distribution's script writes to ``$DIR/out`` on such a host."""
    text = f"""
cp "$COMPONENTS/clusters/scripts/"*.sh "$COMPONENTS/clusters/{part}/scripts/"*.sh "$DIR"
[ -e "$DIR/step.sh" ]
. "$DIR/step.sh"
. "$DIR/{part}.sh"
is_cgroup_v1() {{ {str(v1).lower()}; }}
is_container() {{ {str(container).lower()}; }}
can_lower_oom() {{ true; }}
interface_of() {{ echo eth0; }}
hostname() {{ echo host-1; }}
{SETTINGS}
{script}
cat "$DIR/out"
"""
    done = onhost.on_host(text, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def k3s(folder: Path, **host: bool) -> bool:
    said = yaml.safe_load(configured(folder, "k3s", "CONFIG=$DIR/out DATA=$DIR/data; configure server", **host))
    return "fail-cgroupv1=false" in said.get("kubelet-arg", [])


def k0s(folder: Path, **host: bool) -> bool:
    """By the profile that the worker takes."""
    script = "CONFIG=$DIR/out; configure; worker_flags | sed 's/^/# /' >>\"$DIR/out\""
    said = configured(folder, "k0s", script, **host)
    profiles = {p["name"]: p["values"] for p in yaml.safe_load(said)["spec"]["workerProfiles"]}
    taken = [line.partition("--profile=")[2] for line in said.splitlines() if "--profile=" in line]
    values: dict[str, Any] = profiles[taken[0]] if taken else {}
    return values.get("failCgroupV1") is False


def microk8s(folder: Path, **host: bool) -> bool:
    said = yaml.safe_load(
        configured(folder, "microk8s", 'COMMON=$DIR launch_config; mv "$DIR/.microk8s.yaml" "$DIR/out"', **host)
    )
    # A Boolean would be refused there.
    return bool(said["extraKubeletArgs"].get("--fail-cgroupv1") == "false")


def microshift(folder: Path, **host: bool) -> bool:
    said = yaml.safe_load(configured(folder, "microshift", "CONFIG=$DIR/out; configure", **host))
    return said.get("kubelet", {}).get("failCgroupV1") is False


@pytest.mark.parametrize("container", [True, False], ids=["container", "machine"])
@pytest.mark.parametrize("distribution", [k3s, k0s, microk8s, microshift], ids=lambda d: d.__name__)
def test_it_is_allowed_on_v1(distribution: Callable[..., bool], container: bool, tmp_path: Path) -> None:
    assert distribution(tmp_path, v1=True, container=container)


@pytest.mark.parametrize("distribution", [k3s, microk8s, microshift], ids=lambda d: d.__name__)
def test_nothing_is_said_of_it_on_v2(distribution: Callable[..., bool], tmp_path: Path) -> None:
    assert not distribution(tmp_path, v1=False, container=True)


@pytest.mark.parametrize("v1", [True, False])
def test_microk8s_with_its_own_add_ons_keeps_its_own_launch_configuration_but_on_v1(v1: bool, tmp_path: Path) -> None:
    script = (
        'ADDONS=vendor COMMON=$DIR; launch_config; { cat "$DIR/.microk8s.yaml" || echo none; } >"$DIR/out" 2>/dev/null'
    )
    said = yaml.safe_load(configured(tmp_path, "microk8s", script, v1=v1, container=False))
    if v1:
        assert set(said) == {"version", "extraKubeletArgs", "addons"}
    else:
        assert said == "none"


def test_microk8s_that_was_installed_before_is_told_once(tmp_path: Path) -> None:
    script = 'mkdir -p "$DIR/args"; DATA=$DIR; echo --x=1 >"$DIR/args/kubelet"; allow_cgroup_v1; allow_cgroup_v1; cp "$DIR/args/kubelet" "$DIR/out"'
    said = configured(tmp_path, "microk8s", script, v1=True, container=False)
    assert said.splitlines() == ["--x=1", "--fail-cgroupv1=false"]


def test_upstreams_kubelet_is_told() -> None:
    assert "\nfailCgroupV1: false\n" in (scripts_of("upstream") / "node.sh").read_text(encoding="utf-8")
