"""Kubernetes' own service level objectives, judged on what was measured.

Source: kubernetes/community, sig-scalability/slos. They are promises for p99 under a prerequisite: at most 20 changes
and requests a second. A burst is outside of it: a figure that misses the objective there is told, but not held
against the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.figures import latencies, stats
from benchmarks.model.samples import CallSample, Repeat
from benchmarks.model.workload import Slo

CHURN_LIMIT_PER_S = 20

Statistic = Literal["p99", "max", "rate"]


class SloVerdict(BaseModel):
    """One objective. `not-applicable`: missed, but outside of the objective's own prerequisite."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    status: Literal["met", "not-met", "not-applicable", "not-measured"]
    statistic: Annotated[Statistic, Field(description="`max` stands for p99 where there are fewer than 100 samples.")]
    value: float | None
    limit: float
    unit: Literal["s", "share"]
    n: int
    churn_per_s: Annotated[int | None, Field(description="Busiest second: pod changes and requests.")] = None
    text: str


def judge(slo: Slo, measured: Sequence[Repeat], *, success_rate: float | None) -> list[SloVerdict]:
    """The success rate first; below its objective no latency is judged."""
    requested = sum(repeat.pods_requested for repeat in measured)
    verdicts = [_judge_success(slo, success_rate, requested)]
    if verdicts[0].status != "met":
        return verdicts
    calls = [call for repeat in measured for call in repeat.calls if call.error is None]
    startups = [
        value / 1e3
        for repeat in measured
        for pod in repeat.pods
        if pod.succeeded and (value := latencies.START_UP["startup"](pod)) is not None
    ]
    start_churn = max((churn_per_s(repeat, ("create",)) for repeat in measured), default=0)
    churn = max((churn_per_s(repeat, ("create", "list", "get", "update", "delete")) for repeat in measured), default=0)
    verdicts.append(_judge_latency("pod start-up", startups, slo.startup_p99_seconds, start_churn))
    for name, verbs, limit_s in (
        ("mutating calls", ("create", "update", "delete"), slo.mutating_call_p99_seconds),
        ("get calls", ("get",), slo.get_call_p99_seconds),
        ("list calls", ("list",), slo.list_call_p99_seconds),
    ):
        verdicts.append(_judge_latency(name, _seconds(calls, verbs), limit_s, churn))
    return verdicts


def churn_per_s(repeat: Repeat, verbs: tuple[str, ...]) -> int:
    """The busiest second of a repeat: requests of the client, and pods that controllers make and remove for it."""
    times_ns = [call.start_ns for call in repeat.calls if call.verb in verbs]
    if "create" in verbs:
        times_ns += [pod.first_seen_ns for pod in repeat.pods if pod.first_seen_ns is not None]
    if "delete" in verbs:
        times_ns += [pod.deleted_seen_ns for pod in repeat.pods if pod.deleted_seen_ns is not None]
    return stats.busiest_second([time_ns / 1e9 for time_ns in times_ns])


def _seconds(calls: Sequence[CallSample], verbs: tuple[str, ...]) -> list[float]:
    return [call.latency_ms / 1e3 for call in calls if call.verb in verbs]


def _judge_success(slo: Slo, rate: float | None, requested: int) -> SloVerdict:
    status: Literal["met", "not-met", "not-measured"] = (
        "not-measured" if rate is None else "met" if rate >= slo.success_rate else "not-met"
    )
    told = "nothing was measured" if rate is None else f"{percent(rate)} of {requested} pods came up"
    return SloVerdict(
        name="success rate", status=status, statistic="rate", value=None if rate is None else round(rate, 6),
        limit=slo.success_rate, unit="share", n=requested, text=f"{told}, {percent(slo.success_rate)} wanted",
    )  # fmt: skip


def _judge_latency(name: str, seconds: Sequence[float], limit_s: float, churn: int) -> SloVerdict:
    if not seconds:
        return SloVerdict(
            name=name, status="not-measured", statistic="max", value=None, limit=limit_s, unit="s", n=0,
            churn_per_s=churn, text=f"{name}: nothing was measured",
        )  # fmt: skip
    enough = len(seconds) >= stats.LEAST_N_FOR_P99
    value = stats.nearest_rank(seconds, 0.99) if enough else max(seconds)
    statistic: Statistic = "p99" if enough else "max"
    status: Literal["met", "not-met", "not-applicable"] = "met"
    text = f"{name}: {statistic} {value:.3g} s, limit {limit_s:g} s"
    if value > limit_s:
        status = "not-met" if churn <= CHURN_LIMIT_PER_S else "not-applicable"
        if status == "not-applicable":
            text += f", outside of the objective's prerequisite ({churn} > {CHURN_LIMIT_PER_S} changes a second)"
    return SloVerdict(
        name=name, status=status, statistic=statistic, value=round(value, 6), limit=limit_s, unit="s",
        n=len(seconds), churn_per_s=churn, text=text,
    )  # fmt: skip


def percent(rate: float) -> str:
    """Never rounds up to 100 %."""
    return "100 %" if rate == 1 else f"{int(rate * 1000) / 10:g} %"
