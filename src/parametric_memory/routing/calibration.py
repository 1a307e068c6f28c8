"""How sure is sure enough: thresholds on a router's confidence that keep an error rate which was stated beforehand.

Confidences in questions of which it is known whether the memory answers them come in, thresholds, probabilities and
measured shares go out. Nothing is assumed of a confidence but that it is a number and that more of it means more sure,
so what is here fits every router.

**The error rate.** Of the questions that the memory cannot answer, the share that it takes on all the same. It does
not depend on how many such questions are asked, which nobody knows beforehand.

**The guarantee** (split conformal prediction: Vovk et al. 2005; Angelopoulos and Bates, arXiv 2107.07511). Sort the
``n`` confidences in unanswerable questions, let ``m = floor(rate * (n + 1))``, and take on what is above the ``(n + 1 -
m)``-th smallest. If the next unanswerable question and those ``n`` are exchangeable (drawn alike, in no order that
matters), it is taken on with a probability of at most ``m / (n + 1) <= rate``, whatever the distribution, for every
``n``. The probability is over both draws: for the one set of questions that was drawn, the rate in the long run follows
a Beta(m, n + 1 - m) distribution (`Calibration.long_run`). Questions from elsewhere carry no guarantee.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from parametric_memory.errors import ConfigError
from parametric_memory.routing.selection import probability

Interval: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` of ``of``, and the exact interval of 95 % (Clopper and Pearson 1934) for questions drawn one by one."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> Interval | None:
        """The interval; None of nothing."""
        if not self.of:
            return None
        from scipy.stats import binomtest  # type: ignore[import-untyped]  # it has no stubs

        found = binomtest(self.count, self.of).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)

    def __add__(self, other: Share) -> Share:
        return Share(self.count + other.count, self.of + other.of)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a threshold does to questions.

    Attributes:
        error: Of the unanswerable questions, those that are taken on: what a target limits.
        coverage: Of the answerable questions, those that are taken on.
    """

    error: Share
    coverage: Share

    @property
    def wrong(self) -> Share:
        """Of all that are taken on, those that are unanswerable; it depends on how many of them were asked."""
        return Share(self.error.count, self.error.count + self.coverage.count)

    def __add__(self, other: Measured) -> Measured:
        return Measured(self.error + other.error, self.coverage + other.coverage)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidences in questions of both kinds, each sorted; made by `Calibration.of`, or `sorted` to measure with."""

    answerable: tuple[float, ...]
    unanswerable: tuple[float, ...]

    @classmethod
    def of(cls, confidences: Sequence[float], answerable: Sequence[bool]) -> Calibration:
        """Sort confidences by whether the memory answers the question.

        Raises:
            ConfigError: If there is not one label per confidence, a confidence is not finite, or no question is
                unanswerable.
        """
        if len(confidences) != len(answerable):
            raise ConfigError(
                f"calibrating: there are {len(confidences)} confidences and {len(answerable)} labels; give one of each "
                "per question"
            )
        if strange := [value for value in confidences if not math.isfinite(value)]:
            raise ConfigError(f"calibrating: a confidence is {strange[0]}, expected a finite number; mend the router")
        made = cls.sorted(confidences, answerable)
        if not made.unanswerable:
            raise ConfigError(
                f"calibrating: none of {len(made.answerable)} questions is unanswerable; add questions that the memory "
                "holds no answer to"
            )
        return made

    @classmethod
    def sorted(cls, confidences: Sequence[float], answerable: Sequence[bool]) -> Calibration:
        """Sort confidences as they are: to measure with, they may be of one kind alone."""
        pairs = list(zip(confidences, answerable, strict=True))
        yes, no = (tuple(sorted(float(c) for c, can in pairs if can == side)) for side in (True, False))
        return cls(yes, no)

    def threshold(self, rate: float) -> float:
        """Return the lowest threshold (a question is taken on if its confidence is no lower) that keeps a target rate.

        Raises:
            ConfigError: If the rate is not between 0 and 1, or there are too few unanswerable questions for it.
        """
        needed, allowed = questions_needed(rate), _allowed(rate, len(self.unanswerable))
        if allowed == 0:
            raise ConfigError(
                f"an error rate of at most {rate:g} takes {needed} unanswerable questions to guarantee, and there are "
                f"{len(self.unanswerable)}: calibrate with more of them, or aim for {_up(self.lowest_rate):g} or more"
            )
        # Just above, not at: of equal confidences none may pass.
        return float(np.nextafter(self.unanswerable[len(self.unanswerable) - allowed], np.inf))

    @property
    def lowest_rate(self) -> float:
        """The lowest rate that so many unanswerable questions can guarantee."""
        return 1.0 / (len(self.unanswerable) + 1)

    def long_run(self, rate: float) -> Interval:
        """Return the middle 95 % of the rates that thresholds of so many questions have in the long run.

        Without ties, the rate of one threshold, over all questions still to come, is a draw from Beta(m, n + 1 - m).

        Raises:
            ConfigError: As `threshold`.
        """
        from scipy.stats import beta

        self.threshold(rate)
        n = len(self.unanswerable)
        m = _allowed(rate, n)
        low, high = beta.ppf((0.025, 0.975), m, n + 1 - m)
        return float(low), float(high)

    def measure(self, threshold: float) -> Measured:
        """Return what a threshold does to these questions."""
        return Measured(_above(self.unanswerable, threshold), _above(self.answerable, threshold))


def questions_needed(rate: float) -> int:
    """Return how many unanswerable questions it takes, at least, to guarantee an error rate.

    Raises:
        ConfigError: If the rate is not between 0 and 1.
    """
    if not 0.0 < rate < 1.0:
        raise ConfigError(
            f"a target error rate of {rate:g}: expected a share between 0 and 1, such as 0.05; to answer everything, "
            "set abstain_below to 0"
        )
    return math.ceil(1 / _exact(rate)) - 1


def cross_measured(
    confidences: Sequence[float],
    answerable: Sequence[bool],
    rate: float,
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Measured | None:
    """Return what a target does to questions that had no say in its threshold: each half is measured by the other's.

    Args:
        confidences: One per question.
        answerable: Whether the memory answers it.
        rate: The target.
        groups: What stands or falls together (questions of one document): a group is never cut in two.
        seed: Of the halves.

    Returns:
        Both halves together; None if one of them has too few unanswerable questions for the target.

    Raises:
        ConfigError: If the rate is not between 0 and 1.
    """
    needed = questions_needed(rate)
    groups = range(len(confidences)) if groups is None else groups
    first = first_half(groups, seed=seed)
    halves = []
    for side in (True, False):
        rows = [
            (c, can) for c, can, group in zip(confidences, answerable, groups, strict=True) if (group in first) == side
        ]
        if sum(not can for _, can in rows) < needed:
            return None
        halves.append(Calibration.of(*zip(*rows, strict=True)))
    one, other = halves
    return one.measure(other.threshold(rate)) + other.measure(one.threshold(rate))


def first_half(groups: Iterable[Hashable], *, seed: int = 0) -> set[Hashable]:
    """Return half of the groups, drawn: what stands or falls together, such as documents, is never cut in two."""
    names = list(dict.fromkeys(groups))
    return {names[place] for place in np.random.default_rng(seed).permutation(len(names))[: len(names) // 2]}


@dataclass(frozen=True, slots=True)
class Logistic:
    """A confidence as the probability that the memory answers: ``1 / (1 + exp(-(slope * x + bias)))``.

    ``x`` is the confidence, or with ``log_odds`` its log-odds. More confidence never means less probability.
    """

    slope: float
    bias: float
    log_odds: bool

    @classmethod
    def fit(cls, calibration: Calibration) -> Logistic:
        """Fit slope and bias (Platt 1999, with his smoothed targets: no set of questions makes it certain).

        Confidences that all lie in 0..1 are taken as probabilities, and their log-odds are scaled.

        Raises:
            ConfigError: If no question is answerable.
        """
        from scipy.optimize import minimize  # type: ignore[import-untyped]  # it has no stubs

        yes, no = calibration.answerable, calibration.unanswerable
        if not yes:
            raise ConfigError(
                f"calibrating: none of {len(no)} questions is answerable; add questions that the memory answers"
            )
        log_odds = min(yes[0], no[0]) >= 0.0 and max(yes[-1], no[-1]) <= 1.0
        x = np.array([_log_odds(c) if log_odds else c for c in (*yes, *no)])
        # Fitted around the middle and in units of the spread: a router's numbers may be of any size.
        middle, spread = float(x.mean()), float(x.std()) or 1.0
        x = (x - middle) / spread
        hit, miss = (len(yes) + 1) / (len(yes) + 2), 1 / (len(no) + 2)
        target = np.array([hit] * len(yes) + [miss] * len(no))

        def loss(parameters: NDArray[np.float64]) -> float:
            z = parameters[0] * x + parameters[1]
            return float(np.sum(np.logaddexp(0.0, z) - target * z))

        slope, bias = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.0, None), (None, None)]).x
        return cls(float(slope / spread), float(bias - slope * middle / spread), log_odds)

    def probability(self, confidence: float) -> float:
        """Return the probability that a question of this confidence is one that the memory answers."""
        return probability(self.slope * (_log_odds(confidence) if self.log_odds else confidence) + self.bias)


def _exact(rate: float) -> Fraction:
    """Return a rate as it was written: of 100 questions .29 is 29, and not less."""
    return Fraction(repr(float(rate)))


def _up(rate: float) -> float:
    """Return a rate with few digits that is no lower."""
    return math.ceil(rate * 10_000) / 10_000


def _allowed(rate: float, questions: int) -> int:
    """Return ``floor(rate * (n + 1))``: the questions that may be taken on, the next one among them."""
    return math.floor(_exact(rate) * (questions + 1))


def _above(confidences: Sequence[float], threshold: float) -> Share:
    return Share(sum(confidence >= threshold for confidence in confidences), len(confidences))


def _log_odds(probability: float) -> float:
    probability = min(1.0 - 1e-9, max(1e-9, probability))
    return math.log(probability / (1.0 - probability))
