"""Stated against measured: a threshold that was calibrated on one set, put to the questions of another.

A guarantee of calibration holds for questions drawn as those that it was made from. How far it carries beyond them is
an empirical question, and this is its answer. Within one set, halves of its documents calibrate and measure each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from parametric_memory.evaluation.report.figures import Row, Rows
from parametric_memory.evaluation.report.legend import in_order
from parametric_memory.evaluation.statistics import Interval, ratio_interval
from parametric_memory.routing.calibration import Calibration, first_half, questions_needed

RATES = (0.05, 0.1, 0.2)


def stated(rows: Mapping[str, Rows], *, rates: Sequence[float] = RATES) -> list[dict[str, Any]]:
    """Return what error rates that were stated on one set come to on the others.

    Args:
        rows: The answers by dataset, then by system. One system is looked at: the first that says how sure it is.
        rates: Of the unanswerable questions, the shares that are to be taken on at most.

    Returns:
        One record per set calibrated on, set measured on, and rate that there are enough questions for: ``threshold``
        (None within a set, where each half has its own), ``error`` and ``coverage`` (of the unanswerable and the
        answerable questions, those taken on; None if there are none), each with an ``…_interval`` of 95 % over
        documents, and ``unanswerable``, the questions that the error is counted over.
    """
    found: list[dict[str, Any]] = []
    system = next((name for name in in_order(_systems(rows)) if any(_sure(rows, name).values())), None)
    known = {dataset: sure for dataset, sure in _sure(rows, system or "").items() if sure}
    for (one, ours), (other, theirs), rate in product(known.items(), known.items(), rates):
        halves = _halves(ours) if one == other else [(ours, theirs)]
        thresholds = [_threshold(calibrating, rate) for calibrating, _ in halves]
        if None in thresholds:
            continue
        measured = [
            (row, row["confidence"] >= threshold)
            for (_, asked), threshold in zip(halves, thresholds, strict=True)
            for row in asked
        ]
        found.append(
            {"system": system, "calibrated_on": one, "measured_on": other, "rate": rate}
            | {"threshold": thresholds[0] if len(halves) == 1 else None}
            | _shares(measured)
        )
    return found


def _systems(rows: Mapping[str, Rows]) -> list[str]:
    return [name for systems in rows.values() for name in systems]


def _sure(rows: Mapping[str, Rows], system: str) -> dict[str, list[Row]]:
    """Return by dataset the rows of a system in which it says how sure it is."""
    return {
        dataset: [row for row in systems.get(system, ()) if row.get("confidence") is not None]
        for dataset, systems in rows.items()
    }


def _halves(rows: Sequence[Row]) -> list[tuple[list[Row], list[Row]]]:
    """Return two halves of the documents: each to calibrate with, and the other to measure."""
    first = first_half(row["doc_id"] for row in rows)
    one, other = ([row for row in rows if (row["doc_id"] in first) == side] for side in (True, False))
    return [(one, other), (other, one)]


def _threshold(rows: Sequence[Row], rate: float) -> float | None:
    """Return the threshold that keeps a rate; None if there are too few unanswerable questions for it."""
    if sum(not row["answers"] for row in rows) < questions_needed(rate):
        return None
    return Calibration.of([row["confidence"] for row in rows], [bool(row["answers"]) for row in rows]).threshold(rate)


def _shares(measured: Sequence[tuple[Row, bool]]) -> dict[str, Any]:
    error, coverage = (
        [(taken, row["doc_id"]) for row, taken in measured if bool(row["answers"]) == side] for side in (False, True)
    )
    return {
        "error": _mean(error),
        "error_interval": _interval(error),
        "coverage": _mean(coverage),
        "coverage_interval": _interval(coverage),
        "unanswerable": len(error),
    }


def _mean(taken: Sequence[tuple[bool, Any]]) -> float | None:
    return sum(one for one, _ in taken) / len(taken) if taken else None


def _interval(taken: Sequence[tuple[bool, Any]]) -> Interval | None:
    if not taken:
        return None
    return ratio_interval([float(one) for one, _ in taken], np.ones(len(taken)), [document for _, document in taken])
