"""Figures made of samples."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.figures import latencies
from benchmarks.figures.summary import Summary, per_repeat, percentiles, summarise
from benchmarks.measure.fingerprint import bare_fingerprint
from benchmarks.measure.host_probe import HostProbe, after_run
from benchmarks.model.result import Result
from benchmarks.model.samples import KbenchStamps, PodSample, Repeat, ServerTimes
from benchmarks.model.workload import load
from benchmarks.report.table import one_line, print_results

MS = 1_000_000


def pod(n: int, startup_ms: int, **more: object) -> PodSample:
    content = {
        "uid": f"u{n}",
        "name": f"pod-{n}",
        "create_call_start_ns": 1000 * MS,
        "first_seen_ns": 1010 * MS,
        "scheduled_seen_ns": 1020 * MS,
        "started_seen_ns": (1000 + startup_ms) * MS,
        "running_seen_ns": (1000 + startup_ms) * MS,
        "kbench": KbenchStamps(scheduled_ns=1030 * MS),
        "server": ServerTimes(
            creation_timestamp="2026-01-02T03:04:05Z",
            scheduled_event_time="2026-01-02T03:04:05.900000Z",
            start_time="2026-01-02T03:04:06Z",
        ),
        "succeeded": True,
        **more,
    }
    return PodSample.model_validate(content)


def repeat(index: int, startups_ms: list[int], phase: str = "measured") -> Repeat:
    content = {
        "phase": phase,
        "index": index,
        "namespace": "n",
        "started_at": "t",
        "first_create_wall_unix_ns": 0,
        "pods_requested": len(startups_ms),
        "pods_succeeded": len(startups_ms),
        "pods": [pod(n, ms) for n, ms in enumerate(startups_ms)],
        "calls": [],
        "interruptions": [],
    }
    return Repeat.model_validate(content)


def summary(*repeats: Repeat, error: str | None = None) -> Summary:
    return summarise(
        workload=load("pods-8"),
        run_id="r",
        started_at="a",
        finished_at="b",
        duration_s=1.0,
        wall_minus_origin_ns=0,
        repeats=repeats,
        error=error,
    )


def test_warm_ups_are_in_no_figure() -> None:
    found = summary(repeat(1, [60_000, 60_000], "warmup"), repeat(1, [500, 1000]))
    assert found.warmups == 1
    assert found.pods_requested == 2
    assert found.startup_ms["startup"].max == 1000.0


def test_true_throughput_counts_the_tail_and_k_benchs_does_not() -> None:
    even, tailed = summary(repeat(1, [1000, 1000, 1000])), summary(repeat(1, [1000, 1000, 4000]))
    assert even.throughput_true_pods_per_min
    assert tailed.throughput_true_pods_per_min
    assert even.throughput_true_pods_per_min.median == 180.0
    assert tailed.throughput_true_pods_per_min.median == 45.0
    assert even.throughput_kbench_pods_per_min == tailed.throughput_kbench_pods_per_min


def test_k_benchs_throughput_starts_at_the_first_notification() -> None:
    found = summary(repeat(1, [1010, 2010]), repeat(2, [1010, 1010]))
    assert found.throughput_kbench_pods_per_min
    # (2 + 1) / 2 = 1 pod over the upper median, 2.0 s and then 1.0 s.
    assert found.throughput_kbench_pods_per_min.values == [30.0, 60.0]
    assert found.throughput_kbench_all_repeats_pods_per_min == 40.0


def test_k_bench_takes_scheduling_for_an_initialization_that_it_never_saw() -> None:
    one = pod(0, 500)
    assert latencies.KBENCH["kbench_initialization_client"](one) == 0.0
    assert latencies.KBENCH["kbench_starting_client"](one) == pytest.approx(470.0)
    assert latencies.KBENCH["kbench_startup_total_client"](one) == pytest.approx(490.0)


def test_k_benchs_server_figures_have_whole_seconds() -> None:
    assert latencies.KBENCH["kbench_creation_server"](pod(0, 500)) == 0.0
    assert latencies.KBENCH["kbench_scheduling_server"](pod(0, 500)) == 1000.0
    assert latencies.KBENCH["kbench_starting_server"](pod(0, 500)) is None


@given(st.lists(st.lists(st.floats(min_value=0, max_value=1e6), max_size=70), max_size=5))
def test_percentiles_are_there_only_with_enough_samples(groups: list[list[float]]) -> None:
    found = percentiles(groups)
    n = sum(len(group) for group in groups)
    if found is None:
        assert n == 0
        return
    assert found.n == n
    assert (found.p90 is None) == (n < 10)
    assert (found.p99 is None) == (n < 100)
    ordered = [found.min, found.median, found.max]
    assert ordered == sorted(ordered)
    assert len(found.repeat_medians) == sum(bool(group) for group in groups)


def test_a_repeat_without_a_value_is_left_out_of_the_others() -> None:
    found = per_repeat([None, 2.0, 4.0])
    assert found is not None
    assert (found.n, found.median, found.values) == (2, 3.0, [2.0, 4.0])
    assert per_repeat([None]) is None


def test_the_table_says_how_many_came_up_before_any_latency() -> None:
    broken = summary(repeat(1, [500]), error="Could not measure: it broke.")
    result = Result(
        run_id="r",
        origin_unix_ns=0,
        complete=False,
        summary=broken,
        workload=load("pods-8"),
        fingerprint=bare_fingerprint("https://lab", None),
    )
    text = io.StringIO()
    print_results([result], Console(file=text, width=130))
    row = next(line for line in text.getvalue().splitlines() if line.startswith("pods-8 "))
    assert row.index("100 %") < row.index("0.50 (0.50)")
    assert "error" in row
    assert "Could not measure: it broke." in text.getvalue()
    assert one_line(broken).startswith("pods-8: 100 % of 1 pods up")


def test_stolen_time_is_a_share_of_all_cpu_time_without_counting_guests_twice() -> None:
    before = HostProbe(name="h", role="worker", cpu_ticks=[100, 0, 100, 1000, 0, 0, 0, 10, 50, 0], clock_offset_ms=1.0)
    after = HostProbe(name="h", role="worker", cpu_ticks=[150, 0, 120, 1020, 0, 0, 0, 20, 90, 0], clock_offset_ms=3.0)
    found = after_run([before], [after])[0]
    assert found.steal_share == 0.1
    assert found.cpu_busy_share == 0.8
    assert (found.clock_offset_ms, found.clock_offset_after_ms) == (1.0, 3.0)


def test_a_host_that_could_not_be_asked_keeps_its_reason() -> None:
    dead = HostProbe(name="h", role="worker", error="ssh: no route")
    alive = HostProbe(name="h", role="worker", cpu_ticks=[1] * 10)
    assert after_run([dead], [alive])[0].error == "ssh: no route"
    assert after_run([alive], [dead])[0].error == "after the run: ssh: no route"
