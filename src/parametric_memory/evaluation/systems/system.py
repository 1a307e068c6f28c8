"""What a system is: questions in, predictions out; and how the systems of this library answer.

Adding a system is one function: it says what the base model is given with each question (`Preparation`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from parametric_memory.config import GenerationConfig
from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.systems.library import Library
from parametric_memory.protocols import Backend, ScoringBackend
from parametric_memory.types import ComposedAdapter, Conversation, Message, Span

#: How every system generates: greedily, one line. Behind it a small base model begins questions and answers of its own.
GENERATION = GenerationConfig(max_new_tokens=32, stop=("\n",))
#: Places that are noted of where a system looked.
LOOKED = 16


class Asking(Protocol):
    """The words around a question: the library's `parametric_memory.config.PromptConfig`, or others."""

    def conversation(self, question: str, passages: Sequence[str] = ()) -> list[Message]:
        """Return the turns around a question."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Characters of a question's document (by its ``doc_id``): half-open, as a citation's."""

    doc_id: str
    span: Span

    def covers(self, other: Place) -> bool:
        """Return whether the other place lies within this one."""
        inside = self.span.start <= other.span.start and other.span.end <= self.span.end
        return self.doc_id == other.doc_id and inside


@dataclass(frozen=True, slots=True)
class Given:
    """What the base model is given with a question; if the system abstained, it is not asked.

    Attributes:
        passages: Texts for the prompt.
        adapter: What is injected.
        atoms: Ids of the atoms that it stands on, best first, whether they came as weights or as text.
        abstained: Nothing was found that answers.
        wording: How the question is put; None for the memory's own prompt.
        confidence: How sure the system is that it can answer, if it knows.
        evidence: Where the system looked, best first.
        said: The answer itself, of a system that asks no base model; None for all others.
    """

    passages: tuple[str, ...] = ()
    adapter: ComposedAdapter | None = None
    atoms: tuple[str, ...] = ()
    abstained: bool = False
    wording: Asking | None = None
    confidence: float | None = None
    evidence: tuple[Place, ...] = ()
    said: str | None = None


#: What a system gives the base model with each of some questions, in their order.
Preparation: TypeAlias = Callable[[Library, Sequence[Question]], list[Given]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a system answered to one question, and what it cost.

    Attributes:
        text: The answer.
        abstained: The system found nothing that answers; ``text`` only says so and is not scored.
        atoms: Ids of the atoms it stands on, best first, whether they came as weights or as text.
        knowledge_tokens: Tokens of retrieved text in the prompt.
        ms: Milliseconds from the question to the answer; of questions that were asked together, the mean.
        loglikelihood: Mean log-probability (nats) of the tokens of the first right answer in place of ``text``; None if
            there is none, or the system abstained.
        confidence: How sure the system is that it can answer, if it knows.
        evidence: Where it looked, best first, at most `LOOKED`; empty if it does not retrieve.
    """

    text: str
    abstained: bool
    atoms: tuple[str, ...]
    knowledge_tokens: int
    ms: float
    loglikelihood: float | None = None
    confidence: float | None = None
    evidence: tuple[Place, ...] = ()


class System(Protocol):
    """Answers questions. One that stands on nothing here is welcome beside those of this room."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    def answer(self, questions: Sequence[Question], *, score: bool = True) -> list[Prediction]:
        """Return one prediction per question, in order; asked together they may share a batch.

        With ``score`` right answers are scored too; without, nothing is done that an application would not do.
        """
        ...


@dataclass(frozen=True, slots=True)
class LibrarySystem:
    """A system that is told apart by its preparation: what it gives the base model with a question."""

    name: str
    library: Library
    prepare: Preparation

    def answer(self, questions: Sequence[Question], *, score: bool = True) -> list[Prediction]:
        """Return one prediction per question; the base model answers all of them in batches sorted by length."""
        began = time.perf_counter()
        given = self.prepare(self.library, questions)
        turns = [
            (one.wording or self.library.memory.prompt).conversation(question.question, one.passages)
            for question, one in zip(questions, given, strict=True)
        ]
        wanted = [question.answers[0] if score and question.answers else "" for question in questions]
        texts, likelihoods = self._generate(turns, given, wanted)
        ms = (time.perf_counter() - began) * 1000 / max(1, len(questions))
        return [
            Prediction(
                texts[n], one.abstained, one.atoms, self._tokens(one), ms, likelihoods.get(n), one.confidence,
                one.evidence[:LOOKED],
            )
            for n, one in enumerate(given)
        ]  # fmt: skip

    def _generate(
        self, turns: Sequence[Conversation], given: Sequence[Given], wanted: Sequence[str]
    ) -> tuple[list[str], dict[int, float]]:
        """Return every answer, and by number the mean log-likelihood of those that were wanted."""
        config = self.library.memory.config
        # An evaluation asks everything: what would raise says that it does not know.
        unknown = None if config.fallback == "base" else config.unknown
        said = {number: one.said for number, one in enumerate(given) if one.said is not None}
        asked = [n for n, one in enumerate(given) if n not in said and (unknown is None or not one.abstained)]
        made = _generated(
            self.library.memory.backend,
            [turns[n] for n in asked],
            # One that abstained is asked closed-book at most: what it says then is no answer of the memory.
            ["" if given[n].abstained else wanted[n] for n in asked],
            [given[n].adapter for n in asked],
        )
        texts = said | {n: text.strip() for n, (text, _) in zip(asked, made, strict=True)}
        means = {n: total / tokens for n, (_, (total, tokens)) in zip(asked, made, strict=True) if tokens}
        return [texts.get(number, unknown or "") for number in range(len(given))], means

    def _tokens(self, given: Given) -> int:
        return sum(map(self.library.memory.backend.count_tokens, given.passages))


def _generated(
    backend: Backend, turns: list[Conversation], answers: list[str], adapters: list[ComposedAdapter | None]
) -> list[tuple[str, tuple[float, int]]]:
    """Return the text of every generation, and the wanted answer's log-likelihood and tokens."""
    if any(answers) and isinstance(backend, ScoringBackend):
        both = backend.generate_and_score(turns, answers, adapters=adapters, config=GENERATION)
        return [(generation.text, found) for generation, found in both]
    made = backend.generate(turns, adapters=adapters, config=GENERATION)
    unasked = [(0.0, 0)] * len(turns)
    scores = backend.loglikelihood(turns, answers, adapters=adapters) if any(answers) else unasked
    return [(generation.text, found) for generation, found in zip(made, scores, strict=True)]
