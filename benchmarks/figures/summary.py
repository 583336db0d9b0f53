"""From raw samples to the figures that a person reads. Success comes first: no latency is judged where pods miss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.figures import kbench, latencies, stats
from benchmarks.figures.slo import SloVerdict, judge
from benchmarks.figures.throughput import kbench_pods_per_min, kbench_startups_s, true_pods_per_min
from benchmarks.model.outcome import EXIT_CODE_OF, Verdict
from benchmarks.model.samples import CallSample, PodSample, Repeat
from benchmarks.model.workload import Workload

_BUSY_CLIENT_SHARE = 0.8
_LATE_LOOP_MS = 20.0


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Percentiles(_Figures):
    """Samples of all measured repeats together; a percentile is there only when enough samples support it."""

    n: int
    median: float
    min: float
    max: float
    p90: Annotated[float | None, Field(description="Nearest rank; from 10 samples on.")] = None
    p99: Annotated[float | None, Field(description="Nearest rank; from 100 samples on.")] = None
    repeat_medians: Annotated[list[float], Field(description="One median a measured repeat, in order.")] = []


class KbenchPercentiles(_Figures):
    """K-Bench's own statistics: the upper median, and a 99th percentile that is the maximum below 100 samples."""

    n: int
    median: float
    min: float
    max: float
    p99: float


class PerRepeat(_Figures):
    """One value a measured repeat; the repeat is the unit."""

    n: int
    median: float
    min: float
    max: float
    ci95_low: Annotated[float | None, Field(description="Of the median, distribution-free; from 6 repeats on.")] = None
    ci95_high: float | None = None
    values: list[float]


class ClientFigures(_Figures):
    """The worst of all measured repeats: is the client itself the bottleneck?"""

    cpu_share_of_one_core: float
    start_phase_cpu_share_of_one_core: float
    loop_lag_p99_ms: float
    loop_lag_max_ms: float


class Outcome(_Figures):
    """How the run ended."""

    verdict: Verdict
    exit_code: int
    reason: str


class Summary(_Figures):
    """Everything short: what goes into Pulumi's outputs. Throughputs are pods a minute, latencies milliseconds."""

    schema_version: Annotated[Literal[1], Field(alias="schemaVersion")] = 1
    workload: str
    workload_digest: str
    run_id: str
    started_at: str
    finished_at: str
    duration_s: float
    outcome: Outcome
    success_rate: Annotated[float | None, Field(description="Pods up / pods requested, over all measured repeats.")]
    pods_requested: int
    pods_succeeded: int
    warmups: int
    repeats: int
    repeats_wanted: int
    throughput_true_pods_per_min: PerRepeat | None = None
    throughput_kbench_pods_per_min: PerRepeat | None = None
    throughput_kbench_all_repeats_pods_per_min: float | None = None
    startup_ms: dict[str, Percentiles] = {}
    api_ms: Annotated[dict[str, Percentiles], Field(description="By `<verb> <resource>`; successful calls.")] = {}
    kbench_ms: dict[str, KbenchPercentiles] = {}
    slo: list[SloVerdict] = []
    client: ClientFigures | None = None
    pods_per_node: dict[str, int] = {}
    watch_interruptions: int = 0
    pods_with_delayed_stamps: int = 0
    failures: Annotated[list[str], Field(description="The first few, each with its cause.")] = []
    notes: list[str] = []


_MOST_FAILURES_TOLD = 5


def percentiles(groups: Sequence[Sequence[float]]) -> Percentiles | None:
    """One group a repeat. None when nothing was measured."""
    values = [value for group in groups for value in group]
    if not values:
        return None
    return Percentiles(
        n=len(values),
        median=_short(stats.median(values)),
        min=_short(min(values)),
        max=_short(max(values)),
        p90=_short(stats.nearest_rank(values, 0.90)) if len(values) >= stats.LEAST_N_FOR_P90 else None,
        p99=_short(stats.nearest_rank(values, 0.99)) if len(values) >= stats.LEAST_N_FOR_P99 else None,
        repeat_medians=[_short(stats.median(group)) for group in groups if group],
    )


