"""Rows of answers and times to figures: a pure function, so that a report can be made anew without any model.

Rows are those of ``answers.jsonl``. Figures are plain JSON: ``results.json`` holds them as they are. Systems are
compared on the questions that both of them were asked, paired by the question's id, whatever else either was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict
from itertools import repeat
from statistics import fmean, geometric_mean
from typing import Any, TypeAlias

import numpy as np

from parametric_memory.evaluation.metrics import KS, recall_at, refusal, refusal_curve, refuses, score
from parametric_memory.evaluation.report.legend import is_given, is_rag
from parametric_memory.evaluation.statistics import (
    Array,
    Interval,
    difference,
    draws,
    interval,
    middle,
    ratio_interval,
)

Row: TypeAlias = Mapping[str, Any]
#: The answers of every system, by its name.
Rows: TypeAlias = Mapping[str, Sequence[Row]]

SCORES = ("f1", "em", "containment")
#: What systems are compared by.
MEASURES = (*SCORES, "loglikelihood")
#: The arms of which the better one stands for RAG where only one can.
PLAIN_RAG = ("rag_bm25", "rag_dense")
#: Ratios of mean token F1: ours to reading the same sentence, in the base's own style and in that of the answers; what
#: neighbours cost, and what a perfect router would add.
RATIOS = (
    ("atoms", "in_context"),
    ("atoms_oracle", "in_context"),
    ("atoms_oracle", "in_context_few"),
    ("atoms_oracle", "reader"),
    ("atoms_among", "atoms_oracle"),
    ("hybrid", "in_context"),
    ("atoms_oracle", "atoms"),
)
#: Where buckets of document lengths begin, in the row's unit.
LENGTHS: dict[str, tuple[int, ...]] = {"document_tokens": (0, 128, 256, 512, 1024, 2048, 4096, 8192)}
LENGTHS["document_chars"] = tuple(4 * start for start in LENGTHS["document_tokens"])


def figures(rows: Rows, ms: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return the figures of one dataset.

    Args:
        rows: The answers of every system, as in ``answers.jsonl``.
        ms: Milliseconds of single questions, by system; all systems timed on the same questions, in turn.

    Returns:
        ``questions``, ``answerable`` and ``with_gold`` (questions whose answer stands in one sentence), counted;
        ``rag``, the better of the plain RAG arms, None if there is none; ``ratios`` of mean F1; and ``systems`` by
        name, each with its means, their ``intervals``, and its differences ``against`` every RAG arm.
    """
    rows = taken(rows)
    asked = {row["id"]: row for answers in rows.values() for row in answers}
    rag = better_rag(rows)
    systems = {name: _summary(answers, ms.get(name, ())) for name, answers in rows.items()}
    for name, found in systems.items():
        found["against"] = {
            other: compare(rows[name], rows[other]) for other in rows if is_rag(other) and other != name
        }
        found["ms_ratio"] = _ms_ratio(ms.get(name, ()), ms.get(rag or "", ()))
    return {
        "questions": len(asked),
        "answerable": sum(bool(row["answers"]) for row in asked.values()),
        "with_gold": sum(row["gold"] is not None for row in asked.values()),
        "rag": rag,
        "ratios": {
            f"{ours}/{theirs}": ratio(rows[ours], rows[theirs])
            for ours, theirs in RATIOS
            if ours in rows and theirs in rows
        },
        "systems": systems,
    }


def taken(rows: Rows) -> Rows:
    """Return rows as figures take them: sorted by question, and scored anew where nothing is the right answer.

    The last digits of an interval depend on the order of the documents; and what counts as a refusal must not depend on
    when a row was written.
    """
    return {name: sorted(map(_scored, answers), key=lambda row: str(row["id"])) for name, answers in rows.items()}


def _scored(row: Row) -> Row:
    if row["answers"]:
        return row
    return {**row, **asdict(score("" if row["abstained"] else row["prediction"], ()))}


def better_rag(rows: Rows) -> str | None:
    """Return the plain RAG arm with the higher mean F1. Chosen on these very answers: the doubt is RAG's."""
    arms = [name for name in PLAIN_RAG if rows.get(name)]
    return max(arms, key=lambda name: fmean(row["f1"] for row in rows[name]), default=None)


def compare(ours: Sequence[Row], theirs: Sequence[Row]) -> dict[str, Any]:
    """Return the paired differences of two systems by measure, each as `Difference`; without those of no question."""
    found = {}
    for measure in MEASURES:
        pairs = _pairs(ours, theirs, measure)
        if pairs:
            mine, others, documents = zip(*pairs, strict=True)
            found[measure] = asdict(difference(mine, others, documents))
    return found


def ratio(ours: Sequence[Row], theirs: Sequence[Row]) -> dict[str, Any]:
    """Return the ratio of the mean F1 of two systems on the questions that both were asked, with its interval."""
    mine, others, documents = zip(*_pairs(ours, theirs, "f1") or [(0.0, 0.0, "")], strict=True)
    below = sum(others)
    return {
        "value": sum(mine) / below if below else None,
        "interval": ratio_interval(mine, others, documents) if below else None,
        "n": len(mine),
    }


