import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.errors import ConfigError
from parametric_memory.routing.calibration import Calibration, Logistic, Share, cross_measured, questions_needed

confidences = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
rates = st.floats(0.001, 0.999)


def draw(rng, n, *, grid=None):
    """Draw confidences in n answerable and n unanswerable questions; on a grid, many are equal."""
    scores = np.concatenate([rng.beta(4, 2, n), rng.beta(2, 3, n)])
    return (scores if grid is None else np.round(scores * grid) / grid), [True] * n + [False] * n


def mean_error(rate, *, n, grid=None, seeds=2000):
    """Return how often the next unanswerable question is taken on, over many calibrations; and two standard errors."""
    rng = np.random.default_rng(0)
    taken = []
    for _ in range(seeds):
        scores, answerable = draw(rng, n, grid=grid)
        [*_, new] = draw(rng, 1, grid=grid)[0]
        taken.append(new >= Calibration.of(scores, answerable).threshold(rate))
    return np.mean(taken), 2 * np.std(taken) / seeds**0.5


@pytest.mark.parametrize(("rate", "n"), [(0.05, 19), (0.1, 9), (0.1, 60), (0.25, 30), (0.5, 7)])
def test_the_next_unanswerable_question_is_taken_on_no_more_often_than_stated(rate, n):
    error, noise = mean_error(rate, n=n)
    assert error <= rate + noise
    # And it is no idle promise: as often as n questions can tell apart.
    assert error >= rate - 1 / (n + 1) - noise


@pytest.mark.parametrize("grid", [1, 3, 10])
def test_ties_never_break_the_guarantee(grid):
    error, noise = mean_error(0.2, n=24, grid=grid)
    assert error <= 0.2 + noise


def test_the_long_run_rate_of_a_threshold_is_where_it_was_said_to_be():
    rng, inside = np.random.default_rng(1), []
    for _ in range(600):
        scores, answerable = draw(rng, 50)
        calibration = Calibration.of(scores, answerable)
        low, high = calibration.long_run(0.1)
        rate = np.mean(rng.beta(2, 3, 4000) >= calibration.threshold(0.1))
        inside.append(low <= rate <= high)
    assert 0.92 <= np.mean(inside) <= 0.98


@given(confidences, rates)
def test_of_the_questions_it_was_calibrated_on_no_more_than_the_rate_pass(unanswerable, rate):
    calibration = Calibration.of(unanswerable, [False] * len(unanswerable))
    if len(unanswerable) < questions_needed(rate):
        with pytest.raises(ConfigError, match=r"takes .* unanswerable questions"):
            calibration.threshold(rate)
        return
    error = calibration.measure(calibration.threshold(rate)).error
    assert error.count + 1 <= Fraction(repr(rate)) * (error.of + 1)


@given(confidences, rates, rates)
def test_a_higher_rate_never_has_a_higher_threshold(unanswerable, one, other):
    calibration = Calibration.of(unanswerable, [False] * len(unanswerable))
    low, high = sorted([one, other])
    if len(unanswerable) >= questions_needed(low):
        assert calibration.threshold(low) >= calibration.threshold(high)


@given(st.lists(st.integers(0, 1000).map(float), min_size=9, max_size=40, unique=True))
def test_only_the_order_of_confidences_matters(unanswerable):
    before = Calibration.of(unanswerable, [False] * len(unanswerable))
    after = Calibration.of([score**3 - 5 for score in unanswerable], [False] * len(unanswerable))
    taken = [score >= before.threshold(0.1) for score in before.unanswerable]
    assert taken == [score >= after.threshold(0.1) for score in after.unanswerable]


def test_equal_confidences_are_all_refused_or_none():
    calibration = Calibration.of([0.5] * 40, [False] * 20 + [True] * 20)
    measured = calibration.measure(calibration.threshold(0.3))
    assert measured.error.count == measured.coverage.count == 0


@pytest.mark.parametrize(("rate", "needed"), [(0.5, 1), (0.1, 9), (0.05, 19), (0.01, 99), (0.3, 3)])
def test_the_fewest_questions_are_enough_and_one_less_is_not(rate, needed):
    assert questions_needed(rate) == needed
    Calibration.of(range(needed), [False] * needed).threshold(rate)
    if needed > 1:
        with pytest.raises(ConfigError, match=f"takes {needed} unanswerable questions"):
            Calibration.of(range(needed - 1), [False] * (needed - 1)).threshold(rate)


