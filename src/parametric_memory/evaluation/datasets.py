"""Questions to measure with: files of JSON lines, and samples of them that are the same on every machine.

One JSON object a line, gzipped or not: ``document`` and ``question`` are needed; ``doc_id``, ``title``, ``answers``
(empty when the document does not answer) and ``answerable`` may be missing, and other keys are ignored. The dataset is
called as its file, without ``.jsonl`` and ``.gz``, whatever the rows say.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.types import stable_id


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one document.

    ``answers`` are all the right ones, any of which will do; ``answerable`` is false if the document holds none.
    """

    dataset: str
    doc_id: str
    title: str
    document: str
    question: str
    answers: tuple[str, ...]
    answerable: bool

    @property
    def id(self) -> str:
        """Depends on the dataset, the document's id, the question and its answers."""
        return stable_id(self.dataset, self.doc_id, self.question, *self.answers)


def dataset_name(path: Path) -> str:
    """Return what a file's dataset is called: ``squad1.1.dev`` for ``…/squad1.1.dev.jsonl.gz``."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def read_questions(path: Path | str) -> list[Question]:
    """Read all questions of a file, in order.

    Raises:
        UnreadableDocumentError: If the file cannot be read or is empty, or a line is not a question, naming the line.
    """
    path = Path(path)
    questions: list[Question] = []
    documents: dict[str, tuple[int, str]] = {}
    for number, line in _lines(path):
        question = _question(path, number, line)
        first, document = documents.setdefault(question.doc_id, (number, question.document))
        if document != question.document:
            raise _unreadable(
                path, number, f"its doc_id {question.doc_id!r} is that of another document, on line {first}"
            )
        questions.append(question)
    if not questions:
        raise UnreadableDocumentError(f"reading the questions of {path}: there are none in it")
    return questions


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


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that are not blank, with their numbers, from 1."""
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UnreadableDocumentError(
            f"reading the questions of {path}, after line {number}: {error}; expected JSON lines in UTF-8, gzipped if "
            "the name ends in .gz"
        ) from error


def _question(path: Path, number: int, line: str) -> Question:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise _unreadable(path, number, f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise _unreadable(path, number, f"a {type(row).__name__} where a JSON object is expected")
    if problem := _problem(row):
        raise _unreadable(path, number, problem)
    answers = tuple(answer for answer in row.get("answers") or () if answer.strip())
    return Question(
        dataset=dataset_name(path),
        doc_id=row.get("doc_id") or stable_id(row["document"]),
        title=row.get("title") or "",
        document=row["document"],
        question=row["question"].strip(),
        answers=answers,
        answerable=row.get("answerable", bool(answers)),
    )


def _problem(row: dict[str, Any]) -> str | None:
    """Return what is wrong with a row, None if nothing is."""
    for key in ("document", "question"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            return f"{key!r} is {_shown(row.get(key))}, expected a text"
    for key in ("doc_id", "title"):
        if not isinstance(row.get(key), str | None):
            return f"{key!r} is {_shown(row[key])}, expected a text"
    answers = row.get("answers") or []
    if not isinstance(answers, Sequence) or isinstance(answers, str) or not all(isinstance(a, str) for a in answers):
        return f"'answers' is {_shown(answers)}, expected a list of texts"
    answerable = row.get("answerable", bool(answers))
    if not isinstance(answerable, bool):
        return f"'answerable' is {_shown(answerable)}, expected true or false"
    if answerable != any(answer.strip() for answer in answers):
        return f"'answerable' is {str(answerable).lower()}, but there are {len(answers)} answers"
    return None


def _shown(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def _unreadable(path: Path, number: int, problem: str) -> UnreadableDocumentError:
    return UnreadableDocumentError(f"reading the questions of {path}, line {number}: {problem}")
