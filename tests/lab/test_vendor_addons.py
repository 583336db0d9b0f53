"""Labs with the add-ons that a vendor installs by itself (``addons: vendor``), of the real K3s and k0s alone.

Their images are not among those that hosts without a way out are given: what is held is that the lab comes up, and what is declared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.lab import distributions as common
from tests.lab import k0slabs, k3slabs
from tests.lab.lab import LabStack

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]

DECLARED = {
    "k0s": ("deployment/metrics-server", "crd/plans.autopilot.k0sproject.io", "crd/charts.helm.k0sproject.io"),
    "k3s": ("deployment/metrics-server", "deployment/local-path-provisioner", "helmchart/traefik"),
}


@pytest.fixture(scope="module", params=["k0s", "k3s"])
def part(request: pytest.FixtureRequest) -> str:
    if f"LITELAB_{request.param.upper()}" not in os.environ:
        pytest.skip(f"its double has none; LITELAB_{request.param.upper()} names no real {request.param}")
    return str(request.param)


@pytest.fixture(scope="module")
def lab(part: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    labs = {"k0s": k0slabs, "k3s": k3slabs}[part]
    vendor = labs.find_vendor(tmp_path_factory.mktemp(part))
    lab = labs.lab_of(vendor, f"test-{part}-vendor", tmp_path_factory.mktemp("cache"), addons="vendor", workers="1")
    with lab.standing(common.UP_S):
        yield lab


def test_what_the_vendor_installs_is_declared(lab: LabStack, part: str) -> None:
    for name in DECLARED[part]:
        lab.kubectl("-n", "kube-system", "get", name)


def test_what_was_measured_came_up_and_says_which_addons(lab: LabStack) -> None:
    common.measured(lab, "pods-8")
    result = json.loads((lab.results_folder / "latest-pods-8" / "result.json").read_text())
    assert result["fingerprint"]["lab"]["facts"]["addons"] == "vendor"
