"""Faults while a workload is measured: no sample that was written is lost, and the next run is whole."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.lab import ONE_HOST, FaultLab
from tests.faults.running import LAST_WORDS_S, Process, Running
from tests.faults.tally import SEED, Tally
from tests.faults.victims import VICTIMS, scripts_here
from tests.lab.lab import UP_TIMEOUT_S, wait_for
from tools.setup import vendor

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]

WORKLOAD, PODS = "pods-8", 8
MEASURE_TIMEOUT_S = 400
SMALL_DISK_BYTES = 40 * 1024
"""Room for the samples of one repeat and not of two."""


@pytest.fixture(scope="module")
def measured() -> Iterator[FaultLab]:
    """A lab that is up, and has measured nothing yet."""
    with FaultLab("fault-measure", ONE_HOST).ready() as lab:
        lab.goes("lab")
        lab.note_secrets()
        yield lab


def start_bench(lab: FaultLab) -> Running:
    return lab.start("python3", "-m", "tools.lab", "bench", lab.name, WORKLOAD, "--repeats", "2")


def samples(lab: FaultLab) -> dict[Path, list[str]]:
    """Every whole line of every file of samples: what a run has acknowledged."""
    found = sorted(lab.results_folder.rglob("samples.jsonl"))
    return {path: path.read_text().split("\n")[:-1] for path in found if not path.parent.is_symlink()}


def lost(before: dict[Path, list[str]], after: dict[Path, list[str]]) -> int:
    """Lines that were there and are not, or not where they were."""
    missing = 0
    for path, lines in before.items():
        now = after.get(path, [])
        missing += sum(1 for n, line in enumerate(lines) if n >= len(now) or now[n] != line)
    return missing


def whole(lab: FaultLab) -> None:
    """The newest result is complete, with every pod up, and each sample is counted once."""
    result = json.loads((lab.results_folder / f"latest-{WORKLOAD}" / "result.json").read_text())
    assert result["complete"] is True
    assert result["summary"]["success_rate"] == 1.0
    lines = (lab.results_folder / f"latest-{WORKLOAD}" / "samples.jsonl").read_text().splitlines()
    pods = [json.loads(line)["uid"] for line in lines if json.loads(line)["kind"] == "pod"]
    repeats = len(result["warmups"]) + len(result["repeats"])
    assert len(pods) == len(set(pods)) == PODS * repeats


def broken_off(before: dict[Path, list[str]], after: dict[Path, list[str]]) -> str:
    """The error in the result of the run that has begun since."""
    (folder,) = {path.parent for path in after} - {path.parent for path in before}
    result = json.loads((folder / "result.json").read_text())
    assert result["complete"] is False
    return str(result["error"])


def steps_end_gently(lab: FaultLab) -> bool:
    """Whether the command plugin is the one built here, which gives a step half a second."""
    return any(Path(lab.env["PULUMI_HOME"]).glob(f"plugins/resource-command-*/{vendor.MARK}"))


def measuring(_lab: FaultLab, running: Running) -> list[Process]:
    return [p for p in running.family() if "-m benchmarks run" in p.words]


WHO: dict[str, Callable[[FaultLab, Running], list[Process]]] = {
    "benchmarks": measuring,
    "script": lambda lab, running: [p for p in scripts_here(lab, running) if "run.sh" in p.words],
}


def some_samples(lab: FaultLab, running: Running, before: dict[Path, list[str]]) -> None:
    """Wait until this run has written some."""

    def look() -> bool | None:
        assert not running.has_ended, running.output[-3000:]
        return any(path not in before and lines for path, lines in samples(lab).items()) or None

    wait_for("samples", MEASURE_TIMEOUT_S, look)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("who", list(WHO))
def test_a_measurement_that_is_ended_keeps_its_samples_and_the_next_one_is_whole(
    who: str, number: signal.Signals, measured: FaultLab, tally: Tally
) -> None:
    chance = random.Random(f"{SEED} {who} {number}")
    before = samples(measured)
    running = start_bench(measured)
    some_samples(measured, running, before)
    running.outlived_by(chance.uniform(0, 3))
    victims = WHO[who](measured, running)
    assert victims, running.output[-3000:]
    assert victims[0].signal(number)
    acknowledged = samples(measured)
    injection = tally.inject(f"{number.name} while measuring", f"{who}, {sum(map(len, acknowledged.values()))} samples")
    code = running.wait(MEASURE_TIMEOUT_S)
    assert running.outlived_by(MEASURE_TIMEOUT_S if who == "script" else LAST_WORDS_S) == []
    assert "Traceback" not in running.output
    injection.samples_lost = lost(acknowledged, samples(measured))
    again = start_bench(measured)
    assert again.wait(MEASURE_TIMEOUT_S) == 0, again.output[-4000:]
    whole(measured)
    injection.samples_lost += lost(acknowledged, samples(measured))
    injection.secrets = measured.leaks()
    assert (injection.samples_lost, injection.secrets) == (0, [])
    injection.ended(f"exit code {code}; measured again")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_an_up_that_is_ended_while_it_measures_keeps_its_samples_and_the_next_up_measures(
    number: signal.Signals, measured: FaultLab, tally: Tally
) -> None:
    before = samples(measured)
    # A setting that only the workload has: the hosts and the cluster stay.
    repeats = {signal.SIGINT: "2", signal.SIGTERM: "4", signal.SIGKILL: "5"}[number]
    words = ("--plaintext", f'litelab:workloads=["{WORKLOAD}"]', "--plaintext", f"litelab:repeats={repeats}")
    measured.pulumi("config", "set-all", "--path", *words)
    running = measured.start_verb("lab")
    some_samples(measured, running, before)
    victims = VICTIMS["pulumi"](measured, running)
    assert [victim.signal(number) for victim in victims] == [True]
    acknowledged = samples(measured)
    injection = tally.inject(
        f"{number.name} while measuring", f"Pulumi, {sum(map(len, acknowledged.values()))} samples"
    )
    code = running.wait(UP_TIMEOUT_S)
    assert running.outlived_by() == []
    if steps_end_gently(measured):
        assert "was interrupted" in broken_off(before, acknowledged)
    measured.goes("lab")
    whole(measured)
    injection.samples_lost = lost(acknowledged, samples(measured))
    injection.secrets = measured.leaks()
    assert (injection.samples_lost, injection.secrets) == (0, [])
    injection.ended(f"exit code {code}; make lab measured again")


def test_a_disk_that_is_full_is_an_error_and_what_was_written_stays(measured: FaultLab, tally: Tally) -> None:
    measured.results_folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "none", str(measured.results_folder)]
    subprocess.run(mount, check=True, timeout=10)
    try:
        injection = tally.inject("disk full", f"results on {SMALL_DISK_BYTES} bytes")
        running = start_bench(measured)
        assert running.wait(MEASURE_TIMEOUT_S) != 0
        assert running.outlived_by() == []
        output = running.output
        assert "Traceback" not in output, output[-4000:]
        assert "No space left on device" in output, output[-4000:]
        assert "df -h" in output, output[-4000:]
        (lines,) = samples(measured).values()
        assert lines
        assert all(json.loads(line) for line in lines)
    finally:
        subprocess.run(["umount", str(measured.results_folder)], check=True, timeout=10)
    again = start_bench(measured)
    assert again.wait(MEASURE_TIMEOUT_S) == 0, again.output[-4000:]
    whole(measured)
    injection.ended("the error names disk and fix; measured again")


def test_a_lab_that_is_destroyed_beside_one_that_measures_disturbs_nothing_but_time(
    measured: FaultLab, lab: FaultLab, tally: Tally
) -> None:
    lab.goes("lab")
    before = samples(measured)
    running = start_bench(measured)
    some_samples(measured, running, before)
    injection = tally.inject("two operators", "one destroys while the other measures")
    acknowledged = samples(measured)
    lab.goes("destroy")
    assert running.wait(MEASURE_TIMEOUT_S) == 0, running.output[-4000:]
    whole(measured)
    injection.samples_lost = lost(acknowledged, samples(measured))
    injection.orphans = lab.orphans()
    assert (injection.samples_lost, injection.orphans) == (0, [])
    injection.ended("both went through")


def test_the_lab_that_was_hurt_so_often_goes_and_leaves_nothing(measured: FaultLab, tally: Tally) -> None:
    measured.goes("destroy")
    assert measured.orphans() == []
