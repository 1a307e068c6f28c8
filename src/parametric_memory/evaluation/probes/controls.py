"""Systems that are broken on purpose: what they inject says nothing about the question.

A measurement that cannot be fooled puts them where closed-book is. One that scores above that shows that questions can
be answered from how an adapter writes, not from what it knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.systems import Given, Library, Preparation
from parametric_memory.evaluation.systems.weights import injected, to_atoms
from parametric_memory.memory.answers import best_first
from parametric_memory.types import Atom, stable_id


def shuffled_atoms(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give each question the gold atom of another one of these, of another document if there is one."""
    golds = [library.gold(other) for other in _others(questions)]
    return [_given(library, question, [gold] if gold else []) for question, gold in zip(questions, golds, strict=True)]


def foreign_document(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give each question the atoms that would be routed first if another question's document were all there is."""
    return [
        _given(library, question, _best_of(library, question, other))
        for question, other in zip(questions, _others(questions), strict=True)
    ]


#: Every control by its name.
CONTROLS: Mapping[str, Preparation] = {"shuffled_atoms": shuffled_atoms, "foreign_document": foreign_document}


def _others(questions: Sequence[Question]) -> list[Question]:
    """Return for each question another one, in an order of their own; itself only if it is alone."""
    drawn = sorted(questions, key=lambda question: stable_id("another", question.id))
    places = {question.id: place for place, question in enumerate(drawn)}
    return [_next(drawn, places[question.id]) for question in questions]


def _next(drawn: Sequence[Question], place: int) -> Question:
    """Return the next question around the circle that is about another document, or just the next one."""
    around = [drawn[(place + step) % len(drawn)] for step in range(1, len(drawn) + 1)]
    return next((other for other in around if other.doc_id != drawn[place].doc_id), around[0])


def _best_of(library: Library, question: Question, other: Question) -> list[Atom]:
    memory = library.memory
    query = memory.encode_query(question.question)
    route = memory.route(query, memory.candidates(query, filters={"doc_id": other.doc_id}))
    return [routed.atom for routed in best_first(route, memory.config.routing.max_atoms)]


def _given(library: Library, question: Question, atoms: Sequence[Atom]) -> Given:
    # Atoms of its own document would not be broken: there was no other.
    foreign = [atom for atom in atoms if atom.metadata.get("doc_id") != question.doc_id]
    return injected(library, to_atoms(library, question, foreign)) if foreign else Given()
