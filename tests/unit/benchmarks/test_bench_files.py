"""Workload, hosts and steps files: what is taken, and how the rest is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.model import result_folder, workload
from benchmarks.model.hosts_file import load_hosts, load_steps
from benchmarks.model.outcome import UserError

GOOD = {"name": "mine", "kind": "pods", "clients": 2, "image": "litelab/pause:1"}
HOST = {"name": "host-1", "role": "controller", "address": "10.0.0.11"}


def written(folder: Path, content: object) -> Path:
    path = folder / "file.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("name", "pods"), [("pods-8", 8), ("pods-24", 24), ("deployments-40", 40), ("deployments-120", 120)]
)
def test_the_shipped_workloads_ask_for_as_many_pods_as_their_names_say(name: str, pods: int) -> None:
    shipped = workload.load(name)
    assert shipped.name == name
    assert shipped.pods == pods
    assert shipped.warmups >= 1


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, {**GOOD, "repeats": 3})
    assert workload.load(str(path), repeats=7).repeats == 7
    assert workload.load(str(path)).repeats == 3


def test_the_digest_changes_with_what_is_measured_and_not_with_how_often(tmp_path: Path) -> None:
    digest = workload.load(str(written(tmp_path, GOOD))).digest()
    for harmless in ({"repeats": 9}, {"warmups": 0}, {"description": "other"}):
        assert workload.load(str(written(tmp_path, {**GOOD, **harmless}))).digest() == digest
    for telling in ({"clients": 3}, {"image": "other:1"}, {"imagePullPolicy": "Never"}):
        assert workload.load(str(written(tmp_path, {**GOOD, **telling}))).digest() != digest


@pytest.mark.parametrize(("factor", "start_s", "call_s"), [(1, 120, 60), (8, 960, 480), (100, 3600, 600)])
def test_patience_multiplies_the_limits_up_to_the_longest_and_makes_another_workload(
    factor: int, start_s: float, call_s: float
) -> None:
    plain = workload.load("pods-8")
    patient = plain.with_patience(factor)
    assert (patient.limits.start_seconds, patient.limits.call_seconds) == (start_s, call_s)
    assert (patient.digest() == plain.digest()) is (factor == 1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({**GOOD, "client": 3}, "file.yaml:1: unknown key client. Did you mean clients?"),
        (
            {**GOOD, "limits": {"startSecond": 3}},
            "file.yaml:1: unknown key limits.startSecond. Did you mean startSeconds?",
        ),
        ({**GOOD, "slo": {"zzz": 3}}, "unknown key slo.zzz. Keys here: getCallP99Seconds,"),
        ({**GOOD, "clients": 0}, "clients: takes a whole number from 1 to 500, and it is 0: set it to 1 or more"),
        ({**GOOD, "replicas": 5}, "only deployments have replicas"),
        ({**GOOD, "name": "Not a label"}, "small letters"),
        ({**GOOD, "imagePullPolicy": "Always"}, "imagePullPolicy: takes 'Never' or 'IfNotPresent', and it is 'Always'"),
        ({k: v for k, v in GOOD.items() if k != "image"}, "image: is missing"),
        ("- a list", "holds keys and values"),
        ("a: [", "file.yaml:1: is not YAML"),
        ({**GOOD, "clients": True}, "clients: takes a whole number from 1 to 500, and it is true"),
        ("name: a\nname: b\n", "file.yaml:2: name: is there twice, here and in line 1"),
    ],
)
def test_a_workload_that_can_not_be_is_refused_by_its_path(tmp_path: Path, content: object, told: str) -> None:
    with pytest.raises(UserError) as refusal:
        workload.load(str(written(tmp_path, content)))
    assert told in str(refusal.value)


def test_an_unknown_workload_names_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r"deployments-40.*pods-8"):
        workload.load("pods-9")


def test_a_hosts_file_is_taken_with_any_facts(tmp_path: Path) -> None:
    content = {
        "kind": "nspawn",
        "stack": "s",
        "facts": {"cpus": 2, "deep": {"a": [1]}},
        "hosts": [{**HOST, "sshConfig": "c"}],
    }
    hosts = load_hosts(written(tmp_path, content))
    assert hosts.hosts[0].ssh_config == str(tmp_path / "c"), "wherever the lab's folder was moved to"
    assert hosts.facts["deep"] == {"a": [1]}


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ({**HOST, "addres": "x"}, "file.yaml:1: unknown key hosts.0.addres. Did you mean address?"),
        ({**HOST, "role": "boss"}, "hosts.0.role: takes 'controller' or 'worker', and it is 'boss'"),
        ({**HOST, "port": 0}, "hosts.0.port"),
        ({**HOST, "name": "-oProxyCommand=x"}, "hosts.0.name"),
    ],
)
def test_a_host_that_can_not_be_is_refused_by_its_path(tmp_path: Path, host: object, told: str) -> None:
    with pytest.raises(UserError) as refusal:
        load_hosts(written(tmp_path, {"kind": "nspawn", "hosts": [host]}))
    assert told in str(refusal.value)


def test_steps_are_a_list_of_step_host_and_seconds(tmp_path: Path) -> None:
    steps = load_steps(written(tmp_path, [{"step": "install", "host": "host-1", "seconds": 2.5, "more": 1}]))
    assert steps[0].seconds == 2.5
    with pytest.raises(UserError, match=r"file\.yaml:1: 0\.seconds: is missing"):
        load_steps(written(tmp_path, [{"step": "install", "host": "host-1"}]))
    with pytest.raises(UserError, match=r"none\.json: there is no such file"):
        load_steps(tmp_path / "none.json")


def test_a_second_run_into_a_folder_is_refused_and_the_first_ones_samples_stay(tmp_path: Path) -> None:
    first = result_folder.ResultFolder(tmp_path / "out")
    with pytest.raises(UserError, match="takes the results of another run that goes on"):
        result_folder.ResultFolder(tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [result_folder.SAMPLES]
    first.close()
    result_folder.ResultFolder(tmp_path / "out").close()


def test_a_run_that_was_killed_lets_the_next_one_into_its_folder(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from benchmarks.model.result_folder import ResultFolder;"
        "folder = ResultFolder(Path(sys.argv[1])); print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "out")], stdout=subprocess.PIPE) as first:
        assert first.stdout
        assert first.stdout.readline() == b"in\n"
        with pytest.raises(UserError, match="another run"):
            result_folder.ResultFolder(tmp_path / "out")
        first.kill()
    result_folder.ResultFolder(tmp_path / "out").close()


class TestFullDisk:
    """A real limit on the size of files: the kernel writes what fits, then refuses."""

    SCRIPT = """
