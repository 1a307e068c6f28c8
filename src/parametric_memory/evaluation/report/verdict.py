"""Where RAG wins and where atoms do: a paragraph that is composed from the figures, so that it cannot flatter.

On a set and by a measure, RAG wins if any of its arms is clearly better than the system, and the system wins only if it
is clearly better than all of them. Clearly: the 95 % interval of the paired difference leaves out zero, and p < .05.
Results that were kept without paired differences are compared by their own intervals, which must not overlap: that
finds fewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parametric_memory.evaluation.report.figures import MEASURES, clear
from parametric_memory.evaluation.report.legend import in_order, is_rag
from parametric_memory.evaluation.report.tables import NAMES, between, number, ours


@dataclass(frozen=True, slots=True)
class Comparison:
    """A system beside one RAG arm, on one set and by one measure; ``mean`` is the system's advantage.

    ``clear`` is 1 if the system is surely better, -1 if surely worse, 0 if that is not known.
    """

    dataset: str
    measure: str
    system: str
    arm: str
    mean: float
    interval: tuple[float, float] | None
    clear: int

    def __str__(self) -> str:
        return f"`{self.dataset}` {between(self.mean, self.interval, sign=True)} against `{self.arm}`"


def comparisons(datasets: Mapping[str, Mapping[str, Any]], system: str) -> Iterator[Comparison]:
    """Yield a system beside every RAG arm, on every set and by every measure."""
    for name, dataset in datasets.items():
        if system not in dataset["systems"]:
            continue
        for measure in MEASURES:
            for arm in in_order(filter(is_rag, dataset["systems"])):
                found = _compared(dataset["systems"][system], dataset["systems"][arm], arm, measure)
                if found:
                    yield Comparison(name, measure, system, arm, *found)


def _compared(
    one: Mapping[str, Any], other: Mapping[str, Any], arm: str, measure: str
) -> tuple[float, tuple[float, float] | None, int] | None:
    paired = one.get("against", {}).get(arm, {}).get(measure)
    if paired:
        ends = paired["interval"]
        return paired["mean"], tuple(ends) if ends else None, clear(paired)
    if one.get(measure) is None or other.get(measure) is None:
        return None
    mine, theirs = (of.get("intervals", {}).get(measure) for of in (one, other))
    known = bool(mine and theirs)
    return one[measure] - other[measure], None, int(mine[0] > theirs[1]) - int(theirs[0] > mine[1]) if known else 0


def decisive(compared: Sequence[Comparison]) -> list[Comparison]:
    """Return one comparison per set and measure: with the RAG arm that does best against the system."""
    by_place: dict[tuple[str, str], list[Comparison]] = {}
    for one in compared:
        by_place.setdefault((one.dataset, one.measure), []).append(one)
    return [min(arms, key=lambda one: (one.clear, one.mean)) for arms in by_place.values()]


def verdict(results: Mapping[str, Any]) -> str:
    """Return Markdown: where RAG wins today, where each of our systems does, and what both cost."""
    datasets = results["datasets"]
    names = dict.fromkeys(name for dataset in datasets.values() for name in dataset["systems"])
    parts = []
    for system in ours(names):
        found = decisive(list(comparisons(datasets, system)))
        if found:
            parts += [_paragraphs(system, found), _costs(system, datasets)]
    styled = "rag_reader" in names or not any(map(is_rag, names))
    return "\n\n".join(part for part in (*parts, "" if styled or not parts else _STYLE) if part)


_STYLE = (
    "No RAG arm of these runs was tuned to answer in the style of the right answers (`rag_reader` is). The base model "
    "answers in whole sentences when it reads: part of any lead over it in token F1, EM and log-likelihood is style, "
    "not knowledge. Whether the right words are there at all is what *contains* says."
)


def _paragraphs(system: str, found: Sequence[Comparison]) -> str:
    lost, won, open_ = ([one for one in found if one.clear == sign] for sign in (-1, 1, 0))
    paired = any(one.interval for one in found)
    how = "paired difference's interval leaves out zero and p < .05" if paired else "intervals do not overlap"
    count = f"of {len(found)} comparisons (sets × measures; clearly: the {how})"
    lines = [
        f"**Where RAG wins today against `{system}`**: clearly in {len(lost)} {count}." + _list(lost),
        f"**Where `{system}` wins**: clearly better than every RAG arm in {len(won)}." + _list(won),
    ]
    if open_:
        lines.append(f"**Undecided**: {len(open_)}." + _list(open_))
    return "\n\n".join(lines)


def _list(found: Sequence[Comparison]) -> str:
    """Return a Markdown list by measure, the largest difference first."""
    by_measure: dict[str, list[Comparison]] = {}
    for one in sorted(found, key=lambda one: (MEASURES.index(one.measure), -abs(one.mean), one.dataset)):
        by_measure.setdefault(one.measure, []).append(one)
    lines = [f"- {NAMES[measure]}: {'; '.join(map(str, several))}" for measure, several in by_measure.items()]
    return "\n\n" + "\n".join(lines) if lines else ""


def _costs(system: str, datasets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what a system and RAG put into the prompt and take in time, as ranges over sets."""
    tokens, retrieved, times = [], [], []
    for dataset in datasets.values():
        one, rag = dataset["systems"].get(system), dataset["systems"].get(_rag(dataset))
        if one and rag:
            tokens.append(one["knowledge_tokens"])
            retrieved.append(rag["knowledge_tokens"])
            if one.get("p50_ms") and rag.get("p50_ms"):
                times.append(one.get("ms_ratio") or one["p50_ms"] / rag["p50_ms"])
    if not tokens:
        return ""
    line = (
        f"`{system}` puts {_range(tokens, 0)} tokens of knowledge into the prompt, the better plain RAG arm "
        f"{_range(retrieved, 0)}"
    )
    return f"{line}, and takes {_range(times, 2)} times its time." if times else f"{line}."


def _rag(dataset: Mapping[str, Any]) -> str:
    arms = [name for name in dataset["systems"] if is_rag(name)]
    return dataset.get("rag") or max(arms, key=lambda name: dataset["systems"][name]["f1"], default="")


def _range(values: Sequence[float], digits: int) -> str:
    low, high = number(min(values), digits=digits), number(max(values), digits=digits)
    return low if low == high else f"{low}–{high}"
