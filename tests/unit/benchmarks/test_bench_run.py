"""Whole runs against a double of an API server: what is written, counted and left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks.commands.show import show
from benchmarks.measure.run import run_workload
from benchmarks.model.result import SCHEMA_FILE, Result, load_result
from benchmarks.model.result_folder import SUMMARY_LIMIT_BYTES
from benchmarks.model.workload import Limits, Workload
from tests.doubles.apiserver import ApiServer, Faults, serving

ROOT = Path(__file__).parents[3]


def pods(clients: int = 3, **more: Any) -> Workload:
    return Workload(name="small", kind="pods", clients=clients, image="i", **{"warmups": 0, "repeats": 1, **more})


def deployments(**more: Any) -> Workload:
    defaults = {"warmups": 0, "repeats": 1, "clients": 2, "replicas": 3}
    return Workload(name="small", kind="deployments", image="i", **{**defaults, **more})


def run(folder: Path, workload: Workload, server: ApiServer | None = None, faults: Faults | None = None) -> Result:
    async def main() -> Result:
        api = server or ApiServer(faults)
        async with serving(api, folder / "kubeconfig"):
            return await run_workload(workload, folder / "kubeconfig", None, [], folder / "out")

    return asyncio.run(main())


def test_a_good_run_counts_every_pod_and_call_once(tmp_path: Path) -> None:
    result = run(tmp_path, pods(4, warmups=1, repeats=2))
    summary = result.summary
    assert (summary.outcome.verdict, summary.outcome.exit_code) == ("good", 0)
    assert (summary.pods_requested, summary.pods_succeeded, summary.success_rate) == (8, 8, 1.0)
    assert (len(result.warmups), len(result.repeats)) == (1, 2)
    assert {name: figures.n for name, figures in summary.api_ms.items()} == dict.fromkeys(
        ["create pods", "list pods", "get pods", "update pods", "delete pods"], 8
    )
    assert summary.startup_ms["startup"].n == 8
    assert summary.startup_ms["deletion"].n == 8
    assert all(repeat.pods_listed == 4 for repeat in result.repeats)


def test_stamps_are_in_the_order_of_a_pods_life(tmp_path: Path) -> None:
    server = ApiServer(pod_seconds=0.2)
    for pod in run(tmp_path, pods(), server).repeats[0].pods:
        order = [
            pod.create_call_start_ns,
            pod.first_seen_ns,
            pod.scheduled_seen_ns,
            pod.started_seen_ns,
            pod.delete_call_start_ns,
            pod.deleted_seen_ns,
        ]
        assert all(stamp is not None for stamp in order)
        assert order == sorted(order)  # type: ignore[type-var]
        assert pod.started_seen_ns is not None
        assert pod.scheduled_seen_ns is not None
        assert pod.started_seen_ns - pod.scheduled_seen_ns >= 190_000_000
        assert pod.server.scheduled_event_time == "2026-01-02T03:04:05.123456Z"


def test_throughput_is_pods_over_the_time_from_first_call_to_last_running(tmp_path: Path) -> None:
    result = run(tmp_path, pods(3), ApiServer(pod_seconds=0.3))
    seen = result.repeats[0].pods
    took_ns = max(p.running_seen_ns or 0 for p in seen) - min(p.create_call_start_ns or 0 for p in seen)
    throughput = result.summary.throughput_true_pods_per_min
    assert throughput is not None
    assert throughput.median == pytest.approx(3 * 60e9 / took_ns, abs=0.001)
    assert throughput.median < 3 * 60 / 0.3


def test_pods_of_deployments_are_known_by_their_owner(tmp_path: Path) -> None:
    result = run(tmp_path, deployments())
    assert result.summary.pods_succeeded == 6
    owners = sorted(pod.owner or "" for pod in result.repeats[0].pods)
    assert owners == ["deployment-0"] * 3 + ["deployment-1"] * 3
    assert all(pod.create_call_start_ns is not None for pod in result.repeats[0].pods)
    assert result.summary.api_ms["create deployments"].n == 2


def test_every_repeat_has_a_namespace_of_its_own_and_each_is_removed(tmp_path: Path) -> None:
    server = ApiServer()
    result = run(tmp_path, pods(warmups=1, repeats=2), server)
    assert len(set(server.namespaces_ever)) == 3
    assert all(name.startswith(f"bench-{result.run_id}-") for name in server.namespaces_ever)
    assert server.namespaces_asked_to_go == 3


def test_files_are_whole_small_and_under_their_schema(tmp_path: Path) -> None:
    result = run(tmp_path, pods(warmups=1))
    written = json.loads((tmp_path / "out/result.json").read_text())
    jsonschema.validate(written, json.loads(SCHEMA_FILE.read_text()))
    assert load_result(tmp_path / "out") == result
    summary = (tmp_path / "out/summary.json").read_bytes()
    assert len(summary) < SUMMARY_LIMIT_BYTES
    assert json.loads(summary)["schemaVersion"] == 1
    lines = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    assert sum(line["kind"] == "pod" and line["phase"] == "measured" for line in lines) == 3
    assert sum(line["kind"] == "pod" and line["phase"] == "warmup" for line in lines) == 3
    assert sum(line["kind"] == "call" and line["phase"] == "measured" for line in lines) == 15
    assert not list((tmp_path / "out").glob(".*"))


def test_an_earlier_runs_files_are_kept(tmp_path: Path) -> None:
    first = run(tmp_path, pods())
    second = run(tmp_path, pods())
    assert load_result(tmp_path / "out").run_id == second.run_id
    kept = list((tmp_path / "out/previous").glob("*/result.json"))
    assert [load_result(file).run_id for file in kept] == [first.run_id]


@pytest.mark.parametrize("given", ["results", "results/*"])
def test_a_result_is_shown_once_however_often_it_is_named(
    tmp_path: Path, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for day, clients in (("20260101T000000Z-small", 3), ("20260102T000000Z-small", 4)):
        run(tmp_path, pods(clients))
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / "out").rename(tmp_path / "results" / day)
    (tmp_path / "results/latest-small").symlink_to("20260102T000000Z-small")
    show(sorted(tmp_path.glob(given)))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()].count("small") == 2


def test_dropped_watches_lose_no_pod_and_are_recorded(tmp_path: Path) -> None:
    result = run(tmp_path, pods(6), faults=Faults(drop_watch_after_events=[4, 3, 7]))
    assert result.summary.success_rate == 1.0
    assert len(result.repeats[0].pods) == 6
    assert result.summary.watch_interruptions == 3
    assert {gap.resumed_by for gap in result.repeats[0].interruptions} == {"resume"}
    assert result.summary.pods_with_delayed_stamps > 0


def test_an_expired_watch_is_filled_from_a_list(tmp_path: Path) -> None:
    result = run(tmp_path, pods(4), faults=Faults(drop_watch_after_events=[6], gone_on_resume=True))
    assert result.summary.success_rate == 1.0
    assert [gap.resumed_by for gap in result.repeats[0].interruptions] == ["relist"]
    assert len({pod.uid for pod in result.repeats[0].pods}) == 4


def test_a_watch_that_tells_nothing_is_not_blamed_on_the_pods(tmp_path: Path) -> None:
    server = ApiServer(Faults(silent_watch=True))
    result = run(tmp_path, pods(limits=Limits(start_seconds=0.3)), server)
    assert result.summary.outcome.verdict == "error"
    assert "delivers no events" in (result.error or "")
    assert not result.complete
    assert len(result.repeats[0].calls) == 3
    assert server.namespaces == {}


def test_a_pod_that_is_never_scheduled_ends_in_a_timeout_with_its_cause(tmp_path: Path) -> None:
    faults = Faults(never_schedule={"pod-1"})
    result = run(tmp_path, pods(3, limits=Limits(start_seconds=0.5)), faults=faults)
    summary = result.summary
    assert (summary.outcome.verdict, summary.outcome.exit_code) == ("timeout", 2)
    assert (summary.pods_succeeded, summary.pods_requested) == (2, 3)
    assert "0/1 nodes are available" in summary.outcome.reason
    assert [slo.name for slo in summary.slo] == ["success rate"]
    assert result.complete


def test_a_pod_that_crashes_is_no_success_and_needs_no_timeout(tmp_path: Path) -> None:
    result = run(tmp_path, pods(3), faults=Faults(crash={"pod-2"}))
    summary = result.summary
    assert (summary.outcome.verdict, summary.outcome.exit_code) == ("not-met", 3)
    assert summary.success_rate == pytest.approx(2 / 3, abs=1e-6)
    assert summary.failures == ["pod-2: container pause exited with code 3, restarted 0 times"]


def test_a_pod_that_was_up_for_a_moment_and_restarted_is_no_success(tmp_path: Path) -> None:
    result = run(tmp_path, pods(3), faults=Faults(crash_once={"pod-1"}))
    assert result.summary.outcome.verdict == "not-met"
    assert result.summary.success_rate == pytest.approx(2 / 3, abs=1e-6)
    told = "pod-1: container pause exited with code 4, restarted 1 times, after it had been up"
    assert result.summary.failures == [told]


def test_a_refused_create_is_missing_in_the_success_rate(tmp_path: Path) -> None:
    result = run(tmp_path, pods(3), faults=Faults(refuse_create={"pod-0"}))
    assert result.summary.outcome.exit_code == 3
    assert result.summary.success_rate == pytest.approx(2 / 3, abs=1e-6)
    assert any("exceeded quota" in failure for failure in result.summary.failures)
    assert result.summary.api_ms["create pods"].n == 2


def test_no_pod_at_all_ends_the_repeats(tmp_path: Path) -> None:
    faults = Faults(crash={"pod-0", "pod-1"})
    result = run(tmp_path, pods(2, repeats=5), faults=faults)
    assert len(result.repeats) == 1
    assert result.summary.success_rate == 0.0
    assert result.summary.throughput_true_pods_per_min is None


def test_an_update_that_meets_a_newer_object_is_sent_again(tmp_path: Path) -> None:
    result = run(tmp_path, deployments(), faults=Faults(conflicts_per_update=2))
    assert result.summary.outcome.verdict == "good"
    assert result.summary.api_ms["update deployments"].n == 2
    assert sum(call.status == 409 for call in result.repeats[0].calls) == 4
    assert any("sent again" in note for note in result.summary.notes)


def test_a_namespace_that_stays_is_an_error_of_the_next_run_with_the_servers_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = Limits(namespace_seconds=0.5)
    server = ApiServer(Faults(keep_namespaces=True))
    first = run(tmp_path, pods(limits=limits), server)
    assert first.summary.outcome.verdict == "good"
    second = run(tmp_path, pods(limits=limits, warmups=1), server)
    assert second.summary.outcome.exit_code == 1
    assert "finalizers remaining" in (second.error or "")
    assert f"earlier runs that are still Terminating: bench-{first.run_id}-1" in capsys.readouterr().err
    assert f"bench-{first.run_id}-1" in (second.error or "")
    assert len(second.warmups) == 1
    assert second.repeats == []


def test_a_namespace_with_pods_that_stay_is_waited_for_by_its_own_run(tmp_path: Path) -> None:
    limits = Limits(namespace_seconds=0.5, start_seconds=0.3)
    faults = Faults(keep_namespaces=True, never_schedule={"pod-0"})
    result = run(tmp_path, pods(limits=limits), faults=faults)
    assert result.summary.outcome.exit_code == 1
    assert "finalizers remaining" in (result.error or "")
    assert result.summary.pods_succeeded == 2


def test_a_complete_run_leaves_no_namespace_that_was_not_asked_to_go(tmp_path: Path) -> None:
    server = ApiServer(namespace_seconds=60)
    assert run(tmp_path, pods(warmups=1), server).summary.outcome.verdict == "good"
    assert len(server.namespaces) == 2
    assert all(namespace["metadata"]["deletionTimestamp"] for namespace in server.namespaces.values())


def test_a_dead_runs_namespaces_are_removed_first(tmp_path: Path) -> None:
    server = ApiServer()
    server.namespaces["bench-dead-1"] = _abandoned("bench-dead-1", pid="1", started="no such start")
    run(tmp_path, pods(), server)
    assert server.namespaces == {}


def test_a_living_run_on_the_same_cluster_is_not_disturbed(tmp_path: Path) -> None:
    server = ApiServer()
    started = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    server.namespaces["bench-alive-1"] = _abandoned("bench-alive-1", pid="1", started=started)
    result = run(tmp_path, pods(), server)
    assert "another run is measuring" in (result.error or "")
    assert list(server.namespaces) == ["bench-alive-1"]


def test_a_run_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    server = ApiServer(namespace_seconds=0.1)
    with subprocess.Popen(["sleep", "1"]) as ending:
        started = Path(f"/proc/{ending.pid}/stat").read_text().rpartition(")")[2].split()[19]
        namespace = _abandoned("bench-ending-1", pid=str(ending.pid), started=started)
        namespace["metadata"]["deletionTimestamp"] = "2026-11-01T00:00:00Z"
        server.namespaces["bench-ending-1"] = namespace
        # Nobody waits for the process meanwhile: when it has ended it is still in the list of processes.
        result = run(tmp_path, pods(), server)
    assert result.summary.outcome.verdict == "good"


def test_another_machines_namespaces_are_left_alone(tmp_path: Path) -> None:
    server = ApiServer()
    server.namespaces["bench-other-1"] = _abandoned("bench-other-1", pid="1", started="x", machine="elsewhere")
    assert run(tmp_path, pods(), server).summary.outcome.verdict == "good"
    assert list(server.namespaces) == ["bench-other-1"]


def _abandoned(name: str, *, pid: str, started: str, machine: str | None = None) -> dict[str, Any]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    owner = {"machine": machine or f"{os.uname().nodename}/{boot}", "pid": pid, "started": started}
    return {"metadata": {"name": name, "annotations": {"litelab.dev/bench-owner": json.dumps(owner)}}}


async def _command(
    folder: Path,
    act: Callable[[asyncio.subprocess.Process], object],
    server: ApiServer,
    when: Callable[[ApiServer, str], bool] = lambda server, _: len(server.pods) == 8,
) -> tuple[int, str]:
    """The exit code and output of the command, which is acted on once the server and what was said are so far."""
    async with serving(server, folder / "kubeconfig"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks", "run", "pods-8", "--warmups", "0", "--repeats", "1"),
            *("--kubeconfig", str(folder / "kubeconfig"), "--out", str(folder / "out")),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout
        said: list[str] = []

        async def listen(output: asyncio.StreamReader) -> None:
            async for line in output:
                said.append(line.decode())  # noqa: PERF401 - seen while it grows

        listening = asyncio.create_task(listen(process.stdout))
        while process.returncode is None and not when(server, "".join(said)):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)
        act(process)
        await asyncio.wait_for(listening, 60)
        return await process.wait(), "".join(said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_removes_its_namespaces_and_keeps_its_samples(
    tmp_path: Path, number: signal.Signals
) -> None:
    server = ApiServer(Faults(never_schedule={f"pod-{n}" for n in range(8)}))
    interrupt = lambda process: process.send_signal(number)  # noqa: E731
    # The server has the pods before the client has heard of them; what it says it has seen.
    seen = lambda _, said: "0/8 pods are up" in said  # noqa: E731
    code, output = asyncio.run(_command(tmp_path, interrupt, server, seen))
    assert code == 1
    assert number.name in output
    assert "Traceback" not in output
    assert server.namespaces_ever
    assert server.namespaces == {}
    result = load_result(tmp_path / "out")
    assert not result.complete
    assert len(result.repeats[0].pods) == 8


def test_an_interruption_during_the_cleanup_does_not_break_it_off(tmp_path: Path) -> None:
    server = ApiServer(Faults(never_schedule={f"pod-{n}" for n in range(8)}), namespace_seconds=1.5)

    def interrupt_twice(process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGTERM)
        asyncio.get_running_loop().call_later(0.5, process.send_signal, signal.SIGTERM)

    code, output = asyncio.run(_command(tmp_path, interrupt_twice, server, lambda _, said: "0/8 pods are up" in said))
    assert code == 1
    assert "still removing them" in output
    assert "Traceback" not in output
    assert server.namespaces == {}
    assert len(load_result(tmp_path / "out").repeats[0].pods) == 8


def test_a_run_that_is_killed_half_a_second_after_its_interruption_has_written_its_result(tmp_path: Path) -> None:
    """As a step of Pulumi's is: Ctrl-C there is SIGTERM here, and SIGKILL after 0.5 s."""
    stuck = {f"pod-{n}" for n in range(8)}
    server = ApiServer(Faults(never_schedule=stuck), namespace_seconds=3600)

    def interrupt_and_kill(process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGTERM)
        asyncio.get_running_loop().call_later(0.5, process.send_signal, signal.SIGKILL)

    code, _ = asyncio.run(_command(tmp_path, interrupt_and_kill, server, lambda _, said: "0/8 pods are up" in said))
    assert code == -signal.SIGKILL
    result = load_result(tmp_path / "out")
    assert not result.complete
    assert "pods-8 was interrupted" in (result.error or "")
    assert len(result.repeats[0].pods) == 8
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["outcome"]["verdict"] == "error"
    # What it left was asked to go; had it not been, the next run would.
    assert all(namespace["metadata"]["deletionTimestamp"] for namespace in server.namespaces.values())


