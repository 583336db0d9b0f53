"""One bound and one name, wherever they are asked for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.model.workload import Workload
from components.config.settings import LabSettings
from inputs.limits import MOST_REPEATS, WORKLOAD, workload_label

SCRIPT = Path(__file__).resolve().parents[2] / "components" / "benchmarks" / "scripts" / "run.sh"


@pytest.mark.parametrize("model", [LabSettings, Workload])
def test_repeats_have_one_bound(model: type[LabSettings | Workload]) -> None:
    assert model.model_json_schema()["properties"]["repeats"]["maximum"] == MOST_REPEATS


@pytest.mark.parametrize(
    ("workload", "label"),
    [
        ("pods-8", "pods-8"),
        ("mine.yaml", "mine"),
        ("a/pods.yaml", "a-pods"),
        ("b/pods.yaml", "b-pods"),
        ("/srv/b/pods.yaml", "srv-b-pods"),
        ("a/pods.yml", "a-pods.yml"),
    ],
)
def test_results_of_two_files_have_two_names_in_the_script_too(workload: str, label: str) -> None:
    assert re.fullmatch(WORKLOAD, workload)
    assert workload_label(workload) == label
    function = re.search(r"^label\(\) \{.*?^\}", SCRIPT.read_text(), re.MULTILINE | re.DOTALL)
    assert function
    done = subprocess.run(
        ["bash", "-c", f'{function[0]}\nlabel "$1"', "label", workload], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{label}\n"
