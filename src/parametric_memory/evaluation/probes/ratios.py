"""Two arms on the same questions: the ratio and the difference of their means, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from parametric_memory.evaluation.statistics import RESAMPLES, interval


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure and its 95 % interval; None where it cannot be said."""

    value: float | None
    interval: tuple[float, float] | None


def ratio(changed: Sequence[float], plain: Sequence[float], groups: Sequence[Hashable], *, seed: int = 0) -> Compared:
    """Return mean(changed) ÷ mean(plain).

    Args:
        changed: One value per question.
        plain: The same questions' values without the change.
        groups: What each question belongs to; groups are drawn, not questions.
        seed: Of the draws.

    Returns:
        No value if the plain mean is 0, no interval if there are fewer than two groups. Draws whose plain mean is 0 do
        not count.
    """
    if not plain or not any(plain):
        return Compared(None, None)
    value = fmean(changed) / fmean(plain)
    names = list(dict.fromkeys(groups))
    if len(names) < 2:
        return Compared(value, None)
    number = {name: place for place, name in enumerate(names)}
    sums = np.zeros((2, len(names)))
    for row, values in enumerate((changed, plain)):
        np.add.at(sums[row], [number[group] for group in groups], values)
    drawn = np.random.default_rng(seed).integers(len(names), size=(RESAMPLES, len(names)))
    above, below = sums[0][drawn].sum(axis=1), sums[1][drawn].sum(axis=1)
    ratios = above[below > 0.0] / below[below > 0.0]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Compared(value, (float(low), float(high)))


def difference(
    changed: Sequence[float | None], plain: Sequence[float | None], groups: Sequence[Hashable], *, seed: int = 0
) -> Compared:
    """Return the mean of changed − plain, over the questions that have both."""
    pairs = [
        (one - other, group)
        for one, other, group in zip(changed, plain, groups, strict=True)
        if one is not None and other is not None
    ]
    if not pairs:
        return Compared(None, None)
    values, kept = [value for value, _ in pairs], [group for _, group in pairs]
    return Compared(fmean(values), interval(values, kept, seed=seed))
