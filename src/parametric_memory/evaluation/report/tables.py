"""Figures as Markdown tables. Nothing stands in one that is not in the figures; a table of nothing is empty text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from parametric_memory.evaluation.metrics import KS
from parametric_memory.evaluation.report.curves import Curve
from parametric_memory.evaluation.report.figures import PLAIN_RAG
from parametric_memory.evaluation.report.legend import in_order

Dataset = Mapping[str, Any]

#: What readers call the measures.
NAMES = {"f1": "token F1", "containment": "contains", "em": "EM", "loglikelihood": "log-likelihood"}
NOTHING = "–"
_NUMBER = re.compile(r"[−+<.\d–]|$")


def number(value: float | None, *, digits: int = 2, sign: bool = False) -> str:
    """Return a number as a cell, a dash for None; a minus is the character that lines up with a plus."""
    if value is None:
        return NOTHING
    rounded = round(value, digits) + 0.0  # + 0.0 so that no zero has a sign
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}".replace("-", "−")


def between(value: float | None, ends: Sequence[float] | None, *, digits: int = 2, sign: bool = False) -> str:
    """Return a number and its interval in brackets, as far as they are known."""
    shown = number(value, digits=digits, sign=sign)
    if value is None or ends is None:
        return shown
    low, high = (number(end, digits=digits, sign=sign) for end in ends)
    return f"{shown} [{low}, {high}]"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table without the columns that say nothing in any row; empty text if no rows are left."""
    lines = [list(row) for row in rows]
    said = [place for place in range(len(head)) if any(row[place] not in {"", NOTHING} for row in lines)]
    if not said:
        return ""
    rule = ["--:" if all(_NUMBER.match(row[place]) for row in lines) else "---" for place in said]
    shown = [[line[place] for place in said] for line in (list(head), *lines)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (shown[0], rule, *shown[1:]))


def main_table(dataset: Dataset) -> str:
    """Return one set's systems with scores, intervals, the difference from the better RAG arm, and costs."""
    rag = dataset.get("rag")
    several = len({found["n"] for found in dataset["systems"].values()}) > 1
    head = (
        "system", "n", "token F1", "contains", "EM", "log-likelihood", f"F1 − `{rag}`", "p", "refusal F1", "tokens",
        "p50 ms", "p95 ms", "× its time",
    )  # fmt: skip
    return table(head, [_main_row(name, dataset, several) for name in in_order(dataset["systems"])])


def _main_row(name: str, dataset: Dataset, several: bool) -> list[str]:
    found, rag = dataset["systems"][name], dataset.get("rag")
    spans = found.get("intervals", {})
    against = found.get("against", {}).get(rag, {}).get("f1", {})
    return [
        f"`{name}`",
        str(found["n"]) if several else "",
        between(found["f1"], spans.get("f1")),
        between(found["containment"], spans.get("containment")),
        between(found["em"], spans.get("em")),
        number(found.get("loglikelihood")),
        between(against.get("mean"), against.get("interval"), sign=True),
        probability(against.get("p")),
        number(found.get("refusal", {}).get("f1")),
        number(found["knowledge_tokens"], digits=0),
        number(found.get("p50_ms"), digits=0),
        number(found.get("p95_ms"), digits=0),
        number(found.get("ms_ratio")),
    ]


def probability(p: float | None) -> str:
    """Return a p-value as a cell."""
    if p is None:
        return NOTHING
    return "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"


def overall_table(overall: Mapping[str, Any]) -> str:
    """Return means over sets, with the difference from the better RAG arm of each set."""
    head = (
        "system", "sets", "token F1", "contains", "EM", "best in", "F1 − RAG", "clearly above / below", "tokens",
        "× RAG's time",
    )  # fmt: skip
    several = len({found["sets"] for found in overall["systems"].values()}) > 1
    return table(head, [_overall_row(name, overall, several) for name in in_order(overall["systems"])])


def _overall_row(name: str, overall: Mapping[str, Any], several: bool) -> list[str]:
    found = overall["systems"][name]
    spans = found["intervals"]
    # The better of two arms is not compared with itself.
    against = {} if name in PLAIN_RAG else found["against"].get("rag", {}).get("f1", {})
    return [
        f"`{name}`",
        str(found["sets"]) if several else "",
        between(found["f1"], spans["f1"]),
        between(found["containment"], spans["containment"]),
        between(found["em"], spans["em"]),
        NOTHING if found["wins"] is None else str(found["wins"]),
        between(against.get("mean"), against.get("interval"), sign=True),
        f"{against['better']} / {against['worse']} of {against['sets']}" if against else NOTHING,
        number(found["knowledge_tokens"], digits=0),
        number(found["ms_ratio"]),
    ]


