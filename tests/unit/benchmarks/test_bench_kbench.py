"""K-Bench's formulas, as its source has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import kbench
from benchmarks.figures.throughput import kbench_pods_per_min

seconds = st.floats(min_value=0.001, max_value=1000)


def test_the_median_of_an_even_number_is_the_upper_one() -> None:
    assert kbench.upper_median([4.0, 1.0, 3.0, 2.0]) == 3.0
    assert kbench.upper_median([5.0]) == 5.0


@given(st.lists(seconds, min_size=1, max_size=99))
def test_p99_is_the_maximum_below_100_samples(values: list[float]) -> None:
    assert kbench.p99(values) == max(values)


def test_p99_skips_one_value_in_every_hundred() -> None:
    assert kbench.p99([float(i) for i in range(100)]) == 98.0
    assert kbench.p99([float(i) for i in range(250)]) == 247.0


def test_throughput_adds_operations_up_before_it_divides() -> None:
    # Two operations of 8 and 5 pods with upper medians of 4 s and 2 s: 60 * (4 + 3) / (4 + 2).
    eight = [1.0, 1.0, 1.0, 1.0, 4.0, 9.0, 9.0, 9.0]
    five = [1.0, 1.0, 2.0, 9.0, 9.0]
    assert kbench_pods_per_min([eight, five]) == pytest.approx(70.0)


@given(st.lists(st.lists(seconds, max_size=20), max_size=5), st.randoms())
def test_throughput_depends_on_no_order_and_no_empty_operation(operations: list[list[float]], random: object) -> None:
    shuffled = [sorted(operation, reverse=True) for operation in reversed(operations)] + [[]]
    before, after = kbench_pods_per_min(operations), kbench_pods_per_min(shuffled)
    assert before == (None if after is None else pytest.approx(after))


def test_throughput_ignores_the_tail_as_k_bench_does() -> None:
    assert kbench_pods_per_min([[1.0, 2.0, 2.0]]) == kbench_pods_per_min([[1.0, 2.0, 900.0]])


def test_no_pod_has_no_throughput() -> None:
    assert kbench_pods_per_min([]) is None
    assert kbench_pods_per_min([[]]) is None
