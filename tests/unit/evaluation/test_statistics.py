from __future__ import annotations

import random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parametric_memory.evaluation.statistics import (
    Difference,
    difference,
    draws,
    interval,
    middle,
    ratio_interval,
)

SCORES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=25)


def world(rng: random.Random, *, documents: int, apart: float) -> tuple[list[float], list[float], list[int]]:
    """Return scores of two systems, three questions a document; their true difference is `apart`.

    Documents are easy or hard for both, and each suits one of the two better.
    """
    ours, theirs, groups = [], [], []
    for document in range(documents):
        easy, suits = rng.gauss(0.5, 0.3), rng.gauss(apart, 0.2)
        for _ in range(3):
            ours.append(easy + suits + rng.gauss(0, 0.1))
            theirs.append(easy + rng.gauss(0, 0.1))
            groups.append(document)
    return ours, theirs, groups


def test_the_interval_holds_the_true_mean_about_nineteen_times_in_twenty():
    rng = random.Random(0)
    samples = [[float(rng.random() < 0.3) for _ in range(150)] for _ in range(60)]
    held = [low <= 0.3 <= high for low, high in (interval(sample, range(150)) for sample in samples)]
    assert 0.85 <= fmean(held) <= 1.0


def test_questions_of_one_document_make_the_interval_wider_not_narrower():
    values = [0.0, 1.0] * 10
    alone = interval([v for v in values for _ in range(5)], range(100))
    together = interval([v for v in values for _ in range(5)], [n for n in range(20) for _ in range(5)])
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])
    assert together == pytest.approx(interval(values, range(20)))


def test_intervals_repeat_themselves_and_need_two_documents():
    assert interval([0.0, 1.0, 1.0], "abc") == interval([0.0, 1.0, 1.0], "abc")
    assert interval([0.5, 0.5], "ab") == (0.5, 0.5)
    assert interval([0.0, 1.0], "aa") is None


@given(SCORES)
@settings(deadline=None, max_examples=25)
def test_a_system_does_not_differ_from_itself(rows):
    ours, _, groups = (list(column) for column in zip(*rows, strict=True))
    found = difference(ours, ours, groups)
    alone = len(set(groups)) < 2
    expected = Difference(0.0, None if alone else (0.0, 0.0), None if alone else 1.0, 0.0, 1.0, 0.0, len(ours))
    assert found == expected


@given(SCORES)
@settings(deadline=None, max_examples=25)
def test_swapping_the_systems_turns_the_difference_round(rows):
    ours, theirs, groups = (list(column) for column in zip(*rows, strict=True))
    one, other = difference(ours, theirs, groups), difference(theirs, ours, groups)
    assert one.mean == pytest.approx(-other.mean)
    assert (one.won, one.tied, one.lost) == (other.lost, other.tied, other.won)
    assert one.won + one.tied + one.lost == pytest.approx(1.0)
    if one.interval:
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), abs=1e-9)
        assert 0.0 < one.p <= 1.0


def test_the_interval_of_a_difference_holds_the_truth_about_nineteen_times_in_twenty():
    rng = random.Random(1)
    found = [difference(*world(rng, documents=60, apart=0.1)).interval for _ in range(80)]
    assert 0.88 <= fmean(low <= 0.1 <= high for low, high in found) <= 1.0


def test_p_is_small_about_as_often_as_it_may_be_where_nothing_differs():
    rng = random.Random(2)
    found = [difference(*world(rng, documents=20, apart=0.0)).p for _ in range(100)]
    assert fmean(p < 0.05 for p in found) <= 0.12
    assert 0.3 < fmean(found) < 0.7


def test_p_is_that_of_all_ways_to_swap_the_systems_in_a_document():
    # Of the sixteen ways to sign 1, 2, 3 and 4 only one has so large a sum, and one so small a one.
    assert difference([1.0, 2.0, 3.0, 4.0], [0.0] * 4, "abcd").p == pytest.approx(2 / 16)


def test_pairing_finds_what_two_intervals_alone_do_not():
    ours, theirs, groups = world(random.Random(3), documents=60, apart=0.1)
    assert difference(ours, theirs, groups).interval[0] > 0
    assert interval(ours, groups)[0] < interval(theirs, groups)[1]


def test_a_difference_needs_pairs():
    with pytest.raises(ValueError, match="1, 2 and 2 groups"):
        difference([1.0], [1.0, 0.0], "ab")


def test_a_ratio_of_a_system_to_its_double_is_a_half_however_documents_are_drawn():
    assert ratio_interval([0.2, 0.1, 0.3], [0.4, 0.2, 0.6], "abc") == pytest.approx((0.5, 0.5))


def test_a_ratio_to_what_is_mostly_nothing_has_no_interval():
    assert ratio_interval([1.0, 1.0, 1.0], [0.0, 0.0, 1.0], "abc") is None
    assert np.isnan(draws([1.0, 1.0, 1.0], [0.0, 0.0, 1.0], "abc")).any()
    assert middle(np.array([1.0, 2.0, 3.0])) == pytest.approx((1.05, 2.95))
