"""Scores of answers, of refusing and of finding, as the field defines them.

Texts are compared after the official normalisation of SQuAD: lower case, no punctuation, no articles, single spaces. A
question that its document does not answer is answered rightly by refusing, and only so: by abstaining, by saying
nothing, or by saying no more than that it is not known (`REFUSALS`), whichever system does. Other words in place of an
answer ("there is no such thing") count as wrong. Abstaining says nothing, also where it is wrong.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu  # type: ignore[import-untyped]  # it has no stubs

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
#: Answers that say no more than that it is not known, as `normalise` leaves them: the memory's words when it abstains,
#: and what models are used to say.
REFUSALS = frozenset(
    {
        "",
        "i dont know",
        "i do not know",
        "dont know",
        "unknown",
        "not known",
        "not mentioned",
        "not stated",
        "not specified",
        "not provided",
        "not given",
        "no answer",
        "unanswerable",
    }
)
#: Places that are looked at, for the recall of a search.
KS = (1, 2, 4, 8, 16)
#: Points of a curve at most, besides its ends.
POINTS = 30


@dataclass(frozen=True, slots=True)
class Scores:
    """How good one answer is, each from 0 to 1: the best over the right answers."""

    f1: float
    em: float
    containment: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """How well refusing tells unanswerable questions from answerable ones; None where there was nothing to count.

    ``precision`` is the share of unanswerable ones among the refused, ``recall`` the share of refused ones among the
    unanswerable.
    """

    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class RefusalPoint:
    """What refusing below one threshold of confidence would do.

    Attributes:
        threshold: A question is refused if the confidence is lower.
        precision: Share of unanswerable questions among the refused; None if none is refused.
        recall: Share of refused questions among the unanswerable; None if none is unanswerable.
        f1: Of these two; None if none is unanswerable.
        answered: Share of questions that are not refused.
        answered_f1: Mean token F1 of those of them that have an answer at all (below the threshold that the system ran
            with, some have none); None if there are none.
    """

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    answered: float
    answered_f1: float | None


@dataclass(frozen=True, slots=True)
class RefusalCurve:
    """How refusing depends on the threshold, from refusing nothing to refusing everything.

    ``auc`` is the area under the ROC curve: how likely an answerable question has a higher confidence than an
    unanswerable one; None if there are none of either kind.
    """

    auc: float | None
    points: tuple[RefusalPoint, ...]


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


def refuses(prediction: str) -> bool:
    """Return whether an answer says nothing, or no more than that it is not known."""
    # Normalising takes away the apostrophe of keyboards, not that of printers.
    return normalise(prediction.replace("’", "'")) in REFUSALS


def score(prediction: str, answers: Sequence[str]) -> Scores:
    """Return the scores of a prediction; it is empty if the system abstained, the answers are if there is none."""
    if not answers:
        prediction, answers = "" if refuses(prediction) else prediction, [""]

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


def refusal_curve(confidence: Sequence[float], answerable: Sequence[bool], f1: Sequence[float | None]) -> RefusalCurve:
    """Return what each threshold would do, from the lowest to the highest.

    Args:
        confidence: Of the system in each question that it can be answered.
        answerable: Whether it can.
        f1: Token F1 of the answer; None where the system gave none.

    Raises:
        ValueError: If there are no questions.
    """
    if not confidence:
        raise ValueError("a refusal curve needs at least one question, got none")
    sure = np.asarray(confidence, dtype=float)
    steps = np.unique(np.quantile(sure, np.linspace(0, 1, POINTS), method="closest_observation"))
    thresholds = [*map(float, steps), float(np.nextafter(sure.max(), np.inf))]
    return RefusalCurve(roc_auc(confidence, answerable), tuple(_point(t, sure, answerable, f1) for t in thresholds))


def _point(
    threshold: float, confidence: NDArray[np.float64], answerable: Sequence[bool], f1: Sequence[float | None]
) -> RefusalPoint:
    refused = [bool(low) for low in confidence < threshold]
    found = refusal(refused, answerable)
    scored = [value for said_no, value in zip(refused, f1, strict=True) if not said_no and value is not None]
    return RefusalPoint(
        threshold=threshold,
        precision=found.precision,
        recall=found.recall,
        f1=found.f1,
        answered=1 - sum(refused) / len(refused),
        answered_f1=fmean(scored) if scored else None,
    )


def roc_auc(confidence: Sequence[float], answerable: Sequence[bool]) -> float | None:
    """Return how likely an answerable question has the higher confidence of two; equal ones count half."""
    sure = np.asarray(confidence, dtype=float)
    can = np.asarray(answerable, dtype=bool)
    if can.all() or not can.any():
        return None
    wins = mannwhitneyu(sure[can], sure[~can], method="asymptotic").statistic
    return float(wins / (can.sum() * (~can).sum()))


def recall_at(ranks: Sequence[int | None]) -> dict[int, float]:
    """Return the share of ranks that are at most 1, 2, 4, 8 and 16; None is a gold sentence that was not found.

    Raises:
        ValueError: If there are no ranks.
    """
    if not ranks:
        raise ValueError("recall needs at least one question with a gold sentence, got none")
    return {k: sum(rank is not None and rank <= k for rank in ranks) / len(ranks) for k in KS}