import resource, sys
from pathlib import Path
from benchmarks.model import result_folder
from benchmarks.model.outcome import MeasurementError
from benchmarks.model.samples import CallSample, Repeat

call = CallSample(verb="get", resource="pods", object="pod-0", start_ns=1, end_ns=2, status=200)
repeat = Repeat(phase="measured", index=1, namespace="n", started_at="t", first_create_wall_unix_ns=1, pods_requested=1,
                pods_succeeded=1, pods=[], calls=[call] * 50)
folder = result_folder.ResultFolder(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for write in (lambda: folder.append_samples(repeat), lambda: folder.write("result.json", repeat)):
    try:
        write()
    except MeasurementError as error:
        print(error)
folder.close()
"""

    def test_it_is_an_error_with_the_folder_and_only_whole_lines_stay(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-c", self.SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
        )
        for name, told in zip(("samples.jsonl", "result.json"), done.stdout.splitlines(), strict=True):
            assert told.startswith(f"Could not measure: {name} could not be written ({tmp_path})")
            assert f"'df -h {tmp_path}' shows the disk" in told
        text = (tmp_path / "samples.jsonl").read_text()
        assert 500 < len(text) < 1000
        assert all(json.loads(line)["object"] == "pod-0" for line in text.splitlines())
        assert text.endswith("\n")
        assert not (tmp_path / "result.json").exists()
