"""The systems that are compared: one base model, one wording; they differ in what the model is given with a question.

A system takes questions and returns predictions. All of them stand on one memory that holds the documents of all
questions, and ask it as `ParametricMemory.ask` does, step by step, so that many questions share a batch.

=====================  ===============================================================================================
closed_book            the question
in_context             the gold sentence in the prompt
in_context_document    the document in the prompt, cut to 1500 characters around the gold sentence
rag_bm25, rag_dense    the best four atoms' statements in the prompt, by BM25 alone or by the keys' cosine alone
atoms                  the routed atoms' adapters, nothing in the prompt
atoms_oracle           the gold sentence's adapter, nothing in the prompt: the compiler without the router
hybrid                 the routed atoms' adapters, and the best one's statement in the prompt
=====================  ===============================================================================================

The gold sentence is the atom that holds a right answer; of several, the one that shares the most words with the
question. Where none does (unanswerable questions, yes and no), it is the one that shares the most words: systems that
are given it never abstain, and answer every question. Only `atoms` and `hybrid` can abstain.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from parametric_memory.config import GenerationConfig
from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.metrics import containment, normalise
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import Atom, Candidate, ComposedAdapter, Conversation, Metadata, Route, RoutedAtom, Span

Setting: TypeAlias = Literal["own", "corpus"]

#: How every system generates: greedily.
GENERATION = GenerationConfig(max_new_tokens=32)
#: Passages that the RAG systems put into the prompt.
PASSAGES = 4
DOCUMENT_CHARS = 1500


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
            there is none, or the system abstained. Its time is not in ``ms``.
    """

    text: str
    abstained: bool
    atoms: tuple[str, ...]
    knowledge_tokens: int
    ms: float
    loglikelihood: float | None = None


class System(Protocol):
    """Answers questions. One that stands on nothing here is welcome beside those below."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    def answer(self, questions: Sequence[Question]) -> list[Prediction]:
        """Return one prediction per question, in order; asked together they may share a batch."""
        ...


class Library:
    """A memory that holds the documents of all questions, each under its ``doc_id``.

    With the setting ``own`` a question is asked of its own document alone, with ``corpus`` of all of them.
    """

    def __init__(self, memory: ParametricMemory, *, setting: Setting = "own") -> None:
        self.memory, self.setting = memory, setting
        self._gold: dict[str, Atom | None] = {}

    def filters(self, question: Question) -> Metadata | None:
        """Return which atoms a question may be answered from; None for all."""
        return scope(question) if self.setting == "own" else None

    def candidates(self, question: Question) -> list[Candidate]:
        """Return the atoms that the memory finds, by keys and by words."""
        query = self.memory.encode_query(question.question)
        return self.memory.candidates(query, filters=self.filters(question))

    def gold(self, question: Question) -> Atom | None:
        """Return the gold sentence's atom (see `gold_atom`), None if the document has no atoms; looked up only once."""
        if question.id not in self._gold:
            self._gold[question.id] = gold_atom(question, self.memory.store.atoms(filters=scope(question)))
        return self._gold[question.id]


@dataclass(frozen=True, slots=True)
class Given:
    """What the base model is given with a question; if the system abstained, it is not asked."""

    passages: tuple[str, ...] = ()
    adapter: ComposedAdapter | None = None
    atoms: tuple[str, ...] = ()
    abstained: bool = False


Preparation: TypeAlias = Callable[[Library, Question], Given]


@dataclass(frozen=True, slots=True)
class LibrarySystem:
    """A system that is told apart by its preparation: what it gives the base model with a question."""

    name: str
    library: Library
    prepare: Preparation

    def answer(self, questions: Sequence[Question]) -> list[Prediction]:
        """Return one prediction per question; the base model answers all of them in batches sorted by length."""
        memory = self.library.memory
        began = time.perf_counter()
        given = [self.prepare(self.library, question) for question in questions]
        turns = [
            memory.prompt.conversation(question.question, one.passages)
            for question, one in zip(questions, given, strict=True)
        ]
        texts = self._generate(turns, given)
        ms = (time.perf_counter() - began) * 1000 / max(1, len(questions))
        return [
            Prediction(text, one.abstained, one.atoms, self._tokens(one), ms, likelihood)
            for text, one, likelihood in zip(texts, given, self._score(questions, turns, given), strict=True)
        ]

    def _generate(self, turns: Sequence[Conversation], given: Sequence[Given]) -> list[str]:
        unknown = self.library.memory.config.unknown
        asked = [number for number, one in enumerate(given) if unknown is None or not one.abstained]
        made = self.library.memory.backend.generate(
            [turns[number] for number in asked], adapters=[given[number].adapter for number in asked], config=GENERATION
        )
        texts = {number: generation.text.strip() for number, generation in zip(asked, made, strict=True)}
        return [texts.get(number, unknown or "") for number in range(len(given))]

    def _score(
        self, questions: Sequence[Question], turns: Sequence[Conversation], given: Sequence[Given]
    ) -> list[float | None]:
        scored = [n for n, one in enumerate(given) if questions[n].answers and not one.abstained]
        sums = self.library.memory.backend.loglikelihood(
            [turns[n] for n in scored],
            [questions[n].answers[0] for n in scored],
            adapters=[given[n].adapter for n in scored],
        )
        means = {n: total / tokens for n, (total, tokens) in zip(scored, sums, strict=True) if tokens}
        return [means.get(n) for n in range(len(given))]

    def _tokens(self, given: Given) -> int:
        return sum(map(self.library.memory.backend.count_tokens, given.passages))


