"""Systems that read: what they know stands in the prompt, in the wording that suits the base model best.

Wordings, chunk sizes and numbers of passages are those of `parametric_memory.evaluation.prompts.reading_choice`: chosen
on training questions, for each base model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.prompts import RagChoice, ReadingChoice, Wording, reading_choice
from parametric_memory.evaluation.rag import Chunk
from parametric_memory.evaluation.systems.library import Library
from parametric_memory.evaluation.systems.system import LOOKED, Given, Place
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import Span, stable_id

DOCUMENT_CHARS = 1500


def closed_book(_library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give nothing."""
    return [Given() for _ in questions]


def in_context(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give the gold sentence, in the best wording without examples."""
    return _gold(library, questions, library.reading.zero_shot)


def in_context_few(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give the gold sentence, in the best wording with examples."""
    return _gold(library, questions, library.reading.few_shot)


def in_context_document(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give the document, cut around the gold sentence, in the best wording without examples."""
    given = []
    for question in questions:
        gold = library.gold(question)
        passage = cut_around(question.document, gold.span if gold else Span(0, 0), DOCUMENT_CHARS)
        given.append(Given((passage,), atoms=(gold.id,) if gold else (), wording=library.reading.zero_shot))
    return given


def rag_bm25(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give the chunks that LangChain's BM25 retriever finds."""
    choice = library.reading.bm25
    index = library.chunks(choice.chunk_chars)
    return [_read(index.bm25(q.question, k=LOOKED, doc_id=library.document(q)), choice) for q in questions]


def rag_dense(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give the chunks that LangChain's vector store finds with the memory's key encoder."""
    choice = library.reading.dense
    index = library.chunks(choice.chunk_chars)
    return [_read(index.dense(q.question, k=LOOKED, doc_id=library.document(q)), choice) for q in questions]


def choice_digest(part: Callable[[ReadingChoice], Wording | RagChoice]) -> Callable[[ParametricMemory], str]:
    """Return what tells a system's answers with one choice from those with another."""
    return lambda memory: stable_id(repr(part(reading_choice(memory.backend.fingerprint, memory.prompt))))


def _gold(library: Library, questions: Sequence[Question], wording: Wording) -> list[Given]:
    found = [library.gold(question) for question in questions]
    return [Given((gold.statement,), atoms=(gold.id,), wording=wording) if gold else Given() for gold in found]


def _read(chunks: Sequence[Chunk], choice: RagChoice) -> Given:
    """Return chunks, best first, as what is given: the first few to read, all as evidence."""
    shown = tuple(chunk.text for chunk in chunks[: choice.passages])
    places = tuple(Place(chunk.doc_id, chunk.span) for chunk in chunks)
    return Given(shown, wording=choice.wording, evidence=places) if shown else Given()


def cut_around(text: str, span: Span, max_chars: int) -> str:
    """Return at most ``max_chars`` of the text, with the span in the middle as far as the ends of the text allow."""
    start = (span.start + span.end - max_chars) // 2
    start = max(0, min(start, len(text) - max_chars))
    return text[start : start + max_chars]
