"""How sure one can be of figures: intervals, paired differences, ratios.

Questions of one document stand or fall together, so it is documents that are drawn, swapped and counted as independent,
never questions. Every figure here is a ratio of sums over questions (a mean is one whose denominators are 1), which is
why one bootstrap serves means, precisions, differences and ratios alike. The same seed gives the same digits.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap, permutation_test  # type: ignore[import-untyped]  # it has no stubs

Array: TypeAlias = NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]

RESAMPLES = 2000
#: With so many permutations, a p-value of .05 is known to within .01.
PERMUTATIONS = 1999


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one system is than another on the questions that both were asked.

    Attributes:
        mean: Mean difference over questions; positive if the first is better.
        interval: Of 95 %, drawn over documents; None if there are fewer than two.
        p: Two-sided, of a paired permutation test over documents: how often a difference as large comes about if in
            every document the names of the two are swapped by a coin. None if there are fewer than two documents.
        won: Share of questions on which the first is better; ``tied`` and ``lost`` are the others.
        n: Questions.
    """

    mean: float
    interval: Interval | None
    p: float | None
    won: float
    tied: float
    lost: float
    n: int


def interval(values: Sequence[float], groups: Sequence[Hashable], *, seed: int = 0) -> Interval | None:
    """Return the 95 % bootstrap interval of the mean of ``values``, None if there are fewer than two groups.

    Args:
        values: One per question.
        groups: What each question belongs to: its document.
        seed: Of the draws.
    """
    return ratio_interval(values, np.ones(len(values)), groups, seed=seed)


def ratio_interval(
    numerators: Sequence[float] | Array,
    denominators: Sequence[float] | Array,
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
) -> Interval | None:
    """Return the 95 % bootstrap interval of a ratio of sums, None if there are fewer than two groups.

    It is None too where so many draws have nothing in the denominator that an end of the interval is one of them.
    """
    drawn = draws(numerators, denominators, groups, seed=seed)
    return None if drawn is None else middle(drawn)


def draws(
    numerators: Sequence[float] | Array,
    denominators: Sequence[float] | Array,
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
) -> Array | None:
    """Return the ratio of sums in each of 2,000 bootstrap samples of groups, None if there are fewer than two groups.

    Where a sample has nothing in the denominator, the ratio is not a number.
    """
    above, below = _sums(numerators, groups), _sums(denominators, groups)
    if len(above) < 2:
        return None
    with warnings.catch_warnings():
        # Draws that are not numbers are dealt with in `middle`.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        drawn: Array = bootstrap(
            (above, below),
            _ratio,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=200,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    return drawn


def middle(drawn: Array) -> Interval | None:
    """Return the ends of the middle 95 % of draws, None if too many of them are not numbers."""
    known = drawn[np.isfinite(drawn)]
    if len(known) < 0.975 * len(drawn):
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def difference(
    ours: Sequence[float], theirs: Sequence[float], groups: Sequence[Hashable], *, seed: int = 0
) -> Difference:
    """Return how ``ours`` compares with ``theirs``, question by question.

    Args:
        ours: A measure of one system, one value per question; more is better.
        theirs: The same of the other, on the same questions in the same order.
        groups: What each question belongs to: its document.
        seed: Of the draws.

    Raises:
        ValueError: If there are no questions, or not the same number of values on both sides.
    """
    if not len(ours) == len(theirs) == len(groups) or not groups:
        raise ValueError(
            f"a paired difference needs one value of each side per question, got {len(ours)}, {len(theirs)} and "
            f"{len(groups)} groups"
        )
    apart = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    return Difference(
        mean=float(apart.mean()),
        interval=ratio_interval(apart, np.ones(len(apart)), groups, seed=seed),
        p=_p_value(_sums(apart, groups), seed=seed),
        won=float((apart > 0).mean()),
        tied=float((apart == 0).mean()),
        lost=float((apart < 0).mean()),
        n=len(apart),
    )


def _p_value(sums: Array, *, seed: int) -> float | None:
    if len(sums) < 2:
        return None
    if not sums.any():
        return 1.0
    # One sample, sign flipped: swapping the systems in a document changes the sign of its sum of differences.
    return float(
        permutation_test(
            (sums,),
            _total,
            permutation_type="samples",
            vectorized=True,
            n_resamples=PERMUTATIONS,
            batch=1000,
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def _sums(values: Sequence[float] | Array, groups: Sequence[Hashable]) -> Array:
    """Return the sum of the values of each group, in the order in which the groups first come."""
    places: dict[Hashable, int] = {}
    where = [places.setdefault(group, len(places)) for group in groups]
    return np.bincount(where, weights=np.asarray(values, dtype=float), minlength=len(places)).astype(np.float64)


def _ratio(above: Array, below: Array, axis: int = -1) -> Any:
    total = below.sum(axis=axis)
    return np.divide(above.sum(axis=axis), total, out=np.full_like(total, np.nan), where=total != 0)


def _total(sums: Array, axis: int = -1) -> Any:
    return sums.sum(axis=axis)
