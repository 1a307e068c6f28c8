from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.evaluation.metrics import (
    Refusal,
    containment,
    exact_match,
    interval,
    normalise,
    refusal,
    score,
    token_f1,
)

PIECES = st.sampled_from(["the ", "a", "Cat", " ", "-", ".", "é", "1", "dog ", "\n", "🙂"])
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text()

#: Prediction, answer, token F1, EM, containment: by hand, after SQuAD's script.
CASES = [
    ("Denver Broncos", "Denver Broncos", 1.0, 1.0, 1.0),
    ("The Denver Broncos.", "denver broncos", 1.0, 1.0, 1.0),
    ("It was the Denver Broncos", "Denver Broncos", 2 / 3, 0.0, 1.0),
    ("Broncos", "Denver Broncos", 2 / 3, 0.0, 0.0),
    ("Broncos, Denver", "Denver Broncos", 1.0, 0.0, 0.0),
    ("1894", "1895", 0.0, 0.0, 0.0),
    ("in 18945", "1894", 0.0, 0.0, 0.0),
    ("$1,000,000", "1000000", 1.0, 1.0, 1.0),
    ("well-known", "wellknown", 1.0, 1.0, 1.0),
    ("well known", "well-known", 0.0, 0.0, 0.0),
    ("dog dog dog", "dog", 0.5, 0.0, 1.0),
    ("a cat and an apple", "cat and apple", 1.0, 1.0, 1.0),
    ("theatre", "atre", 0.0, 0.0, 0.0),
    ("", "green", 0.0, 0.0, 0.0),
    ("green", "", 0.0, 0.0, 0.0),
    ("The.", "", 1.0, 1.0, 1.0),
    ("", "", 1.0, 1.0, 1.0),
]


@pytest.mark.parametrize(("prediction", "answer", "f1", "em", "contained"), CASES)
def test_scores_are_those_worked_out_by_hand(prediction, answer, f1, em, contained):
    assert token_f1(prediction, answer) == pytest.approx(f1)
    assert exact_match(prediction, answer) == em
    assert containment(prediction, answer) == contained


@given(TEXTS, TEXTS)
def test_scores_lie_between_nothing_and_everything_and_agree(prediction, answer):
    f1, em, contained = (metric(prediction, answer) for metric in (token_f1, exact_match, containment))
    assert 0.0 <= f1 <= 1.0
    assert em <= f1 + 1e-12
    assert em <= contained <= float(f1 > 0.0)


@given(TEXTS)
def test_a_text_answers_itself_however_it_is_written(text):
    assert score(text, [text]) == score(f" {normalise(text)}!", [text])
    assert score(text, [text]).em == 1.0


@given(TEXTS, TEXTS)
def test_token_f1_does_not_care_which_side_is_right(one, other):
    assert token_f1(one, other) == pytest.approx(token_f1(other, one))


@given(TEXTS)
def test_normalising_twice_is_normalising_once(text):
    assert normalise(normalise(text)) == normalise(text) == " ".join(normalise(text).split())


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
def test_more_right_answers_never_lower_a_score(prediction, answers, another):
    fewer, more = score(prediction, answers), score(prediction, [*answers, another])
    assert more.f1 >= fewer.f1
    assert more.em >= fewer.em
    assert more.containment >= fewer.containment


def test_without_an_answer_only_silence_is_right():
    assert score("", []).em == score("", []).f1 == score("", []).containment == 1.0
    assert score("I don't know.", []).f1 == 0.0
    assert score("", ["green"]).f1 == 0.0


def test_refusal_counts_as_in_a_table_of_four():
    refused = [True, True, True, False, False]
    answerable = [False, False, True, True, False]
    assert refusal(refused, answerable) == Refusal(precision=2 / 3, recall=2 / 3, f1=2 / 3)
    assert refusal([False, False], [True, False]) == Refusal(precision=None, recall=0.0, f1=0.0)
    assert refusal([True, False], [True, True]) == Refusal(None, None, None)


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