def test_rates_count_as_they_are_written():
    # 0.29 * 100 is 28.999… in floats.
    calibration = Calibration.of(range(99), [False] * 99)
    assert calibration.measure(calibration.threshold(0.29)).error.count == 28


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 7.0])
def test_a_rate_outside_of_0_and_1_is_refused(rate):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Calibration.of([0.1], [False]).threshold(rate)


@pytest.mark.parametrize(
    ("scores", "answerable", "problem"),
    [
        ([], [], "none of 0 questions is unanswerable"),
        ([0.1, 0.2], [True, True], "none of 2 questions is unanswerable"),
        ([0.1, float("nan")], [True, False], "a confidence is nan"),
        ([0.1, float("inf")], [True, False], "a confidence is inf"),
        ([0.1], [True, False], "1 confidences and 2 labels"),
    ],
)
def test_degenerate_questions_are_refused_with_the_reason(scores, answerable, problem):
    with pytest.raises(ConfigError, match=problem):
        Calibration.of(scores, answerable)


# ---------------------------------------------------------------- measuring


def test_halves_measure_every_question_once_and_keep_groups_whole():
    scores, answerable = draw(np.random.default_rng(2), 200)
    measured = cross_measured(scores, answerable, 0.1)
    assert (measured.error.of, measured.coverage.of) == (200, 200)
    assert measured.wrong.of == measured.error.count + measured.coverage.count
    # One document is one draw: it cannot be in both halves.
    assert cross_measured(scores, answerable, 0.1, groups=["same"] * 400) is None


def test_the_cross_measured_error_keeps_the_rate_and_uses_it():
    rng, errors = np.random.default_rng(3), Share(0, 0)
    for _ in range(100):
        errors += cross_measured(*draw(rng, 80), 0.1).error
    # Halves of about 40 allow 2 to 4 of them: a little less than the rate.
    assert 0.07 <= errors.value <= 0.105


def test_too_few_questions_are_not_measured():
    assert cross_measured([0.1, 0.2, 0.9, 0.8], [False, False, True, True], 0.1) is None


def test_an_interval_holds_its_share_and_of_nothing_there_is_none():
    share = Share(3, 20)
    low, high = share.interval
    assert low < share.value < high
    assert (low, high) == pytest.approx((0.0321, 0.3789), abs=1e-4)  # published tables of Clopper and Pearson
    assert Share(0, 0).value is None and Share(0, 0).interval is None


# ---------------------------------------------------------------- probabilities


def test_a_fitted_confidence_is_the_share_that_is_answerable():
    rng = np.random.default_rng(4)
    true = rng.uniform(0.02, 0.98, 8000)
    answerable = rng.uniform(size=8000) < true
    # An overconfident router: its log-odds are twice too large, and shifted.
    stated = 1 / (1 + np.exp(-(2 * np.log(true / (1 - true)) + 1)))
    fitted = Logistic.fit(Calibration.of(stated, answerable))
    assert fitted.log_odds and fitted.slope == pytest.approx(0.5, abs=0.05)
    for confidence, probability in zip(stated[:50], true[:50], strict=True):
        assert fitted.probability(confidence) == pytest.approx(probability, abs=0.05)


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=40), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_more_confidence_is_never_less_probability(scores, one, other):
    fitted = Logistic.fit(Calibration.of(scores, [n % 2 == 0 for n in range(len(scores))]))
    low, high = sorted([one, other])
    assert 0.0 <= fitted.probability(low) <= fitted.probability(high) <= 1.0


def test_perfectly_separated_questions_do_not_make_it_certain():
    fitted = Logistic.fit(Calibration.of([0.9, 0.8, 0.2, 0.1], [True, True, False, False]))
    assert 0.5 < fitted.probability(0.9) < 1.0 and 0.0 < fitted.probability(0.1) < 0.5


def test_without_answerable_questions_there_are_no_probabilities():
    with pytest.raises(ConfigError, match="none of 2 questions is answerable"):
        Logistic.fit(Calibration.of([0.1, 0.2], [False, False]))


@pytest.mark.parametrize("n", [2, 11, 29, 300])
def test_the_rate_that_a_refusal_names_can_be_kept(n):
    calibration = Calibration.of([number / n for number in range(n)] + [1.0], [False] * n + [True])
    with pytest.raises(ConfigError, match="or aim for") as refused:
        calibration.threshold(0.0001)
    calibration.threshold(float(re.search(r"aim for ([\d.]+)", str(refused.value))[1]))
