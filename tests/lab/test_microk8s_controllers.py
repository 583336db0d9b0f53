"""Three control planes of MicroK8s' double and a worker, and one control plane down."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.hostimage import double_cache
from tests.lab import distributions as common
from tests.lab.controllers import CONTROLLERS, ONE, THREE, becomes, ready_by, starts_a_pod_without
from tests.lab.lab import LabStack, environment
from tests.lab.test_microk8s import STORE

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]

UNITS = "snap.microk8s.daemon-kubelite snap.microk8s.daemon-k8s-dqlite"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    env = environment()
    cache = double_cache(Path(env["LITELAB_CACHE"]), tmp_path_factory.mktemp("cache"), "microk8s", store=STORE)
    settings = {**common.COMMON, **THREE, "workloads": "[]"}
    lab = LabStack("test-microk8s-ha", settings, {**env, "LITELAB_CACHE": str(cache)}, "microk8s-lab")
    with lab.standing(common.UP_S):
        yield lab


def test_its_own_word_is_high_availability(lab: LabStack) -> None:
    assert "high-availability: yes" in lab.ssh("host-1", "/snap/bin/microk8s status").stdout


def test_the_kubeconfig_has_a_context_for_each(lab: LabStack) -> None:
    assert all(ready_by(lab, name) for name in CONTROLLERS)


@pytest.mark.parametrize("down", CONTROLLERS)
def test_with_one_down_the_others_answer_and_a_pod_starts(down: str, lab: LabStack) -> None:
    starts_a_pod_without(lab, down, UNITS)


def test_with_one_alone_it_is_another_cluster_on_the_same_hosts(lab: LabStack) -> None:
    becomes(lab, ONE, {*CONTROLLERS, "host-4"})
    assert "high-availability: no" in lab.ssh("host-1", "/snap/bin/microk8s status").stdout
