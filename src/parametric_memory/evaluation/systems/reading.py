"""Systems that read: what they know stands in the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.systems.library import Library
from parametric_memory.evaluation.systems.system import LOOKED, Given, Place
from parametric_memory.types import Candidate, Span

#: Passages that the RAG systems put into the prompt.
PASSAGES = 4
DOCUMENT_CHARS = 1500


def closed_book(_library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give nothing."""
    return [Given() for _ in questions]


def in_context(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give the gold sentence."""
    found = [library.gold(question) for question in questions]
    return [Given((gold.statement,), atoms=(gold.id,)) if gold else Given() for gold in found]


def in_context_document(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give the document, cut around the gold sentence."""
    given = []
    for question in questions:
        gold = library.gold(question)
        passage = cut_around(question.document, gold.span if gold else Span(0, 0), DOCUMENT_CHARS)
        given.append(Given((passage,), atoms=(gold.id,) if gold else ()))
    return given


def rag_bm25(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give the best atoms by BM25 alone."""
    return [_best(library, q, lambda candidate: candidate.lexical, lambda score: score > 0.0) for q in questions]


def rag_dense(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give the best atoms by their keys' cosine alone; exactly 0 means that the keys' search did not return it."""
    return [_best(library, q, lambda candidate: candidate.dense, lambda score: score != 0.0) for q in questions]


def _best(
    library: Library, question: Question, by: Callable[[Candidate], float], found: Callable[[float], bool]
) -> Given:
    candidates = [candidate for candidate in library.candidates(question) if found(by(candidate))]
    ranked = [c.atom for c in sorted(candidates, key=lambda candidate: (-by(candidate), candidate.atom.id))]
    places = tuple(Place(str(atom.metadata["doc_id"]), atom.span) for atom in ranked[:LOOKED])
    best = ranked[:PASSAGES]
    return Given(tuple(atom.statement for atom in best), atoms=tuple(atom.id for atom in best), evidence=places)


def cut_around(text: str, span: Span, max_chars: int) -> str:
    """Return at most ``max_chars`` of the text, with the span in the middle as far as the ends of the text allow."""
    start = (span.start + span.end - max_chars) // 2
    start = max(0, min(start, len(text) - max_chars))
    return text[start : start + max_chars]
