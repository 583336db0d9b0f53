"""K-Bench's own figures, under its own rules, so that results can stand beside published ones.

Source: vmware-tanzu/k-bench, manager/pod_manager.go (checkAndUpdate, CalculateStats). They are not what we recommend:
the throughput is computed from median latencies, not from the time that the pods took.
"""

from __future__ import annotations

from collections.abc import Sequence


def upper_median(values: Sequence[float]) -> float:
    """`sorted[n / 2]`: for an even number of values the upper one of the middle two."""
    return sorted(values)[len(values) // 2]


def p99(values: Sequence[float]) -> float:
    """`sorted[n - 1 - n / 100]`: the maximum for fewer than 100 values."""
    return sorted(values)[len(values) - 1 - len(values) // 100]


def throughput_pods_per_min(startups_s_per_operation: Sequence[Sequence[float]]) -> float | None:
    """`60 * sum((n_op + 1) / 2) / sum(median_op)`, in pods a minute.

    Each operation is the list of its pods' (running seen - first seen) in seconds; the division is an integer one, the
    median the upper one. None when nothing ran, or when the medians add up to nothing.
    """
    operations = [startups for startups in startups_s_per_operation if startups]
    halves = sum((len(startups) + 1) // 2 for startups in operations)
    medians_s = sum(upper_median(startups) for startups in operations)
    return 60.0 * halves / medians_s if medians_s > 0 else None
