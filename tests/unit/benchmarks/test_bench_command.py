"""The command line: exit codes and what a person reads when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.model.result import SCHEMA_FILE, schema_text

ROOT = Path(__file__).parents[3]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_committed_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text() == schema_text(), "run `python -m benchmarks schema --write`"


def test_the_schema_refuses_unknown_keys_and_other_versions() -> None:
    schema = json.loads(schema_text())
    assert schema["additionalProperties"] is False
    assert schema["properties"]["schemaVersion"]["const"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "pods-9", "--kubeconfig", "k", "--out", "o"], "There is no workload 'pods-9'"),
        (["run", "pods-8", "--kubeconfig", "/nowhere/k", "--out", "o"], "There is no kubeconfig /nowhere/k"),
        (
            ["run", "pods-8", "--kubeconfig", "k", "--hosts", "/nowhere/h", "--out", "o"],
            "/nowhere/h: there is no such file",
        ),
        (["run", "pods-8", "--kubeconfg", "k"], "No such option"),
        (["show", "/nowhere"], "/nowhere: there is no such file"),
        (["nonsense"], "No such command"),
    ],
)
def test_a_users_mistake_is_told_in_one_sentence_with_exit_code_1(arguments: list[str], told: str) -> None:
    ended = benchmarks(*arguments)
    assert ended.returncode == 1
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_two_workloads_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text((ROOT / "benchmarks/workloads/pods-8.yaml").read_text())
    mine = str(tmp_path / "mine.yaml")
    ended = benchmarks("check", "pods-8", "deployments-40", mine)
    assert ended.returncode == 1
    assert f"{mine}: has the name 'pods-8' of pods-8, and results are kept by that name" in ended.stderr
    assert "deployments-40: can be measured" in ended.stdout


def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path) -> None:
    for content in ("a: [", "a: 3", "", "\x00"):
        (tmp_path / "k").write_text(content)
        ended = benchmarks("run", "pods-8", "--kubeconfig", str(tmp_path / "k"), "--out", str(tmp_path / "out"))
        assert ended.returncode == 1
        assert f"The kubeconfig can't be used: {tmp_path / 'k'}:" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_server_that_does_not_answer_is_told_in_one_paragraph_and_leaves_a_result(tmp_path: Path) -> None:
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "k").write_text(json.dumps(kubeconfig))
    ended = benchmarks("run", "pods-8", "--kubeconfig", str(tmp_path / "k"), "--out", str(tmp_path / "out"))
    assert ended.returncode == 1
    told = ended.stderr.strip().splitlines()[-1]
    assert told.startswith("Could not measure: the API server does not answer (http://127.0.0.1:1).")
    assert "Check that the lab is up" in told
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["outcome"]["exit_code"] == 1


def test_a_result_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"schemaVersion": 2}')
    ended = benchmarks("show", str(tmp_path))
    assert ended.returncode == 1
    assert "result.json:1: schemaVersion: takes 1, and it is 2" in ended.stderr
