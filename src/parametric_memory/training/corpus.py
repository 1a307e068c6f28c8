"""What is trained on: atoms in their documents, and questions that some of them answer.

A question may stand on one atom or on several, which may hold its answer word for word or not; or on none, so that the
memory learns to keep still.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from parametric_memory.errors import TrainingError


class Place(NamedTuple):
    """Characters of an atom's text, half-open."""

    atom: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Example:
    """One question.

    Attributes:
        question: As a user would put it.
        answer: What is to be said; empty if nothing in the corpus answers.
        golds: The atoms that answer it together, in the order of their document; empty if nothing does.
        places: Where the answer stands word for word, at most once an atom; empty if it is not a span of any.
        look_alikes: Atoms that seem to answer it and do not.
    """

    question: str
    answer: str
    golds: tuple[int, ...]
    places: tuple[Place, ...] = ()
    look_alikes: tuple[int, ...] = ()

    @property
    def anchor(self) -> int:
        """The atom whose document the question belongs to."""
        return (self.golds or self.look_alikes)[0]


@dataclass(slots=True)
class Corpus:
    """Atoms' texts, the documents they come from (as ranges of atoms), and examples over them."""

    texts: list[str] = field(default_factory=list)
    document_of: list[int] = field(default_factory=list)
    documents: list[range] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    train: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    _known: dict[tuple[str, ...], range] = field(default_factory=dict)
    _sentences: dict[str, list[str]] = field(default_factory=dict)

    def siblings(self, atom: int) -> list[int]:
        """Return the other atoms of the same document."""
        return [other for other in self.documents[self.document_of[atom]] if other != atom]

    def split(self, document: str) -> list[str]:
        """Return the sentences of a document, on one line each."""
        # Here, not above: a machine that trains on a corpus from a file may lack what splitting takes.
        from parametric_memory.ingest import sentences

        if document not in self._sentences:
            self._sentences[document] = [" ".join(span.of(document).split()) for span in sentences(document)]
        return self._sentences[document]

    def add(self, texts: Sequence[str], title: str) -> range:
        """Return the atoms of a document's sentences, adding it if it is new."""
        key = (title, *texts)
        if key not in self._known:
            atoms = range(len(self.texts), len(self.texts) + len(texts))
            self.texts.extend(texts)
            self.document_of.extend([len(self.documents)] * len(texts))
            self.documents.append(atoms)
            self.contexts.append(title)
            self._known[key] = atoms
        return self._known[key]

    def save(self, path: Path) -> None:
        """Write the corpus to one gzipped JSON file, so that another machine need not read and align the data."""
        lines = [
            {"title": title, "texts": self.texts[atoms.start : atoms.stop]}
            for title, atoms in zip(self.contexts, self.documents, strict=True)
        ]
        examples = {name: [_row(e) for e in getattr(self, name)] for name in ("train", "validation")}
        with gzip.open(path, "wt", encoding="utf-8") as file:
            json.dump({"documents": lines, **examples}, file)

    @classmethod
    def load(cls, path: Path) -> Corpus:
        """Read what `save` wrote.

        Raises:
            TrainingError: If it is no such file.
        """
        corpus = cls()
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                read = json.load(file)
            for document in read["documents"]:
                corpus.add(document["texts"], document["title"])
            corpus.train = [_example(row) for row in read["train"]]
            corpus.validation = [_example(row) for row in read["validation"]]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise TrainingError(f"reading the corpus {path}: {error}; make it anew with `pmem train corpus`") from error
        return corpus


def _row(example: Example) -> list[Any]:
    return [example.question, example.answer, example.golds, example.places, example.look_alikes]


def _example(row: list[Any]) -> Example:
    question, answer, golds, places, look_alikes = row
    return Example(question, answer, tuple(golds), tuple(Place(*place) for place in places), tuple(look_alikes))
