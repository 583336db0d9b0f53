"""Throughput in pods a minute: the true one, and K-Bench's."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures import latencies
from benchmarks.figures.kbench import upper_median
from benchmarks.model.samples import Repeat


def true_pods_per_min(repeat: Repeat) -> float | None:
    """N / (last running seen - first create call sent), in pods a minute, over the pods that came up (facts 7)."""
    ends = [p.running_seen_ns for p in repeat.pods if p.succeeded and p.running_seen_ns is not None]
    begins = [p.create_call_start_ns for p in repeat.pods if p.create_call_start_ns is not None]
    if not ends or not begins or max(ends) <= min(begins):
        return None
    return len(ends) * 60e9 / (max(ends) - min(begins))


def kbench_pods_per_min(startups_s_per_operation: Sequence[Sequence[float]]) -> float | None:
    """`60 * sum((n_op + 1) / 2) / sum(median_op)`, in pods a minute.

    Each operation is the list of its pods' (running seen - first seen) in seconds; the division is an integer one, the
    median the upper one. None when nothing ran, or when the medians add up to nothing.
    """
    operations = [startups for startups in startups_s_per_operation if startups]
    halves = sum((len(startups) + 1) // 2 for startups in operations)
    medians_s = sum(upper_median(startups) for startups in operations)
    return 60.0 * halves / medians_s if medians_s > 0 else None


def kbench_startups_s(repeat: Repeat) -> list[float]:
    """K-Bench's start-up total of each pod, in seconds."""
    values = (latencies.KBENCH["kbench_startup_total_client"](pod) for pod in repeat.pods)
    return [value / 1e3 for value in values if value is not None]
