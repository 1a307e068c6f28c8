"""Answers and times to figures, and figures to a page that people read. Nothing on the page is not in the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from parametric_memory.evaluation.metrics import interval, normalise, refusal

_MEASURES = ("f1", "em", "containment")


def figures(rows: Mapping[str, Sequence[Mapping[str, Any]]], ms: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return the figures of one dataset.

    Args:
        rows: The answers of every system, as in ``answers.jsonl``: all systems to the same questions, in one order.
        ms: Milliseconds of single questions, by system.

    Returns:
        ``questions``, ``answerable`` and ``with_gold`` (questions whose answer stands in one sentence), counted, and
        ``systems`` by name.
    """
    asked = next(iter(rows.values()))
    return {
        "questions": len(asked),
        "answerable": sum(bool(row["answers"]) for row in asked),
        "with_gold": sum(row["gold"] is not None for row in asked),
        "systems": {name: _summary(answers, ms.get(name, ())) for name, answers in rows.items()},
    }


def _summary(rows: Sequence[Mapping[str, Any]], ms: Sequence[float]) -> dict[str, Any]:
    """Return one system's means, with their intervals; None where there is nothing to take a mean of."""
    documents = [row["doc_id"] for row in rows]
    columns = {measure: [row[measure] for row in rows] for measure in _MEASURES}
    refused = [row["abstained"] or not normalise(row["prediction"]) for row in rows]
    return {
        **{measure: fmean(values) for measure, values in columns.items()},
        "n": len(rows),
        "knowledge_tokens": fmean(row["knowledge_tokens"] for row in rows),
        "p50_ms": float(np.percentile(ms, 50)) if ms else None,
        "p95_ms": float(np.percentile(ms, 95)) if ms else None,
        "timed": len(ms),
        "intervals": {measure: interval(values, documents) for measure, values in columns.items()},
        "loglikelihood": _mean([row["loglikelihood"] for row in rows if row["loglikelihood"] is not None]),
        "recall": _mean([float(row["gold"] in row["atoms"]) for row in rows if row["gold"] is not None]),
        "abstained": fmean(row["abstained"] for row in rows),
        "refusal": asdict(refusal(refused, [bool(row["answers"]) for row in rows])),
    }


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def render(results: Mapping[str, Any], *, command: str) -> str:
    """Return results (see `parametric_memory.evaluation.runner.evaluate`) as Markdown."""
    settings = results["settings"]
    lines = [
        "# Evaluation",
        "",
        f"Base model `{settings['base_model']}`, compiler `{settings['compiler']}`, key encoder "
        f"`{settings['key_encoder']}`, seed {settings['seed']}, "
        + ("questions asked of their own document." if settings["setting"] == "own" else "asked of all documents."),
        "",
        f"    {command}",
        "",
    ]
    for name, dataset in results["datasets"].items():
        lines += _section(name, dataset)
    return "\n".join([*lines, _LEGEND])


def _section(name: str, dataset: Mapping[str, Any]) -> list[str]:
    counts = (
        f"{dataset['questions']} questions, {dataset['answerable']} of them answerable, {dataset['with_gold']} from a "
        f"single sentence; {dataset['documents']} documents, {dataset['atoms']} atoms."
    )
    lines = [_line(system, found) for system, found in dataset["systems"].items()]
    return [f"## {name}", "", counts, "", f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|", *lines, ""]


def _line(system: str, found: Mapping[str, Any]) -> str:
    between = found["intervals"]["f1"]
    cells = [
        f"`{system}`",
        _number(found["f1"]) + (f" ({_number(between[0])}–{_number(between[1])})" if between else ""),
        _number(found["em"]),
        _number(found["containment"]),
        _number(found["loglikelihood"], digits=2),
        _number(found["recall"]),
        _number(found["abstained"]),
        _number(found["refusal"]["f1"]),
        _number(found["knowledge_tokens"], digits=0),
        _number(found["p50_ms"], digits=0),
        _number(found["p95_ms"], digits=0),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, *, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


_COLUMNS = (
    "system",
    "F1 (95 %)",
    "EM",
    "containment",
    "log-likelihood",
    "recall",
    "abstained",
    "refusal F1",
    "tokens",
    "p50 ms",
    "p95 ms",
)
_LEGEND = """\
F1, EM and containment: the best over the right answers, after SQuAD's normalisation. A question without an answer is
answered rightly only by abstaining or saying nothing. The interval is of a bootstrap over documents.

Log-likelihood: nats per token of the first right answer, where the system did not abstain. Recall: of the questions
that a single sentence answers, the share for which that sentence was used. Refusal F1: how well abstaining tells
unanswerable questions apart. Tokens: retrieved text in the prompt, on average. Times: questions asked one at a time,
the systems in turn; compare them within this table only.
"""
