"""An artifact that makes ``init`` fail is corrected, and the same command goes on: what hosts have follows what was fetched."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.lab import ONE_HOST
from tests.lab import k0slabs, k3slabs
from tests.lab.lab import LabStack

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
    pytest.mark.skipif("LITELAB_K0S" in os.environ or "LITELAB_K3S" in os.environ, reason="it hurts doubles"),
]


@pytest.fixture(params=["k0s", "k3s"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, LabStack, dict[str, object]]]:
    """A distribution, a lab of it that has not been brought up, and its artifacts."""
    name: str = request.param
    (tmp_path / "vendor").mkdir()
    (tmp_path / "cache").mkdir()
    if name == "k0s":
        of = k0slabs.find_vendor(tmp_path / "vendor")
        # Its double has no controller that is a worker.
        two = {**ONE_HOST, "workers": "1", "controllerRunsWorkloads": "false"}
        lab = k0slabs.lab_of(of, "test-corrected", tmp_path / "cache", **two)
        artifacts = k0slabs.artifacts(of.first)
    else:
        k3s = k3slabs.find_vendor(tmp_path / "vendor")
        lab = k3slabs.lab_of(k3s, "test-corrected", tmp_path / "cache", **ONE_HOST)
        artifacts = k3slabs.artifacts(k3s, k3s.first)
    try:
        lab.prepare()
        yield name, lab, json.loads(artifacts)
    finally:
        lab.remove()


def broken(program: str) -> str:
    """The double, but what it should run ends at once."""
    return re.sub(
        r"^case \$\{1:-\} in$",
        'case ${1:-} in\nserver | controller) echo "it is broken" >&2; exit 1 ;;',
        program,
        flags=re.MULTILINE,
    )


def test_a_corrected_program_reaches_the_host(given: tuple[str, LabStack, dict[str, object]], tmp_path: Path) -> None:
    name, lab, artifacts = given
    right = artifacts[name]
    source = right["source"] if isinstance(right, dict) else right
    text = Path(str(source)).read_text()
    bad = tmp_path / name
    bad.write_text(broken(text))
    assert bad.read_text() != text
    lab.pulumi("config", "set", "litelab:artifacts", json.dumps({**artifacts, name: str(bad)}))
    done = lab.pulumi("up", "--yes", "--skip-preview", check=False, timeout=600)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "it is broken" in said
    waited = [int(s) for s in re.findall(r"waited (\d+) s for", said)]
    assert max(waited, default=0) < 120, said[-3000:]
    bad.write_text(text)
    lab.pulumi("up", "--yes", "--skip-preview", timeout=600)
    ready = [c["status"] for n in lab.get("nodes")["items"] for c in n["status"]["conditions"] if c["type"] == "Ready"]
    assert ready == ["True"]
