"""How answers are put together: citations, timings, and an answer that is still being written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar, get_args

from parametric_memory.config import Fallback, MemoryConfig, Mode
from parametric_memory.errors import AbstainedError, AtomNotFoundError, DocumentNotFoundError, StoreError
from parametric_memory.store import AtomStore
from parametric_memory.types import (
    Answer,
    Candidate,
    Citation,
    ComposedAdapter,
    Conversation,
    Document,
    Route,
    RoutedAtom,
    Usage,
)

Made = TypeVar("Made")

#: How often a route is read, if what it stands on changes every time meanwhile.
_READINGS = 4

FALLBACKS: tuple[Fallback, ...] = get_args(Fallback)
MODES: tuple[Mode, ...] = get_args(Mode)


class Stopwatch:
    """Milliseconds by stage, in the order in which stages were entered; a stage entered twice adds up."""

    def __init__(self, stages: Mapping[str, float] | None = None) -> None:
        self.stages: dict[str, float] = dict(stages or {})

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + (time.perf_counter() - began) * 1000

    def over(self, stage: str, pieces: Iterator[str]) -> Iterator[str]:
        """Yield the pieces; what they take to come is the stage's, what is done with them is not."""
        while True:
            with self(stage):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer before the base model has spoken.

    ``answer`` lacks its text and the tokens of the base model, ``conversation`` is what would be read, and ``adapter``
    is what would be injected meanwhile (None for the bare base model). ``said`` is the text where the base model is not
    to be asked, because the memory abstains and says so.
    """

    answer: Answer
    conversation: Conversation
    adapter: ComposedAdapter | None
    said: str | None = None


class AnswerStream:
    """An answer while it is written: iterate over its pieces; `answer` holds the whole afterwards.

    The route and its citations are known from the start. Its tokens are counted in its text: the one that ends an
    answer is not among them.
    """

    def __init__(self, pieces: Iterator[str], answer: Answer, *, usage: Callable[[str], Usage] | None = None) -> None:
        """Take the pieces, the answer without its text, and what says how many tokens a text took; None: none at all.

        The answer's timings may go on changing while pieces are made.
        """
        self._pieces, self._answer, self._usage = pieces, answer, usage
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
        text = "".join(self._text)
        usage = self._usage(text) if self._usage else self._answer.usage
        return replace(self._answer, text=text.strip(), usage=usage, timings=dict(self._answer.timings))

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            self._text.append(piece)
            yield piece


def undisturbed(store: AtomStore, read: Callable[[], Made], route_of: Callable[[Made], Route]) -> Made:
    """Return what several looks into a store make, as if nobody wrote between them: else it is read again.

    Writes that leave the route's atoms as they were do not count.

    Raises:
        StoreError: If these change again and again.
    """
    for _ in range(_READINGS):
        version = store.version
        try:
            made = read()
            if store.version == version or all(store.get(r.atom.id) == r.atom for r in route_of(made).selected):
                return made
        except (AtomNotFoundError, DocumentNotFoundError):
            # Where nobody wrote, it is the store that is damaged.
            if store.version == version:
                raise
    raise StoreError(
        f"reading what answers a question: it was changed {_READINGS} times while it was read; ask again, or let the "
        "writers finish first"
    )


def said_instead(route: Route, config: MemoryConfig, fallback: Fallback | None) -> str | None:
    """Return what is said in place of an answer; None if the base model is asked, with or without atoms.

    Args:
        route: The question's.
        config: The memory's.
        fallback: What the caller wants if the route is empty; None for what is configured.

    Raises:
        AbstainedError: If the route is empty and that is to be an error.
        ValueError: If there is no such fallback.
    """
    chosen = config.fallback if fallback is None else fallback
    if chosen not in FALLBACKS:
        raise ValueError(f"asking with fallback={chosen!r}: expected one of {', '.join(FALLBACKS)}")
    if not route.abstained or chosen == "base":
        return None
    if chosen == "raise":
        raise AbstainedError(
            f"answering {route.query!r}: nothing in the memory answers it (confidence {route.confidence:.2f}, at least "
            f"{route.threshold:.2f} is needed); add what is missing, ask in other words, or choose another fallback",
            route=route,
        )
    # Who asks for words gets some; who only configured none has the base model answer, as ever.
    return config.unknown if config.unknown is not None or fallback is None else MemoryConfig().unknown


def citation(atom: RoutedAtom, document: Document) -> Citation:
    """Return where an atom was read: its span, and the characters there."""
    span = atom.atom.span
    return Citation(atom.atom.id, document.id, document.source, span, span.of(document.text))


def with_scores(route: Route, candidates: Sequence[Candidate]) -> Route:
    """Return a route whose atoms have the scores of the candidates that they were: the keys' cosine, and BM25."""
    found = {candidate.atom.id: candidate for candidate in candidates}

    def scored(atoms: Sequence[RoutedAtom]) -> tuple[RoutedAtom, ...]:
        known = [(routed, found.get(routed.atom.id)) for routed in atoms]
        return tuple(replace(r, dense=c.dense, lexical=c.lexical) if c is not None else r for r, c in known)

    return replace(route, selected=scored(route.selected), rejected=scored(route.rejected))


def best_first(route: Route, limit: int) -> Sequence[RoutedAtom]:
    """Return the best atoms of a route, taken or not: what a retriever without a gate would have returned."""
    everything = [*route.selected, *route.rejected]
    return sorted(everything, key=lambda atom: (-atom.score, atom.atom.id))[:limit]