def _pairs(ours: Sequence[Row], theirs: Sequence[Row], measure: str) -> list[tuple[float, float, Hashable]]:
    others = {row["id"]: row for row in theirs}
    both = [(row, others[row["id"]]) for row in ours if row["id"] in others]
    return [
        (one[measure], other[measure], one["doc_id"])
        for one, other in both
        if one[measure] is not None and other[measure] is not None
    ]


# ---------------------------------------------------------------- one system


def _summary(rows: Sequence[Row], ms: Sequence[float]) -> dict[str, Any]:
    """Return one system's means, with their intervals; None where there is nothing to take a mean of."""
    refused = [_refused(row) for row in rows]
    answerable = [bool(row["answers"]) for row in rows]
    return {
        **{measure: fmean(row[measure] for row in rows) for measure in SCORES},
        "n": len(rows),
        "knowledge_tokens": fmean(row["knowledge_tokens"] for row in rows),
        "p50_ms": float(np.percentile(ms, 50)) if ms else None,
        "p95_ms": float(np.percentile(ms, 95)) if ms else None,
        "timed": len(ms),
        "intervals": {measure: _interval(rows, measure) for measure in MEASURES},
        "loglikelihood": _mean([row["loglikelihood"] for row in rows if row["loglikelihood"] is not None]),
        "recall": _mean([float(row["gold"] in row["atoms"]) for row in rows if row["gold"] is not None]),
        "recall_at": _recall_at(rows),
        "abstained": fmean(row["abstained"] for row in rows),
        "refusal": asdict(refusal(refused, answerable)) | {"intervals": _refusal_intervals(rows, refused, answerable)},
        "refusal_curve": _curve(rows, answerable),
        "by_length": _by_length(rows),
    }


def _refused(row: Row) -> bool:
    # "Unknown" can be what a document says: a right answer refuses nothing.
    right = bool(row["answers"] and row["em"])
    return bool(row["abstained"] or (refuses(row["prediction"]) and not right))


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _interval(rows: Sequence[Row], measure: str) -> Interval | None:
    known = [row for row in rows if row[measure] is not None]
    return interval([row[measure] for row in known], [row["doc_id"] for row in known]) if known else None


