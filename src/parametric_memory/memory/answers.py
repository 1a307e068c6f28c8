"""How answers are put together: citations, timings, and an answer that is still being written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from parametric_memory.types import Answer, Citation, ComposedAdapter, Conversation, Document, Route, RoutedAtom

Mode: TypeAlias = Literal["atoms", "hybrid", "in_context", "closed_book"]
MODES: tuple[Mode, ...] = ("atoms", "hybrid", "in_context", "closed_book")


class Stopwatch:
    """Milliseconds by stage, in the order in which stages were entered; a stage entered twice adds up."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + (time.perf_counter() - began) * 1000


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer before the base model has spoken.

    ``answer`` lacks its text and the tokens of the base model, ``conversation`` is what would be read, and ``adapter``
    is what would be injected meanwhile (None for the bare base model).
    """

    answer: Answer
    conversation: Conversation
    adapter: ComposedAdapter | None


class AnswerStream:
    """An answer while it is written: iterate over its pieces; `answer` holds the whole afterwards.

    The route and its citations are known from the start.
    """

    def __init__(self, pieces: Iterator[str], answer: Answer) -> None:
        self._pieces, self._answer = pieces, answer
        self._text: list[str] = []

    @property
    def route(self) -> Route:
        """Which atoms the answer stands on."""
        return self._answer.route

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Where these atoms were read."""
        return self._answer.citations

    @property
    def answer(self) -> Answer:
        """The answer as far as it is written."""
        return replace(self._answer, text="".join(self._text).strip())

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            self._text.append(piece)
            yield piece


def citation(atom: RoutedAtom, document: Document) -> Citation:
    """Return where an atom was read: its span, and the characters there."""
    span = atom.atom.span
    return Citation(atom.atom.id, document.id, document.source, span, span.of(document.text))


def best_first(route: Route, limit: int) -> Sequence[RoutedAtom]:
    """Return the best atoms of a route, taken or not: what a retriever without a gate would have returned."""
    everything = [*route.selected, *route.rejected]
    return sorted(everything, key=lambda atom: (-atom.score, atom.atom.id))[:limit]
