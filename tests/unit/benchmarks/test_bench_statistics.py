"""Statistics of samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchmarks.figures import stats

values_lists = st.lists(st.floats(min_value=-1e9, max_value=1e9), min_size=1, max_size=300)


@given(values_lists, st.floats(min_value=0.01, max_value=1.0))
def test_a_percentile_is_the_smallest_sample_that_covers_its_fraction(values: list[float], fraction: float) -> None:
    found = stats.nearest_rank(values, fraction)
    assert found in values
    needed = fraction * len(values) - 1e-6
    assert sum(value <= found for value in values) >= needed
    below = [value for value in values if value < found]
    assert not below or sum(value <= max(below) for value in values) < needed + 1e-5


@pytest.mark.parametrize("n", [100, 101, 150, 199, 1000])
def test_p99_leaves_one_in_a_hundred_above(n: int) -> None:
    assert stats.nearest_rank([float(i) for i in range(1, n + 1)], 0.99) == -(-99 * n // 100)


def test_percentile_refuses_what_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        stats.nearest_rank([], 0.5)
    with pytest.raises(ValueError, match="fraction"):
        stats.nearest_rank([1.0], 0.0)


@pytest.mark.parametrize("n", range(6, 80))
def test_the_medians_interval_is_the_narrowest_of_95_percent(n: int) -> None:
    interval = stats.median_interval_95([float(i) for i in range(1, n + 1)])
    assert interval is not None
    low, high = interval
    k = int(low)
    assert high == n + 1 - k
    coverage = 1 - 2 * scipy_stats.binom.cdf(k - 1, n, 0.5)
    narrower = 1 - 2 * scipy_stats.binom.cdf(k, n, 0.5)
    assert coverage >= 0.95 > narrower


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=6, max_size=60))
def test_the_interval_holds_the_median(values: list[float]) -> None:
    interval = stats.median_interval_95(values)
    assert interval is not None
    assert interval[0] <= stats.median(values) <= interval[1]


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=5))
def test_five_values_have_no_95_percent_interval(values: list[float]) -> None:
    assert stats.median_interval_95(values) is None


@given(st.lists(st.integers(min_value=0, max_value=40), max_size=60))
def test_the_busiest_second_is_what_counting_every_window_finds(eighths: list[int]) -> None:
    expected = max((sum(start <= time < start + 8 for time in eighths) for start in eighths), default=0)
    assert stats.busiest_second([time / 8 for time in eighths]) == expected


def test_the_busiest_second_is_half_open() -> None:
    assert stats.busiest_second([0.0, 0.5, 1.0]) == 2
