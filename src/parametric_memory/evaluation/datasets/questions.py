"""A question about a document, and samples of questions that are the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from parametric_memory.types import stable_id

_SUFFIXES = (".gz", ".jsonl", ".json", ".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one document.

    ``answers`` are all the right ones, any of which will do; ``answerable`` is false if the document holds none.
    ``supports`` are the sentences of the document that an answer needs, all of them, where the set names them.
    ``anywhere`` is true if its file does not say which document it is about: then it is asked of all of them, and this
    one is where a right answer most likely stands.
    """

    dataset: str
    doc_id: str
    title: str
    document: str
    question: str
    answers: tuple[str, ...]
    answerable: bool
    supports: tuple[str, ...] = ()
    anywhere: bool = False

    @property
    def id(self) -> str:
        """Depends on the dataset, the document's id, the question and its answers."""
        return stable_id(self.dataset, self.doc_id, self.question, *self.answers)


class CorpusDocument(NamedTuple):
    """A document of a set, whether or not a question is asked about it."""

    doc_id: str
    title: str
    document: str


def dataset_name(path: Path) -> str:
    """Return what a file's dataset is called: ``squad1.1.dev`` for ``…/squad1.1.dev.jsonl.gz``."""
    name = path.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def sample(questions: Iterable[Question], *, limit: int | None = None, seed: int = 0) -> list[Question]:
    """Return up to ``limit`` questions, without repetitions, in an order that depends on them and on the seed alone.

    The order of the file, the machine and Python's version do not matter, and a smaller sample is the beginning of a
    larger one.

    Raises:
        ValueError: If the limit is not positive.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"a sample needs at least one question, got limit={limit}")
    distinct = {question.id: question for question in questions}
    return [distinct[id_] for id_ in sorted(distinct, key=lambda id_: stable_id(str(seed), id_))[:limit]]