def test_what_breaks_a_run_off_is_in_its_result_before_its_namespaces_are_gone(tmp_path: Path) -> None:
    limits = Limits(namespace_seconds=1, start_seconds=0.3)
    server = ApiServer(Faults(silent_watch=True, keep_namespaces=True))
    seen: list[bool] = []

    async def look() -> None:
        while not server.namespaces_asked_to_go:  # noqa: ASYNC110 - of a server that tells nobody
            await asyncio.sleep(0.01)
        seen.append(load_result(tmp_path / "out").complete)

    async def main() -> Result:
        async with serving(server, tmp_path / "kubeconfig"):
            looking = asyncio.create_task(look())
            result = await run_workload(pods(limits=limits), tmp_path / "kubeconfig", None, [], tmp_path / "out")
            await looking
            return result

    result = asyncio.run(main())
    assert seen == [False]
    assert "delivers no events" in (result.error or "")
    assert "finalizers remaining" in (load_result(tmp_path / "out").error or "")


def test_a_good_command_ends_with_two_short_lines(tmp_path: Path) -> None:
    code, output = asyncio.run(_command(tmp_path, lambda _: None, ApiServer()))
    assert code == 0
    *_, result, path = output.splitlines()
    assert result.startswith("pods-8: 100 % of 8 pods up, ")
    assert result.endswith(": good")
    assert path == f"results: {tmp_path / 'out/result.json'}"
    assert max(len(line) for line in output.splitlines()) < 1000
