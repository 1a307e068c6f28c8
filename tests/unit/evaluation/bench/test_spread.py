from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.evaluation.bench.spread import by_stage, ratio, spread

times = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=30)


@given(times)
def test_a_spread_is_in_order_and_within_the_values(values):
    found = spread(values)
    assert min(values) <= found["p25"] <= found["p50"] <= found["p75"] <= found["p95"] <= max(values)
    assert found["p50"] == pytest.approx(np.median(values)) and found["n"] == len(values)


@given(times, st.floats(0.1, 10.0))
def test_a_system_that_takes_a_fixed_share_has_that_ratio_whatever_the_machine_does(values, share):
    found = ratio([share * value for value in values], values)
    assert found["p25"] == pytest.approx(share) and found["p75"] == pytest.approx(share)


def test_the_total_is_the_spread_of_the_sums_not_the_sum_of_the_medians():
    found = by_stage([{"a": 1.0, "b": 9.0}, {"a": 5.0, "b": 5.0}, {"a": 9.0}])
    assert (found["a"]["p50"], found["b"]["p50"], found["total"]["p50"]) == (5.0, 5.0, 10.0)


def test_nothing_cannot_be_summed_up_and_nothing_divides():
    with pytest.raises(ValueError, match="none"):
        spread([])
    with pytest.raises(ValueError, match="denominator"):
        ratio([1.0], [0.0])