def against_table(dataset: Dataset, systems: Sequence[str]) -> str:
    """Return the paired differences of systems from every RAG arm, by measure."""
    rows = []
    for name in (name for name in in_order(dataset["systems"]) if name in systems):
        for arm, by_measure in dataset["systems"][name].get("against", {}).items():
            for measure, found in by_measure.items():
                won = " / ".join(number(found[share], digits=2) for share in ("won", "tied", "lost"))
                apart = between(found["mean"], found["interval"], sign=True)
                cells = [NAMES[measure], apart, won, probability(found["p"]), str(found["n"])]
                rows.append([f"`{name}` − `{arm}`", *cells])
    return table(("pair", "measure", "difference", "won / tied / lost", "p", "n"), rows)


def ratios_table(datasets: Mapping[str, Dataset]) -> str:
    """Return the ratios of mean F1 by set."""
    names = list(dict.fromkeys(name for dataset in datasets.values() for name in dataset.get("ratios", ())))
    rows = []
    for name, dataset in datasets.items():
        found = [dataset.get("ratios", {}).get(ratio, {}) for ratio in names]
        rows.append([f"`{name}`", *(between(one.get("value"), one.get("interval")) for one in found)])
    return (
        table(("set", *(" ÷ ".join(f"`{part}`" for part in name.split("/")) for name in names)), rows) if names else ""
    )


def recall_table(datasets: Mapping[str, Dataset]) -> str:
    """Return recall@k of the systems that retrieve, by set."""
    rows = []
    for name, dataset in datasets.items():
        for system in in_order(dataset["systems"]):
            found = dataset["systems"][system].get("recall_at")
            if found:
                cells = [between(found[str(k)]["value"], found[str(k)]["interval"]) for k in KS]
                rows.append([f"`{name}`", f"`{system}`", *cells])
    return table(("set", "system", *(f"recall@{k}" for k in KS)), rows)


def refusal_table(datasets: Mapping[str, Dataset]) -> str:
    """Return how well systems tell what cannot be answered, for the sets that have such questions."""
    rows = []
    for name, dataset in datasets.items():
        if dataset["answerable"] == dataset["questions"]:
            continue
        for system in in_order(dataset["systems"]):
            found = dataset["systems"][system]
            spans = found["refusal"].get("intervals", {})
            scores = [between(found["refusal"][one], spans.get(one)) for one in ("precision", "recall", "f1")]
            auc = (found.get("refusal_curve") or {}).get("auc")
            rows.append([f"`{name}`", f"`{system}`", number(found["abstained"]), *scores, number(auc)])
    return table(("set", "system", "abstained", "precision", "recall", "F1", "area under ROC"), rows)


def stated_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return how error rates that were stated on one set turn out on others (see `report.stated`)."""
    rows = [
        [
            f"`{one['calibrated_on']}`",
            "its other half" if one["calibrated_on"] == one["measured_on"] else f"`{one['measured_on']}`",
            number(one["rate"]),
            between(one["error"], one["error_interval"]),
            between(one["coverage"], one["coverage_interval"]),
            f"{one['unanswerable']:,}",
        ]
        for one in records
    ]
    return table(("calibrated on", "measured on", "stated", "measured error", "coverage", "unanswerable"), rows)


def length_table(unit: str, curves: Mapping[str, Curve]) -> str:
    """Return F1 by system and by where the bucket of lengths begins; empty text if there is only one bucket."""
    starts = sorted({x for curve in curves.values() for x in curve.x})
    if len(starts) < 2:
        return ""
    head = ["system", f"< {starts[1]:,.0f} {unit}", *(f"≥ {start:,.0f}" for start in starts[1:])]
    return table(head, [[f"`{name}`", *(number(curves[name].at(x)) for x in starts)] for name in in_order(curves)])


def set_line(name: str, dataset: Dataset) -> str:
    """Return what a set is, in a line."""
    parts = [f"{dataset['questions']:,} questions"]
    if dataset["answerable"] < dataset["questions"]:
        parts.append(f"{dataset['answerable']:,} of them answerable")
    parts.append(f"{dataset['with_gold']:,} answered by a single sentence")
    held = [f"{dataset[key]:,} {key}" for key in ("documents", "atoms") if dataset.get(key)]
    return f"`{name}`: {', '.join(parts)}{'; ' if held else ''}{', '.join(held)}."


def ours(systems: Iterable[str]) -> list[str]:
    """Return the systems that answer from weights on their own: those that RAG is compared with."""
    return [name for name in in_order(systems) if name in {"atoms", "hybrid", "hybrid_unsure"}]
