from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from parametric_memory.config import MemoryConfig
from parametric_memory.evaluation.metrics import (
    Refusal,
    Scores,
    containment,
    exact_match,
    normalise,
    recall_at,
    refusal,
    refusal_curve,
    refuses,
    roc_auc,
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


def test_without_an_answer_only_refusing_is_right():
    assert score("", []) == score("I don't know.", []) == Scores(1.0, 1.0, 1.0)
    assert score("There is no such thing.", []) == Scores(0.0, 0.0, 0.0)
    assert score("", ["green"]) == score("I don't know.", ["green"]) == Scores(0.0, 0.0, 0.0)
    assert score("Unknown.", ["unknown"]) == Scores(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "said", [MemoryConfig().unknown, "I don’t know", "i do not know!", "Unknown.", "Not mentioned", "No answer.", " ."]
)
def test_an_answer_that_says_no_more_than_that_it_is_not_known_refuses(said):
    assert refuses(said)


@pytest.mark.parametrize("said", ["The Unknown Soldier", "I don't know, but it is green.", "None", "0", "No."])
def test_an_answer_that_says_anything_more_refuses_nothing(said):
    assert not refuses(said)


def test_refusal_counts_as_in_a_table_of_four():
    refused = [True, True, True, False, False]
    answerable = [False, False, True, True, False]
    assert refusal(refused, answerable) == Refusal(precision=2 / 3, recall=2 / 3, f1=2 / 3)
    assert refusal([False, False], [True, False]) == Refusal(precision=None, recall=0.0, f1=0.0)
    assert refusal([True, False], [True, True]) == Refusal(None, None, None)


SURE = st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.none() | st.floats(0, 1)), min_size=1, max_size=60)


@given(SURE)
def test_raising_the_threshold_refuses_more_and_never_answers_more(rows):
    curve = refusal_curve(*zip(*rows, strict=True))
    for low, high in pairwise(curve.points):
        assert low.threshold < high.threshold
        assert low.answered >= high.answered
        assert low.recall is None or low.recall <= high.recall
    first, last = curve.points[0], curve.points[-1]
    assert (first.answered, last.answered, last.answered_f1) == (1.0, 0.0, None)
    assert last.recall in {None, 1.0}


@given(SURE)
def test_a_point_of_the_curve_is_what_refusing_below_it_does(rows):
    confidence, answerable, _ = zip(*rows, strict=True)
    for point in refusal_curve(*zip(*rows, strict=True)).points:
        expected = refusal([one < point.threshold for one in confidence], answerable)
        assert (point.precision, point.recall, point.f1) == (expected.precision, expected.recall, expected.f1)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9]), st.booleans()), min_size=2, max_size=40))
def test_the_area_under_the_curve_is_that_of_scikit_learn(rows):
    confidence, answerable = zip(*rows, strict=True)
    if len(set(answerable)) < 2:
        assert roc_auc(confidence, answerable) is None
    else:
        assert roc_auc(confidence, answerable) == pytest.approx(roc_auc_score(answerable, confidence))


def test_confidence_that_tells_everything_apart_has_all_the_area():
    curve = refusal_curve([0.1, 0.2, 0.8, 0.9], [False, False, True, True], [None, 0.0, 0.5, 1.0])
    assert curve.auc == 1.0
    [best] = [point for point in curve.points if point.f1 == 1.0]
    assert (best.threshold, best.answered, best.answered_f1) == (0.8, 0.5, 0.75)


@given(st.lists(st.none() | st.integers(1, 40), min_size=1))
def test_recall_grows_with_the_places_looked_at(ranks):
    found = list(recall_at(ranks).values())
    assert found == sorted(found)
    assert found[0] == sum(rank == 1 for rank in ranks) / len(ranks)
    assert 0.0 <= found[-1] <= 1.0


@pytest.mark.parametrize("metric", [lambda: refusal_curve([], [], []), lambda: recall_at([])])
def test_nothing_to_measure_is_an_error_that_says_so(metric):
    with pytest.raises(ValueError, match="at least one question"):
        metric()
