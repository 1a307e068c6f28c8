"""Two arms on the same questions: the ratio and the difference of their means, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean

from parametric_memory.evaluation.statistics import Interval, interval, ratio_interval


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure and its 95 % interval; None where it cannot be said."""

    value: float | None
    interval: Interval | None


def ratio(changed: Sequence[float], plain: Sequence[float], groups: Sequence[Hashable], *, seed: int = 0) -> Compared:
    """Return mean(changed) ÷ mean(plain), one value of each per question; no value if the plain mean is 0.

    Args:
        changed: One value per question.
        plain: The same questions' values without the change.
        groups: What each question belongs to; groups are drawn, not questions.
        seed: Of the draws.
    """
    if not any(plain):
        return Compared(None, None)
    return Compared(fmean(changed) / fmean(plain), ratio_interval(changed, plain, groups, seed=seed))


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
