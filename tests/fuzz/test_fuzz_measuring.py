"""What is handed to ``python -m benchmarks``: workload files, hosts files, steps, kubeconfigs, results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures.summary import summarise
from benchmarks.kube.kubeconfig import require_usable
from benchmarks.measure.fingerprint import bare_fingerprint
from benchmarks.model import workload
from benchmarks.model.hosts_file import load_hosts, load_steps
from benchmarks.model.outcome import UserError
from benchmarks.model.result import Result, load_result
from benchmarks.model.samples import CallSample, PodSample, Repeat
from inputs.errors import InputError
from inputs.jsonfile import lines_of, parse_json
from tests.fuzz.texts import VALUES, edited, files, one_paragraph, swapped

WORKLOADS = [path.read_text(encoding="utf-8") for path in sorted(workload.SHIPPED.glob("*.yaml"))]
FULL = yaml.safe_dump(workload.load("deployments-40").model_dump(by_alias=True))
KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.11:6443", "certificate-authority-data": "YQ=="}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}
HOSTS = {
    "schemaVersion": 1,
    "kind": "nspawn",
    "stack": "s",
    "facts": {"cpus": 2},
    "hosts": [{"name": "host-1", "role": "controller", "address": "10.0.0.11", "port": 22, "user": "root", "sshConfig": "c"}],
}  # fmt: skip
_POD = PodSample(
    uid="u", name="pod-0", create_call_start_ns=1000, first_seen_ns=1010, running_seen_ns=9000, succeeded=True
)
_CALL = CallSample(verb="get", resource="pods", object="pod-0", start_ns=1, end_ns=2, status=200)
_REPEAT = Repeat(
    phase="measured", index=1, namespace="n", started_at="t", first_create_wall_unix_ns=0, pods_requested=1, pods_succeeded=1,
    pods=[_POD], calls=[_CALL],
)  # fmt: skip
RESULT = json.loads(
    Result(
        run_id="r", origin_unix_ns=0, complete=True, workload=workload.load("pods-8"), repeats=[_REPEAT],
        fingerprint=bare_fingerprint("https://lab", None),
        summary=summarise(
            workload=workload.load("pods-8"), run_id="r", started_at="s", finished_at="f", duration_s=1.0, wall_minus_origin_ns=0,
            repeats=[_REPEAT],
        ),
    ).model_dump_json(by_alias=True)
)  # fmt: skip
STEPS = [{"step": "install", "host": "host-1", "seconds": 2.5}]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files") / "file"


def refused_well(read: Callable[[], object], path: Path) -> None:
    try:
        read()
    except UserError as error:
        message = str(error)
        assert one_paragraph(message), message
        assert str(path) in message


@given(content=files([*WORKLOADS, FULL]))
def test_a_workload_file_of_any_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused_well(lambda: workload.load(str(path)), path)


@given(content=swapped(yaml.safe_load(FULL)))
def test_a_workload_of_any_values(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
    refused_well(lambda: workload.load(str(path)), path)


@given(
    clients=st.integers(1, 500), repeats=st.integers(1, 100), seconds=st.floats(0.001, 3600), description=st.text(max_size=20),
    image=st.text(min_size=1, max_size=20),
)  # fmt: skip
def test_a_workload_is_read_as_it_was_written(
    path: Path, clients: int, repeats: int, seconds: float, description: str, image: str
) -> None:
    content = {
        "name": "x",
        "kind": "pods",
        "clients": clients,
        "repeats": repeats,
        "description": description,
        "image": image,
    }
    expected = workload.Workload.model_validate({**content, "limits": {"startSeconds": seconds}})
    path.write_text(yaml.safe_dump(expected.model_dump(by_alias=True), allow_unicode=False), encoding="utf-8")
    assert workload.load(str(path)) == expected


@pytest.mark.parametrize(("read", "good"), [(load_hosts, HOSTS), (load_steps, STEPS), (load_result, RESULT)])
@given(data=st.data())
def test_json_files_of_any_bytes(path: Path, read: Callable[[Path], object], good: Any, data: st.DataObject) -> None:
    path.write_bytes(data.draw(files([json.dumps(good, indent=1)])))
    refused_well(lambda: read(path), path)
    path.write_text(json.dumps(data.draw(swapped(good))), encoding="utf-8")
    refused_well(lambda: read(path), path)


@given(data=st.data())
def test_a_kubeconfig_of_any_bytes_or_values(path: Path, data: st.DataObject) -> None:
    for content in (
        data.draw(files([yaml.safe_dump(KUBECONFIG)])),
        json.dumps(data.draw(swapped(KUBECONFIG))).encode(),
    ):
        path.write_bytes(content)
        for context in ("", "c", "nosuch"):
            refused_well(lambda context=context: require_usable(path, context), path)  # type: ignore[misc]


def test_the_good_ones_are_good(path: Path) -> None:
    path.write_text(json.dumps(KUBECONFIG))
    require_usable(path)
    path.write_text(json.dumps(RESULT))
    assert isinstance(load_result(path), Result)


@given(value=VALUES, indent=st.sampled_from([None, 0, 1, 4]))
def test_json_is_read_as_it_was_written_and_every_place_has_its_line(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    try:
        assert parse_json(text, "f").content == json.loads(text)
    except InputError:
        return
    lines = text.split("\n")
    for place, line in lines_of(text).items():
        if isinstance(place[-1], str):
            assert json.dumps(place[-1]) in lines[line - 1]


@given(text=st.one_of(st.text(), edited(['{"a": [1, {"b": "c"}]}'])))
def test_json_of_any_text(text: str) -> None:
    try:
        parse_json(text, "f.json")
    except InputError as error:
        assert str(error).startswith("f.json")  # noqa: PT017
        assert one_paragraph(str(error)), error  # noqa: PT017
