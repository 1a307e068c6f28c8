"""Scores of answers as the field defines them, and how sure one can be of their means.

Texts are compared after the official normalisation of SQuAD: lower case, no punctuation, no articles, single spaces. A
question that its document does not answer is answered rightly by abstaining or by saying nothing, and only so: whatever
words a model says instead ("there is no such thing") count as wrong. Abstaining says nothing, also where it is wrong.
"""

from __future__ import annotations

import re
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap  # type: ignore[import-untyped]  # it has no stubs

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Scores:
    """How good one answer is, each from 0 to 1: the best over the right answers."""

    f1: float
    em: float
    containment: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """How well abstaining tells unanswerable questions from answerable ones; None where there was nothing to count.

    ``precision`` is the share of unanswerable ones among the refused, ``recall`` the share of refused ones among the
    unanswerable.
    """

    precision: float | None
    recall: float | None
    f1: float | None


def normalise(text: str) -> str:
    """Return a text as SQuAD's evaluation script compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answer: str) -> float:
    """Return 1.0 if both are the same after normalisation, else 0.0."""
    return float(normalise(prediction) == normalise(answer))


def token_f1(prediction: str, answer: str) -> float:
    """Return the harmonic mean of precision and recall over the words of both; of two empty texts it is 1.0."""
    predicted, right = normalise(prediction).split(), normalise(answer).split()
    if not predicted or not right:
        return float(predicted == right)
    common = (Counter(predicted) & Counter(right)).total()
    return 2 * common / (len(predicted) + len(right))


def containment(prediction: str, answer: str) -> float:
    """Return 1.0 if the answer's words stand in the prediction, one after the other, else 0.0."""
    predicted, right = normalise(prediction), normalise(answer)
    if not right:
        return float(not predicted)
    return float(f" {right} " in f" {predicted} ")


def score(prediction: str, answers: Sequence[str]) -> Scores:
    """Return the scores of a prediction; it is empty if the system abstained, the answers are if there is none."""
    answers = answers or [""]

    def best(metric: Callable[[str, str], float]) -> float:
        return max(metric(prediction, answer) for answer in answers)

    return Scores(best(token_f1), best(exact_match), best(containment))


def refusal(refused: Sequence[bool], answerable: Sequence[bool]) -> Refusal:
    """Return how well refusing tells unanswerable questions apart; all None if there are none of them."""
    unanswerable = len(answerable) - sum(answerable)
    if not unanswerable:
        return Refusal(None, None, None)
    right = sum(said and not can for said, can in zip(refused, answerable, strict=True))
    return Refusal(
        precision=right / sum(refused) if any(refused) else None,
        recall=right / unanswerable,
        f1=2 * right / (sum(refused) + unanswerable),
    )


def interval(values: Sequence[float], groups: Sequence[Hashable], *, seed: int = 0) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of the mean of ``values``, None if there are fewer than two groups.

    Args:
        values: One per question.
        groups: What each question belongs to. Questions of one document stand or fall together, so it is documents that
            are drawn, not questions.
        seed: Of the draws.
    """
    grouped: defaultdict[Hashable, list[float]] = defaultdict(list)
    for value, group in zip(values, groups, strict=True):
        grouped[group].append(value)
    if len(grouped) < 2:
        return None
    sums = np.array([sum(members) for members in grouped.values()])
    counts = np.array([len(members) for members in grouped.values()], dtype=float)
    drawn = bootstrap(
        (sums, counts),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=200,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(drawn.low), float(drawn.high)


def _ratio(sums: NDArray[np.float64], counts: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = sums.sum(axis=axis) / counts.sum(axis=axis)
    return ratio
