"""Figures of others beside ours, with what is and what is not comparable.

Theirs come from a data file (``published.json`` beside the benchmarks page: sources, figures, and which of our figures
stands beside each), ours from results. Nothing of ours is shown where it was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parametric_memory.evaluation.report.tables import NOTHING, number, table

Datasets = Mapping[str, Mapping[str, Any]]
#: Arms that read, the fairest first: one whose style is that of the answers, then the one that has the document.
_READING = ("reader_document", "reader", "in_context_document", "in_context")


def published_section(theirs: Mapping[str, Any], results: Mapping[str, Any], *, bytes_per_token: float | None) -> str:
    """Return Markdown: two tables, the sources, and the two lists of what may be compared."""
    datasets = results["datasets"]
    reading = reading_arm(datasets)
    line = (
        f"{_link(theirs, theirs['sets']['source'])}, {theirs['sets']['what']}; beside it ours, `atoms` and "
        f"`atoms_oracle`, with `{reading}` in brackets:"
    )
    parts = [
        line,
        _sets(theirs["sets"]["rows"], datasets, reading),
        "Other figures:",
        _others(theirs, datasets, bytes_per_token),
        "What may be compared:",
        _list(theirs["comparable"]),
        "What may not:",
        _list(theirs["not_comparable"]),
    ]
    return "\n\n".join(parts)


def reading_arm(datasets: Datasets) -> str:
    """Return the arm that stands for reading: the fairest one that was measured."""
    measured = {name for dataset in datasets.values() for name in dataset["systems"]}
    return next((name for name in _READING if name in measured), _READING[-1])


def _sets(rows: Sequence[Mapping[str, Any]], datasets: Datasets, arm: str) -> str:
    head = ("set", "theirs", "÷ in-context", "our set", "`atoms`", "÷ in-context", "`atoms_oracle`", "÷ in-context")
    shown = []
    for row in rows:
        systems = datasets.get(row["ours"] or "", {}).get("systems", {})
        reading = systems.get(arm, {}).get("f1")
        cells = [row["set"], f"{number(row['theirs'])} ({number(row['in_context'])})"]
        cells += [number(row["theirs"] / row["in_context"]), f"`{row['ours']}`" if systems else NOTHING]
        for name in ("atoms", "atoms_oracle"):
            f1 = systems.get(name, {}).get("f1")
            known = f1 is not None and reading is not None
            cells += [f"{number(f1)} ({number(reading)})" if known else number(f1)]
            cells += [number(f1 / reading) if known and reading else NOTHING]
        shown.append(cells)
    return table(head, shown)


def _others(theirs: Mapping[str, Any], datasets: Datasets, bytes_per_token: float | None) -> str:
    ours = {
        "text, weights, both": _three(datasets),
        "refusal": _refusal(datasets),
        "bytes": f"{bytes_per_token:,.0f}, with keys, text and index" if bytes_per_token else NOTHING,
    }
    rows = [
        [_link(theirs, one["source"]), one["what"], one["theirs"], ours.get(one["ours"] or "", NOTHING)]
        for one in theirs["others"]
    ]
    return table(("source", "what", "theirs", "ours"), rows)


def _three(datasets: Datasets) -> str:
    """Return text, weights and both on every set that has them, F1 × 100 as in the paper."""
    found = []
    for name, dataset in datasets.items():
        rag, systems = dataset.get("rag") or "rag_dense", dataset["systems"]
        if {rag, "atoms", "hybrid"} <= set(systems):
            scores = ", ".join(number(100 * systems[one]["f1"], digits=1) for one in (rag, "atoms", "hybrid"))
            found.append(f"`{name}`: {scores}")
    return "; ".join(found) or NOTHING


def _refusal(datasets: Datasets) -> str:
    found = []
    for name, dataset in datasets.items():
        f1 = dataset["systems"].get("atoms", {}).get("refusal", {}).get("f1")
        if f1 is not None:
            found.append(f"`{name}`: {number(f1)}")
    return "; ".join(found) or NOTHING


def _link(theirs: Mapping[str, Any], source: str) -> str:
    return f"[{source}]({theirs['sources'][source]})"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
