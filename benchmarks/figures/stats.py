"""Statistics of samples. Nothing here invents a value: a percentile is a value that was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

LEAST_N_FOR_P90 = 10
LEAST_N_FOR_P99 = 100
LEAST_N_FOR_INTERVAL = 6
"""Below six values no 95 % interval of the median exists: its widest, (min, max), covers 1 - 2 / 2**n."""


def median(values: Sequence[float]) -> float:
    """The usual median: the mean of the two middle values when their number is even."""
    return float(statistics.median(values))


def nearest_rank(values: Sequence[float], fraction: float) -> float:
    """The smallest value that at least `fraction` of all values do not exceed (ISO 'inverted CDF')."""
    if not values:
        msg = "no values"
        raise ValueError(msg)
    if not 0 < fraction <= 1:
        msg = f"fraction {fraction} is not within 0..1"
        raise ValueError(msg)
    rank = math.ceil(round(fraction * len(values), 9))
    return sorted(values)[max(rank, 1) - 1]


def median_interval_95(values: Sequence[float]) -> tuple[float, float] | None:
    """A distribution-free 95 % confidence interval of the median, or None for fewer than six values.

    The k-th smallest and k-th largest values bound the median with probability 1 - 2 * P(Binomial(n, 1/2) < k).
    """
    n = len(values)
    if n < LEAST_N_FOR_INTERVAL:
        return None
    below, k = 0.0, 0
    while (below := below + math.comb(n, k) / 2**n) <= 0.025:
        k += 1
    ordered = sorted(values)
    return float(ordered[k - 1]), float(ordered[n - k])


def busiest_second(times_s: Sequence[float]) -> int:
    """The most events within any one second (sliding, half open)."""
    ordered = sorted(times_s)
    most = first = 0
    for last, time_s in enumerate(ordered):
        while time_s - ordered[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
