"""A row of any format as the keys of our own (``doc_id``, ``title``, ``document``, ``question``, ``answers``, …).

Every reader translates to these keys and leaves the checking to `question_of`, so that all formats refuse the same
mistakes in the same words. A row whose ``question`` is None only brings a document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.datasets.questions import CorpusDocument, Question, dataset_name
from parametric_memory.types import stable_id

_KINDS: Mapping[type, str] = {str: "a text", list: "a list", dict: "an object"}


@dataclass(frozen=True, slots=True)
class Row:
    """What stands at one place of a file; ``where`` is what errors call the place ("line 3")."""

    path: Path
    where: str
    fields: Mapping[str, Any]

    def wrong(self, problem: str) -> UnreadableDocumentError:
        """Return the error that names the file, the place and the problem."""
        return UnreadableDocumentError(f"reading the questions of {self.path}, {self.where}: {problem}")

    def take(self, key: str, kind: type) -> Any:
        """Return a field of a certain type (str, list or dict).

        Raises:
            UnreadableDocumentError: If it is missing or of another type.
        """
        value = self.fields.get(key)
        if not isinstance(value, kind):
            raise self.wrong(f"{key!r} is {shown(value)}, expected {_KINDS[kind]}")
        return value

    def part(self, where: str, fields: object) -> Row:
        """Return what stands at a place inside of this one.

        Raises:
            UnreadableDocumentError: If it is not an object.
        """
        inside = Row(self.path, f"{self.where}, {where}" if self.where else where, {})
        if not isinstance(fields, Mapping):
            raise inside.wrong(f"a {type(fields).__name__} where a JSON object is expected")
        return Row(self.path, inside.where, fields)


def document_of(row: Row) -> CorpusDocument:
    """Return a row's document; its id depends on its text, if the row has none.

    Raises:
        UnreadableDocumentError: If there is no text in it.
    """
    document = _text(row, "document")
    for key in ("doc_id", "title"):
        if not isinstance(row.fields.get(key), str | None):
            raise row.wrong(f"{key!r} is {shown(row.fields[key])}, expected a text")
    return CorpusDocument(row.fields.get("doc_id") or stable_id(document), row.fields.get("title") or "", document)


def question_of(row: Row, document: CorpusDocument) -> Question:
    """Return a row's question about its document.

    Raises:
        UnreadableDocumentError: If it is not a question.
    """
    if "triples" in row.fields and not row.fields.get("question"):
        raise row.wrong("it has triples and no question: such a file is for training; to measure, choose one that asks")
    question, answers, supports = _text(row, "question").strip(), _texts(row, "answers"), _texts(row, "supports")
    answerable = row.fields.get("answerable", bool(answers))
    if not isinstance(answerable, bool):
        raise row.wrong(f"'answerable' is {shown(answerable)}, expected true or false")
    if answerable != bool(answers):
        count = len(row.fields.get("answers") or ())
        raise row.wrong(f"'answerable' is {str(answerable).lower()}, but there are {count} answers")
    return Question(
        dataset=dataset_name(row.path),
        doc_id=document.doc_id,
        title=document.title,
        document=document.document,
        question=question,
        answers=answers,
        answerable=answerable,
        supports=supports,
        anywhere=row.fields.get("anywhere") is True,
    )


def distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts without repetitions, in order."""
    return list(dict.fromkeys(texts))


def shown(value: object) -> str:
    """Return a value as errors show it: as JSON, cut short."""
    written = json.dumps(value, ensure_ascii=False)
    return written if len(written) <= 60 else f"{written[:60]}…"


def _text(row: Row, key: str) -> str:
    value = row.take(key, str)
    if not value.strip():
        raise row.wrong(f"{key!r} is {shown(value)}, expected a text")
    return str(value)


def _texts(row: Row, key: str) -> tuple[str, ...]:
    texts = row.fields.get(key) or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise row.wrong(f"{key!r} is {shown(texts)}, expected a list of texts")
    return tuple(text for text in texts if text.strip())
