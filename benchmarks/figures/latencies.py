"""Latencies in milliseconds, from the stamps of one pod. Names that begin with `kbench_` follow K-Bench's rules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from benchmarks.model.samples import PodSample

_MS_PER_NS = 1e-6


def _between(begin_ns: int | None, end_ns: int | None) -> float | None:
    return None if begin_ns is None or end_ns is None else (end_ns - begin_ns) * _MS_PER_NS


START_UP: dict[str, Callable[[PodSample], float | None]] = {
    "startup": lambda p: _between(p.create_call_start_ns, p.started_seen_ns),
    "running": lambda p: _between(p.create_call_start_ns, p.running_seen_ns),
    "ready": lambda p: _between(p.create_call_start_ns, p.ready_seen_ns),
    "first_seen": lambda p: _between(p.create_call_start_ns, p.first_seen_ns),
    "scheduling": lambda p: _between(p.first_seen_ns, p.scheduled_seen_ns),
    "kubelet_start": lambda p: _between(p.scheduled_seen_ns, p.started_seen_ns),
    "deletion": lambda p: _between(p.delete_call_start_ns, p.deleted_seen_ns),
}
"""`startup` is the figure of the Kubernetes SLO: create call sent -> all containers seen running (facts 7)."""


def kbench_initialized_ns(pod: PodSample) -> int | None:
    """K-Bench takes the scheduling time where it never saw the condition `Initialized`."""
    return pod.kbench.initialized_ns if pod.kbench.initialized_ns is not None else pod.kbench.scheduled_ns


def _server_ms(begin: str | None, end: str | None) -> float | None:
    """In whole seconds, as K-Bench has them."""
    return None if begin is None or end is None else (int(unix_s(end)) - int(unix_s(begin))) * 1e3


KBENCH: dict[str, Callable[[PodSample], float | None]] = {
    "kbench_scheduling_client": lambda p: _between(p.first_seen_ns, p.kbench.scheduled_ns),
    "kbench_initialization_client": lambda p: _between(p.kbench.scheduled_ns, kbench_initialized_ns(p)),
    "kbench_starting_client": lambda p: _between(kbench_initialized_ns(p), p.running_seen_ns),
    "kbench_startup_total_client": lambda p: _between(p.first_seen_ns, p.running_seen_ns),
    "kbench_creation_server": lambda p: _server_ms(p.server.creation_timestamp, p.server.scheduled_event_time),
    "kbench_scheduling_server": lambda p: _server_ms(p.server.scheduled_event_time, p.server.start_time),
    "kbench_image_pulling_server": lambda p: _server_ms(p.server.start_time, p.server.pulled_event_time),
    "kbench_starting_server": lambda p: _server_ms(p.server.pulled_event_time, p.server.started_at),
    "kbench_startup_total_server": lambda p: _server_ms(p.server.creation_timestamp, p.server.started_at),
}
"""K-Bench's lines by its formulas. The `_server` ones have steps of whole seconds. K-Bench itself prints none of the
first four where the scheduler uses the new events API; here its `eventTime` is used."""


def kbench_client_server_e2e_ms(pod: PodSample, wall_minus_origin_ns: int) -> float | None:
    """Running seen - creationTimestamp: two clocks, the second in whole seconds: biased by up to 1 s and the skew."""
    if pod.running_seen_ns is None or pod.server.creation_timestamp is None:
        return None
    return (pod.running_seen_ns + wall_minus_origin_ns) * _MS_PER_NS - unix_s(pod.server.creation_timestamp) * 1e3


def unix_s(timestamp: str) -> float:
    """Seconds since 1970 of an RFC 3339 time stamp."""
    return datetime.fromisoformat(timestamp).astimezone(UTC).timestamp()
