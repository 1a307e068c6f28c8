"""A list of measurements as a few numbers: median, quartiles, 95th percentile, and ratios of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, the quartiles and the number of values.

    Raises:
        ValueError: If there are none.
    """
    if not values:
        raise ValueError("summing up measurements: there are none")
    p25, p50, p75, p95 = (float(p) for p in np.percentile(np.asarray(values, np.float64), [25, 50, 75, 95]))
    return {"p50": p50, "p95": p95, "p25": p25, "p75": p75, "n": len(values)}


def by_stage(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the spread of every stage, and of their sum as ``total``; a row without a stage spent nothing on it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    found = {name: spread([row.get(name, 0.0) for row in rows]) for name in names}
    return found | {"total": spread([sum(row.values()) for row in rows])}


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, float]:
    """Return the spread of the ratios of pairs that were measured side by side: what disturbed one disturbed both.

    Raises:
        ValueError: If they do not pair, or a denominator is not positive.
    """
    if min(denominators, default=1.0) <= 0.0:
        raise ValueError(f"taking ratios: a denominator is {min(denominators)}, expected more than 0")
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)])
