"""Upstream Kubernetes brought from one minor to the next on a lab that stands, under pods that must run on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.catalog import pins
from components.config.settings import DEFAULT_MINOR
from tests.lab.distributions import container_of, start_pod, steps_of, up
from tests.lab.lab import PROJECT, LabStack

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    # One of the two is not the default, and is built first where it is not in the cache.
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]

HOSTS = ("host-1", "host-2")
VERSIONS = pins.versions("upstream")
MINORS = sorted(VERSIONS, key=lambda minor: int(minor.partition(".")[2]))
FROM = MINORS[max(MINORS.index(DEFAULT_MINOR) - 1, 0)]
TO = MINORS[MINORS.index(FROM) + 1]


def ask_for(lab: LabStack, minor: str) -> None:
    lab.pulumi("config", "set", "litelab:version", VERSIONS[minor])


def build(lab: LabStack) -> None:
    """What ``make lab`` does first."""
    command = ["python3", "-m", "tools.setup", "setup", "--stack", lab.name]
    subprocess.run(command, cwd=PROJECT, env={**lab.env, "YES": "1"}, check=True, timeout=2400)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabStack]:
    settings = {"workers": "1", "workloads": "[]", "hosts.memoryMib": "1536", "version": VERSIONS[FROM]}
    lab = LabStack("test-upstream-up", settings)
    try:
        lab.prepare()
        ask_for(lab, TO)
        build(lab)
        ask_for(lab, FROM)
        build(lab)
        up(lab)
        yield lab
    finally:
        lab.remove()


def kubelets(lab: LabStack) -> set[str]:
    return {node["status"]["nodeInfo"]["kubeletVersion"] for node in lab.get("nodes")["items"]}


def test_a_version_that_was_not_built_is_refused_and_no_host_is_changed(lab: LabStack, tmp_path: Path) -> None:
    cache = Path(lab.env["LITELAB_CACHE"])
    (tmp_path / "artifacts").mkdir()
    for entry in cache.iterdir():
        if entry.name != "artifacts":
            (tmp_path / entry.name).symlink_to(entry)
    before = steps_of(lab, HOSTS)
    ask_for(lab, TO)
    there, lab.env["LITELAB_CACHE"] = lab.env["LITELAB_CACHE"], str(tmp_path)
    try:
        refused = lab.pulumi("up", "--yes", "--skip-preview", check=False)
    finally:
        lab.env["LITELAB_CACHE"] = there
    assert refused.returncode != 0
    assert f"Kubernetes {VERSIONS[TO]} was not built" in refused.stdout
    assert f"make setup STACK={lab.name}" in refused.stdout
    assert steps_of(lab, HOSTS) == before


def test_it_goes_over_the_hosts_and_leaves_pods_running(lab: LabStack) -> None:
    assert kubelets(lab) == {VERSIONS[FROM]}
    start_pod(lab, "keep")
    before = container_of(lab, "keep")
    ask_for(lab, TO)
    up(lab)
    assert kubelets(lab) == {VERSIONS[TO]}
    assert container_of(lab, "keep") == before
    (pod,) = lab.get("pod", "keep")["status"]["containerStatuses"]
    assert pod["restartCount"] == 0
    assert lab.outputs()["cluster"]["version"] == VERSIONS[TO]
    ended = steps_of(lab, HOSTS)
    assert {host: steps.count("upgrade") for host, steps in ended.items()} == dict.fromkeys(HOSTS, 1)
    assert {host: (steps.count("prepare"), steps.count("node")) for host, steps in ended.items()} == dict.fromkeys(
        HOSTS, (1, 1)
    )


def test_another_up_changes_nothing(lab: LabStack) -> None:
    lab.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")


def test_a_downgrade_is_refused_with_the_reason_and_the_lab_goes_on(lab: LabStack) -> None:
    ask_for(lab, FROM)
    refused = lab.pulumi("up", "--yes", "--skip-preview", check=False)
    assert refused.returncode != 0
    assert "a cluster is never downgraded" in refused.stdout
    assert kubelets(lab) == {VERSIONS[TO]}
