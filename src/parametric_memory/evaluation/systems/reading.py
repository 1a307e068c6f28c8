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
from parametric_memory.memory.snippet import cut, sentences_of
from parametric_memory.routing import weigh
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
    return dense(library, questions, library.reading.dense)


def dense(library: Library, questions: Sequence[Question], choice: RagChoice) -> list[Given]:
    """Give what `rag_dense` does, as many chunks and as large ones as were chosen."""
    index = library.chunks(choice.chunk_chars)
    return [_read(index.dense(q.question, k=LOOKED, doc_id=library.document(q)), choice) for q in questions]


def rag_dense_snippet(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Give of the best chunk of `rag_dense` as many tokens as a hybrid gives: those around the nearest sentence."""
    choice = library.reading.dense
    index = library.chunks(choice.chunk_chars)
    given = []
    for question in questions:
        chunks = index.dense(question.question, k=LOOKED, doc_id=library.document(question))
        shown = (_snippet(library, question.question, chunks[0]),) if chunks else ()
        places = tuple(Place(chunk.doc_id, chunk.span) for chunk in chunks)
        given.append(Given(shown, wording=choice.wording, evidence=places) if any(shown) else Given())
    return given


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


def _snippet(library: Library, question: str, chunk: Chunk) -> str:
    """Return the part of a chunk around the sentence that covers most of the question, its title in front."""
    memory = library.memory
    head = chunk.text[: -(chunk.span.end - chunk.span.start)]
    text = chunk.text[len(head) :]
    sentences = sentences_of(text)
    covered = [found.coverage for found in weigh(question, [span.of(text) for span in sentences])]
    at = sentences[covered.index(max(covered))].start if sentences else 0
    return cut(text, at, budget=memory.config.snippet_tokens, count=memory.backend.count_tokens, head=head)


def cut_around(text: str, span: Span, max_chars: int) -> str:
    """Return at most ``max_chars`` of the text, with the span in the middle as far as the ends of the text allow."""
    start = (span.start + span.end - max_chars) // 2
    start = max(0, min(start, len(text) - max_chars))
    return text[start : start + max_chars]
