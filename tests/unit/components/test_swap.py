"""A machine with swap: every distribution's kubelet starts, and what is known of swap is said."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from components.checks import machine
from components.steps.scripts import scripts_of
from tools.setup import doctor

HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def function(script: Path, name: str) -> str:
    """One function of a script that does its work when it is sourced."""
    found = re.search(rf"^{name}\(\) \{{\n.*?^\}}\n", script.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


def test_upstreams_kubelet_starts_where_the_machine_swaps_and_swaps_no_pod() -> None:
    text = "set -eu; TAINT=true KUBE=/k DNS_ADDRESS=10.96.0.10\n"
    text += function(scripts_of("upstream") / "node.sh", "kubelet_config") + "kubelet_config"
    said = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True, timeout=10).stdout
    config = yaml.safe_load(said)
    assert config["failSwapOn"] is False
    assert config["memorySwap"] == {"swapBehavior": "NoSwap"}


@pytest.mark.parametrize("part", ["k0s", "k3s", "microshift"])
def test_the_other_kubelets_start_too(part: str) -> None:
    """MicroK8s' own default is ``--fail-swap-on=false``."""
    text = (scripts_of(part) / f"{part}.sh").read_text(encoding="utf-8")
    assert re.search(r"failSwapOn: false|fail-swap-on=false", text)


@pytest.mark.parametrize(
    ("rows", "mib"),
    [
        ("", 0),
        ("/swap.img                               file\t\t2097148\t\t0\t\t-2\n", 2047),
        ("/dev/zram0   partition\t1048576\t0\t100\n/a\\040b   file\t1048576\t5\t-3\n", 2048),
    ],
)
def test_all_swap_that_is_on_is_counted(rows: str, mib: int) -> None:
    assert machine.swap_mib(HEAD + rows) == mib


@pytest.mark.parametrize(
    ("file", "can"),
    [
        ("cgroup.controllers", False),
        ("a.slice/memory.swap.max", True),
        ("memory/memory.swappiness", True),
        ("memory/cgroup.procs", False),
    ],
)
def test_whether_hosts_can_be_kept_from_swap(tmp_path: Path, file: str, can: bool) -> None:
    paths = [file] + (["cgroup.controllers"] if file.startswith("a.slice") else [])
    for path in paths:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert machine.can_forbid_swap(tmp_path) is can


@pytest.mark.parametrize(("mib", "can", "words"), [(0, True, "off"), (2048, True, "kept from it"), (8, False, "can't")])
def test_doctor_says_it_and_is_fine(mib: int, can: bool, words: str) -> None:
    finding = doctor.swap(mib, can)
    assert finding.ok
    assert words in finding.detail


def test_a_result_has_the_hosts_swap() -> None:
    from benchmarks.measure.host_probe import _SCRIPT as SCRIPT
    from benchmarks.measure.host_probe import HostProbe

    said = subprocess.run(["sh", "-c", SCRIPT], input="", capture_output=True, text=True, check=True, timeout=10).stdout
    (line,) = (line for line in said.splitlines() if line.startswith("swap_kib="))
    rows = Path("/proc/swaps").read_text(encoding="utf-8").splitlines()[1:]
    assert int(line.partition("=")[2]) == sum(int(row.split()[2]) for row in rows)
    assert HostProbe(name="h", role="worker").swap_kib is None