def kbench_percentiles(values: Sequence[float]) -> KbenchPercentiles | None:
    """By K-Bench's rules. None when nothing was measured."""
    if not values:
        return None
    return KbenchPercentiles(
        n=len(values),
        median=_short(kbench.upper_median(values)),
        min=_short(min(values)),
        max=_short(max(values)),
        p99=_short(kbench.p99(values)),
    )


def per_repeat(values: Iterable[float | None]) -> PerRepeat | None:
    """One value a repeat; those that have none are left out."""
    known = [_short(value) for value in values if value is not None]
    if not known:
        return None
    low, high = stats.median_interval_95(known) or (None, None)
    return PerRepeat(
        n=len(known), median=_short(stats.median(known)), min=min(known), max=max(known),
        ci95_low=low, ci95_high=high, values=known,
    )  # fmt: skip


def summarise(
    *,
    workload: Workload,
    run_id: str,
    started_at: str,
    finished_at: str,
    duration_s: float,
    wall_minus_origin_ns: int,
    repeats: Sequence[Repeat],
    error: str | None = None,
) -> Summary:
    """All figures of a run; `repeats` holds warm-ups too, which count nowhere but in their number."""
    measured = [repeat for repeat in repeats if repeat.phase == "measured"]
    whole = [repeat for repeat in measured if repeat.complete]
    requested = sum(repeat.pods_requested for repeat in measured)
    succeeded = sum(repeat.pods_succeeded for repeat in measured)
    slo = judge(workload.slo, measured, success_rate=succeeded / requested if requested else None)
    return Summary(
        workload=workload.name,
        workload_digest=workload.digest(),
        run_id=run_id,
        started_at=started_at,
        finished_at=finished_at,
        duration_s=round(duration_s, 3),
        outcome=outcome(measured, slo, error),
        success_rate=round(succeeded / requested, 6) if requested else None,
        pods_requested=requested,
        pods_succeeded=succeeded,
        warmups=sum(repeat.phase == "warmup" for repeat in repeats),
        repeats=len(whole),
        repeats_wanted=workload.repeats,
        throughput_true_pods_per_min=per_repeat(true_pods_per_min(repeat) for repeat in whole),
        throughput_kbench_pods_per_min=per_repeat(kbench_pods_per_min([kbench_startups_s(repeat)]) for repeat in whole),
        throughput_kbench_all_repeats_pods_per_min=_short_or_none(
            kbench_pods_per_min([kbench_startups_s(repeat) for repeat in whole])
        ),
        startup_ms=_pod_percentiles(measured),
        api_ms=_call_percentiles(measured),
        kbench_ms=_kbench_percentiles(measured, wall_minus_origin_ns),
        slo=slo,
        client=_client(measured),
        pods_per_node=_sum(repeat.pods_per_node for repeat in measured),
        watch_interruptions=sum(len(repeat.interruptions) for repeat in measured),
        pods_with_delayed_stamps=sum(bool(pod.delayed) for repeat in measured for pod in repeat.pods),
        failures=[f"{f.object}: {f.cause}" for repeat in measured for f in repeat.failures][:_MOST_FAILURES_TOLD],
        notes=_notes(repeats, measured),
    )


def outcome(measured: Sequence[Repeat], slo: Sequence[SloVerdict], error: str | None) -> Outcome:
    """The verdict in the order of what weighs most: an error, a time limit, an objective that is not met."""
    verdict: Verdict
    limits = sorted({phase for repeat in measured for phase in repeat.timed_out})
    missed = [verdict for verdict in slo if verdict.status == "not-met"]
    if error is not None:
        verdict, reason = "error", error
    elif limits:
        where = " and ".join({"start": "starting", "delete": "deleting"}[phase] for phase in limits)
        causes = [failure.cause for repeat in measured for failure in repeat.failures]
        verdict, reason = "timeout", f"the limit for {where} pods was reached" + (f": {causes[0]}" if causes else "")
    elif missed:
        verdict, reason = "not-met", "; ".join(verdict.text for verdict in missed)
    else:
        verdict, reason = "good", "every pod came up and no objective was missed"
    return Outcome(verdict=verdict, exit_code=int(EXIT_CODE_OF[verdict]), reason=reason[:1000])