def _recall_at(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return recall and interval by k, of questions with a gold sentence; None of a system that does not retrieve."""
    if not any(row.get("looked") for row in rows):
        return None
    golden = [row for row in rows if row["gold"] is not None]
    if not golden:
        return None
    ranks, documents = [row.get("gold_rank") for row in golden], [row["doc_id"] for row in golden]
    found = recall_at(ranks)
    return {
        str(k): {
            "value": found[k],
            "interval": interval([float(rank is not None and rank <= k) for rank in ranks], documents),
        }
        for k in KS
    }


def _refusal_intervals(rows: Sequence[Row], refused: Sequence[bool], answerable: Sequence[bool]) -> dict[str, Any]:
    documents = [row["doc_id"] for row in rows]
    said, cannot = np.array(refused, dtype=float), 1 - np.array(answerable, dtype=float)
    if not cannot.any():
        return dict.fromkeys(("precision", "recall", "f1"))
    right = said * cannot
    ratios = {"precision": (right, said), "recall": (right, cannot), "f1": (2 * right, said + cannot)}
    return {name: ratio_interval(*pair, documents) if pair[1].any() else None for name, pair in ratios.items()}


def _curve(rows: Sequence[Row], answerable: Sequence[bool]) -> dict[str, Any] | None:
    """Return what other thresholds would do; None of a system that does not say how sure it is."""
    known = [(row, can) for row, can in zip(rows, answerable, strict=True) if row.get("confidence") is not None]
    if not known:
        return None
    curve = refusal_curve(
        [row["confidence"] for row, _ in known],
        [can for _, can in known],
        [None if row["abstained"] else row["f1"] for row, _ in known],
    )
    return {"auc": curve.auc, "n": len(known), "points": [asdict(point) for point in curve.points]}


def _by_length(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return F1 by the length of the document, in tokens if rows say them, else in characters; None if in neither."""
    unit = next((unit for unit in LENGTHS if all(row.get(unit) is not None for row in rows)), None)
    if unit is None:
        return None
    starts = LENGTHS[unit]
    buckets: dict[int, list[Row]] = {}
    for row in rows:
        buckets.setdefault(max(start for start in starts if start <= row[unit]), []).append(row)
    return {
        "unit": unit.removeprefix("document_"),
        "buckets": [
            {
                "from": start,
                "f1": fmean(row["f1"] for row in buckets[start]),
                "interval": _interval(buckets[start], "f1"),
                "n": len(buckets[start]),
            }
            for start in sorted(buckets)
        ],
    }


def _ms_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return the median over questions of our time ÷ theirs; None if they were not timed on the same questions."""
    if not ours or len(ours) != len(theirs):
        return None
    return float(np.median(np.asarray(ours) / np.asarray(theirs)))


# ---------------------------------------------------------------- all datasets


def overall(rows: Mapping[str, Rows], datasets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures over all datasets: means of means, so that a large set weighs as much as a small one.

    Args:
        rows: The answers by dataset, then by system.
        datasets: The `figures` of each.

    Returns:
        ``sets``, counted; ``rag``, the plain RAG arm with the highest mean of F1; and ``systems`` by name: means over
        the ``sets`` that the system was asked, with ``intervals``; ``wins``, the sets in which no other system that is
        not handed the gold sentence has a higher F1; ``ms_ratio``, the geometric mean over sets; and differences
        ``against`` every RAG arm, and against ``rag``, the better one of each set.
    """
    rows = {dataset: taken(systems) for dataset, systems in rows.items()}
    names = dict.fromkeys(name for systems in rows.values() for name in systems)
    systems = {name: _across(name, rows, datasets) for name in names}
    arms = [name for name in PLAIN_RAG if name in systems]
    return {
        "sets": len(rows),
        "rag": max(arms, key=lambda name: systems[name]["f1"], default=None),
        "systems": systems,
    }


def _across(name: str, rows: Mapping[str, Rows], datasets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    here = [dataset for dataset in rows if name in rows[dataset]]
    found = {dataset: datasets[dataset]["systems"][name] for dataset in here}
    arms = dict.fromkeys(arm for dataset in here for arm in found[dataset]["against"])
    against = {arm: _across_against(name, rows, datasets, {}.fromkeys(rows, arm).get) for arm in arms}
    better = _across_against(name, rows, datasets, lambda dataset: datasets[dataset]["rag"])
    ratios = [one["ms_ratio"] for one in found.values() if one["ms_ratio"]]
    return {
        "sets": len(here),
        **{measure: fmean(one[measure] for one in found.values()) for measure in SCORES},
        "knowledge_tokens": fmean(one["knowledge_tokens"] for one in found.values()),
        "intervals": {
            measure: _macro_interval([_columns(rows[dataset][name], measure) for dataset in here]) for measure in SCORES
        },
        "wins": None if is_given(name) else sum(map(_best, (datasets[dataset] for dataset in here), repeat(name))),
        "ms_ratio": geometric_mean(ratios) if ratios else None,
        "against": against | ({"rag": better} if better else {}),
    }


def _best(dataset: Mapping[str, Any], name: str) -> bool:
    f1 = dataset["systems"][name]["f1"]
    return all(f1 >= other["f1"] for rival, other in dataset["systems"].items() if not is_given(rival))


def _across_against(
    name: str,
    rows: Mapping[str, Rows],
    datasets: Mapping[str, Mapping[str, Any]],
    arm_of: Callable[[str], str | None],
) -> dict[str, Any]:
    """Return the mean over sets of the differences from an arm, by measure, and in how many sets they are clear."""
    found = {}
    for measure in SCORES:
        compared, columns = [], []
        for dataset in rows:
            arm = arm_of(dataset) or ""
            against = datasets[dataset]["systems"].get(name, {}).get("against", {}).get(arm, {})
            if measure in against:
                compared.append(against[measure])
                pairs = _pairs(rows[dataset][name], rows[dataset][arm], measure)
                columns.append(([ours - theirs for ours, theirs, _ in pairs], [document for *_, document in pairs]))
        if compared:
            found[measure] = {
                "mean": fmean(one["mean"] for one in compared),
                "interval": _macro_interval(columns),
                "better": sum(clear(one) > 0 for one in compared),
                "worse": sum(clear(one) < 0 for one in compared),
                "sets": len(compared),
            }
    return found


def clear(compared: Mapping[str, Any]) -> int:
    """Return 1 if a difference is surely above nothing, -1 if surely below, else 0.

    Surely: its interval leaves out zero, and its p-value, where it has one, is below .05. With few documents the
    interval alone promises too much.
    """
    ends, p = compared.get("interval"), compared.get("p")
    if ends is None or (p is not None and p >= 0.05):
        return 0
    return int(ends[0] > 0) - int(ends[1] < 0)


def _columns(rows: Sequence[Row], measure: str) -> tuple[list[float], list[Hashable]]:
    return [row[measure] for row in rows], [row["doc_id"] for row in rows]


def _macro_interval(columns: Sequence[tuple[Sequence[float], Sequence[Hashable]]]) -> Interval | None:
    """Return the interval of a mean over sets, documents drawn within each set; None if a set has only one document."""
    drawn: list[Array] = []
    for seed, (values, documents) in enumerate(columns):
        one = draws(values, np.ones(len(values)), documents, seed=seed)
        if one is None:
            return None
        drawn.append(one)
    return middle(np.mean(drawn, axis=0)) if drawn else None
