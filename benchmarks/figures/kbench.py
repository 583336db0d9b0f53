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