def scope(question: Question) -> Metadata:
    """Return the metadata that a question's document is added with, and found by."""
    return {"doc_id": question.doc_id}


def gold_atom(question: Question, atoms: Sequence[Atom]) -> Atom | None:
    """Return the atom that holds a right answer, or else the nearest; None if there are no atoms.

    Of several, the one that shares the most words with the question, and of those the first.
    """
    holding = [atom for atom in atoms if holds_answer(question, atom)]
    asked = _words(question.question)
    return max(holding or atoms, key=lambda atom: len(asked & _words(atom.text)), default=None)


def holds_answer(question: Question, atom: Atom) -> bool:
    """Return whether a right answer stands in the atom's text."""
    return any(containment(atom.text, answer) and normalise(answer) for answer in question.answers)


def cut_around(text: str, span: Span, max_chars: int) -> str:
    """Return at most ``max_chars`` of the text, with the span in the middle as far as the ends of the text allow."""
    start = (span.start + span.end - max_chars) // 2
    start = max(0, min(start, len(text) - max_chars))
    return text[start : start + max_chars]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


# ---------------------------------------------------------------- what each system gives the base model


def _closed_book(_library: Library, _question: Question) -> Given:
    return Given()


def _in_context(library: Library, question: Question) -> Given:
    gold = library.gold(question)
    return Given((gold.statement,), atoms=(gold.id,)) if gold else Given()


def _in_context_document(library: Library, question: Question) -> Given:
    gold = library.gold(question)
    passage = cut_around(question.document, gold.span if gold else Span(0, 0), DOCUMENT_CHARS)
    return Given((passage,), atoms=(gold.id,) if gold else ())


def _rag_bm25(library: Library, question: Question) -> Given:
    found = [candidate for candidate in library.candidates(question) if candidate.lexical > 0.0]
    return _retrieved(found, by=lambda candidate: candidate.lexical)


def _rag_dense(library: Library, question: Question) -> Given:
    # A cosine of exactly 0 means that the keys' search did not return it.
    found = [candidate for candidate in library.candidates(question) if candidate.dense != 0.0]
    return _retrieved(found, by=lambda candidate: candidate.dense)


def _retrieved(candidates: Sequence[Candidate], *, by: Callable[[Candidate], float]) -> Given:
    best = sorted(candidates, key=lambda candidate: (-by(candidate), candidate.atom.id))[:PASSAGES]
    return Given(tuple(c.atom.statement for c in best), atoms=tuple(c.atom.id for c in best))


def _atoms(library: Library, question: Question) -> Given:
    return _injected(library, library.memory.explain(question.question, filters=library.filters(question)))


def _atoms_oracle(library: Library, question: Question) -> Given:
    gold = library.gold(question)
    route = Route(question.question, (RoutedAtom(gold, 0.0, reason="oracle"),) if gold else ())
    return _injected(library, library.memory.gate(question.question, route))


def _hybrid(library: Library, question: Question) -> Given:
    route = library.memory.explain(question.question, filters=library.filters(question))
    return _injected(library, route, shown=1)


def _injected(library: Library, route: Route, *, shown: int = 0) -> Given:
    # Citations are part of an answer, so they are part of its time.
    library.memory.cite(route)
    return Given(
        passages=tuple(routed.atom.statement for routed in route.selected[:shown]),
        adapter=library.memory.compose(route),
        atoms=tuple(routed.atom.id for routed in route.selected),
        abstained=route.abstained,
    )


#: Every system by its name.
SYSTEMS: Mapping[str, Preparation] = {
    "closed_book": _closed_book,
    "in_context": _in_context,
    "in_context_document": _in_context_document,
    "rag_bm25": _rag_bm25,
    "rag_dense": _rag_dense,
    "atoms": _atoms,
    "atoms_oracle": _atoms_oracle,
    "hybrid": _hybrid,
}
