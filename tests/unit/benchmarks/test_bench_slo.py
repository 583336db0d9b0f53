"""Verdicts: what is held against a cluster, and what is not."""

from __future__ import annotations

import pytest

from benchmarks.figures.slo import judge, percent
from benchmarks.figures.summary import outcome
from benchmarks.model.samples import CallSample, PodSample, Repeat, Verb
from benchmarks.model.workload import Slo

SECOND = 10**9


def pod(n: int, startup_s: float, *, succeeded: bool = True, spread_s: float = 10.0) -> PodSample:
    begin = int(n * spread_s * SECOND)
    end = begin + int(startup_s * SECOND)
    return PodSample(
        uid=f"u{n}",
        name=f"pod-{n}",
        create_call_start_ns=begin,
        first_seen_ns=begin,
        started_seen_ns=end,
        running_seen_ns=end,
        succeeded=succeeded,
    )


def call(n: int, latency_s: float, verb: Verb = "create", spread_s: float = 10.0) -> CallSample:
    begin = int(n * spread_s * SECOND)
    return CallSample(
        verb=verb,
        resource="pods",
        object=f"pod-{n}",
        start_ns=begin,
        end_ns=begin + int(latency_s * SECOND),
        status=201,
    )


def repeat(pods: list[PodSample], calls: list[CallSample], requested: int | None = None, **more: object) -> Repeat:
    content = {
        "phase": "measured",
        "index": 1,
        "namespace": "n",
        "started_at": "t",
        "first_create_wall_unix_ns": 0,
        "pods_requested": requested or len(pods),
        "pods_succeeded": sum(p.succeeded for p in pods),
        "pods": pods,
        "calls": calls,
        "interruptions": [],
        **more,
    }
    return Repeat.model_validate(content)


def statuses(*repeats: Repeat, rate: float | None = 1.0) -> dict[str, str]:
    return {verdict.name: verdict.status for verdict in judge(Slo(), repeats, success_rate=rate)}


def test_below_full_success_no_latency_is_judged() -> None:
    pods = [pod(0, 99.0), pod(1, 99.0, succeeded=False)]
    assert statuses(repeat(pods, [call(0, 99.0)]), rate=0.5) == {"success rate": "not-met"}


def test_nothing_measured_is_neither_good_nor_bad() -> None:
    assert statuses(rate=None) == {"success rate": "not-measured"}


def test_a_slow_start_at_a_low_rate_misses_the_objective() -> None:
    assert statuses(repeat([pod(0, 1.0), pod(1, 5.1)], []))["pod start-up"] == "not-met"
    assert statuses(repeat([pod(0, 1.0), pod(1, 5.0)], []))["pod start-up"] == "met"


def test_a_slow_start_in_a_burst_is_outside_of_the_objective() -> None:
    burst = [pod(n, 6.0, spread_s=0.0) for n in range(21)]
    assert statuses(repeat(burst, []))["pod start-up"] == "not-applicable"
    assert statuses(repeat(burst[:20], []))["pod start-up"] == "not-met"


def test_p99_is_judged_from_100_samples_on_and_the_maximum_below() -> None:
    slow_one_of_99 = [pod(n, 9.0 if n == 0 else 1.0) for n in range(99)]
    slow_one_of_100 = [pod(n, 9.0 if n == 0 else 1.0) for n in range(100)]
    assert statuses(repeat(slow_one_of_99, []))["pod start-up"] == "not-met"
    assert statuses(repeat(slow_one_of_100, []))["pod start-up"] == "met"


@pytest.mark.parametrize(
    ("verb", "name"),
    [("create", "mutating calls"), ("update", "mutating calls"), ("delete", "mutating calls"), ("get", "get calls")],
)
def test_calls_are_judged_by_their_verb(verb: Verb, name: str) -> None:
    found = statuses(repeat([pod(0, 1.0)], [call(0, 1.5, verb)]))
    assert found[name] == "not-met"
    assert [other for other, status in found.items() if status == "not-met"] == [name]


def test_a_list_may_take_longer_than_a_get() -> None:
    assert statuses(repeat([pod(0, 1.0)], [call(0, 29.0, "list")]))["list calls"] == "met"
    assert statuses(repeat([pod(0, 1.0)], [call(0, 31.0, "list")]))["list calls"] == "not-met"


@pytest.mark.parametrize(("rate", "told"), [(1.0, "100 %"), (0.99999, "99.9 %"), (0.5, "50 %"), (0.0, "0 %")])
def test_less_than_everything_is_never_called_100_percent(rate: float, told: str) -> None:
    assert percent(rate) == told


def test_the_worst_decides_the_exit_code() -> None:
    slow = repeat([pod(0, 6.0)], [])
    late = repeat([pod(0, 6.0)], [], timed_out=["start"])
    verdicts = judge(Slo(), [slow], success_rate=1.0)
    assert outcome([slow], verdicts, None).exit_code == 3
    assert outcome([late], verdicts, None).exit_code == 2
    assert outcome([late], verdicts, "broken").exit_code == 1
    assert outcome([slow], [], None).exit_code == 0