def _pod_percentiles(measured: Sequence[Repeat]) -> dict[str, Percentiles]:
    found = {
        name: percentiles([_values(repeat.pods, latency) for repeat in measured])
        for name, latency in latencies.START_UP.items()
    }
    return {name: figures for name, figures in found.items() if figures}


def _values(pods: Sequence[PodSample], latency: Callable[[PodSample], float | None]) -> list[float]:
    return [value for pod in pods if (value := latency(pod)) is not None]


def _call_percentiles(measured: Sequence[Repeat]) -> dict[str, Percentiles]:
    kinds = dict.fromkeys(_kind(call) for repeat in measured for call in repeat.calls)
    found = {
        kind: percentiles(
            [[c.latency_ms for c in repeat.calls if c.error is None and _kind(c) == kind] for repeat in measured]
        )
        for kind in kinds
    }
    return {kind: figures for kind, figures in found.items() if figures}


def _kind(call: CallSample) -> str:
    return f"{call.verb} {call.resource}"


def _kbench_percentiles(measured: Sequence[Repeat], wall_minus_origin_ns: int) -> dict[str, KbenchPercentiles]:
    pods = [pod for repeat in measured for pod in repeat.pods]
    found = {name: kbench_percentiles(_values(pods, latency)) for name, latency in latencies.KBENCH.items()}
    found["kbench_client_server_e2e"] = kbench_percentiles(
        _values(pods, lambda pod: latencies.kbench_client_server_e2e_ms(pod, wall_minus_origin_ns))
    )
    return {name: figures for name, figures in found.items() if figures}


def _client(measured: Sequence[Repeat]) -> ClientFigures | None:
    loads = [repeat.client for repeat in measured if repeat.client]
    if not loads:
        return None
    return ClientFigures(
        cpu_share_of_one_core=round(max(load.cpu_share_of_one_core for load in loads), 4),
        start_phase_cpu_share_of_one_core=round(
            max(load.start_phase_cpu_s / load.start_phase_wall_s for load in loads if load.start_phase_wall_s), 4
        ),
        loop_lag_p99_ms=max(load.loop_lag_p99_ms for load in loads),
        loop_lag_max_ms=max(load.loop_lag_max_ms for load in loads),
    )


def _notes(repeats: Sequence[Repeat], measured: Sequence[Repeat]) -> list[str]:
    notes = [f"repeat {repeat.index}: {note}" for repeat in measured for note in repeat.notes]
    bad_warmups = [r for r in repeats if r.phase == "warmup" and r.pods_succeeded < r.pods_requested]
    notes += [
        f"warm-up {r.index}: {r.pods_succeeded} of {r.pods_requested} pods came up"
        + (f" ({r.failures[0].cause})" if r.failures else "")
        for r in bad_warmups
    ]
    client = _client(measured)
    if client and client.start_phase_cpu_share_of_one_core > _BUSY_CLIENT_SHARE:
        notes.append("the client used most of a core while pods started: its own load is in the figures")
    if client and client.loop_lag_p99_ms > _LATE_LOOP_MS:
        notes.append(
            f"the client's event loop ran {client.loop_lag_p99_ms:.0f} ms late (p99): stamps are that late too"
        )
    if len({repeat.success_share for repeat in measured}) > 1:
        notes.append("repeats differ in how many pods came up")
    return notes[:20]


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for key, value in part.items():
            total[key] = total.get(key, 0) + value
    return dict(sorted(total.items()))


def _short(value: float) -> float:
    """Microseconds are enough of a millisecond, and thousandths of a pod."""
    return round(float(value), 3)


def _short_or_none(value: float | None) -> float | None:
    return None if value is None else _short(value)
