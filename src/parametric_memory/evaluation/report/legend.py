"""What pages and plots call the systems, what they say of them, and how they draw them.

Names that nobody knows here are welcome: they get a colour of their own, which depends on nothing but the name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from parametric_memory.evaluation.systems import DESCRIPTIONS, UNSEARCHED
from parametric_memory.evaluation.systems.distilled import DISTILLED

#: What a system answers from: nothing, text that it is given, text that it finds, weights, both; or it must fail.
Family: TypeAlias = Literal["nothing", "text", "rag", "weights", "both", "control", "other"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One system in a legend: what it answers from, in a line, and its colour and marker in every plot."""

    family: Family
    description: str
    colour: str
    marker: str


# Mid-tones: they are told apart on white and on black, and by people who see no red or no green.
_GREY, _BLUE, _ORANGE, _GREEN, _PINK, _VIOLET = "#868686", "#3f8ed6", "#d87f00", "#0f9d72", "#c0569f", "#8a72d8"
_TEAL = "#2aa5a5"
_OTHERS = ("#a08a00", "#c4574a", "#7d6a5a", "#6d8f3c")

#: Systems that have no description here are described where they are defined: in `DESCRIPTIONS`, which also wins.
KNOWN: dict[str, Entry] = {
    "closed_book": Entry("nothing", "", _GREY, "o"),
    "in_context": Entry("text", "", _BLUE, "o"),
    "in_context_document": Entry("text", "", _BLUE, "s"),
    "in_context_few": Entry("text", "", _BLUE, "^"),
    "reader": Entry("text", "", _BLUE, "D"),
    "reader_document": Entry("text", "", _BLUE, "P"),
    "rag_bm25": Entry("rag", "", _ORANGE, "o"),
    "rag_dense": Entry("rag", "", _ORANGE, "s"),
    "rag_dense_64": Entry("rag", "", _ORANGE, "^"),
    "rag_reader": Entry("rag", "", _ORANGE, "D"),
    "atoms": Entry("weights", "", _GREEN, "o"),
    "atoms_or_base": Entry("weights", "", _GREEN, "D"),
    "atoms_oracle": Entry("weights", "", _GREEN, "s"),
    "atoms_among": Entry("weights", "", _GREEN, "^"),
    "extract": Entry("other", "", _TEAL, "^"),
    "extract_oracle": Entry("other", "", _TEAL, "D"),
    "hybrid": Entry("both", "", _PINK, "o"),
    "hybrid_unsure": Entry("both", "", _PINK, "s"),
    "document": Entry("weights", "", _TEAL, "o"),
    "document_whole": Entry("weights", "", _TEAL, "s"),
    "refined": Entry("weights", "", _VIOLET, "^"),
    "distillation": Entry("weights", "", _VIOLET, "o"),
    "distillation_oracle": Entry("weights", "", _VIOLET, "s"),
    "shuffled_atoms": Entry("control", "adapters of other atoms: must be no better than closed book", _GREY, "X"),
    "foreign_document": Entry("control", "adapters of another document: must be no better", _GREY, "P"),
}


def entry(name: str) -> Entry:
    """Return how a system is shown, also one that is not known."""
    if name in KNOWN:
        return replace(KNOWN[name], description=DESCRIPTIONS.get(name, KNOWN[name].description))
    family: Family = "rag" if is_rag(name) else "other"
    return Entry(family, DESCRIPTIONS.get(name, ""), _OTHERS[zlib.crc32(name.encode()) % len(_OTHERS)], "v")


def is_rag(name: str) -> bool:
    """Return whether a system finds passages and puts them into the prompt."""
    return name.startswith("rag_")


def is_given(name: str) -> bool:
    """Return whether a system is handed the gold sentence, or the test question: a bound, not a rival."""
    return name in DISTILLED or (name in UNSEARCHED and name != "closed_book")


def in_order(names: Iterable[str]) -> list[str]:
    """Return names in the order of every table and plot: the known ones as they stand here, then the others."""
    places = {name: place for place, name in enumerate(KNOWN)}
    return sorted(dict.fromkeys(names), key=lambda name: places.get(name, len(places)))


def legend(names: Iterable[str]) -> str:
    """Return a Markdown list of what the systems are; those without a description are left out."""
    lines = [f"- `{name}`: {entry(name).description}" for name in in_order(names) if entry(name).description]
    return "\n".join(lines)
