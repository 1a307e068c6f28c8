"""What a memory is measured with: documents and questions about them, from a file or made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parametric_memory.evaluation.bench.synthetic import World, questions_of
from parametric_memory.evaluation.datasets import Question, dataset_name, read_questions, sample
from parametric_memory.types import Document

#: Sentences of a made-up document: a paragraph.
_SENTENCES = 8


@dataclass(frozen=True, slots=True)
class Workload:
    """Documents to add, and questions to ask of all of them."""

    name: str
    documents: tuple[Document, ...]
    questions: tuple[str, ...]


def workload(files: Sequence[Path], *, limit: int, seed: int) -> Workload:
    """Return up to ``limit`` questions of the files and all their documents, or of a synthetic text without files.

    Raises:
        UnreadableDocumentError: If a file does not hold questions.
    """
    if not files:
        return _synthetic(limit, seed)
    asked = [question for file in files for question in read_questions(file)]
    chosen = sample(asked, limit=limit, seed=seed)
    documents = {(question.dataset, question.doc_id): _document(question) for question in chosen}
    name = "+".join(dict.fromkeys(map(dataset_name, files)))
    return Workload(name, tuple(documents.values()), tuple(question.question for question in chosen))


def _document(question: Question) -> Document:
    return Document.of(question.document, source=f"{question.dataset}/{question.doc_id}", title=question.title)


def _synthetic(limit: int, seed: int) -> Workload:
    world = World(seed, dim=8)
    articles = [world.article(number, atoms=_SENTENCES) for number in range(limit)]
    asked = questions_of(world, articles, limit)
    return Workload("synthetic", tuple(article.document for article in articles), tuple(query.text for query in asked))
