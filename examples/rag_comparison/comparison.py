"""Documents, questions and scores of all arms; the page shows what is here."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

from arms import Arm, Shown, arms

from parametric_memory import ParametricMemory
from parametric_memory.evaluation.metrics import score
from parametric_memory.store import DocumentSummary


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and all its right answers; none if the documents do not answer it."""

    question: str
    answers: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """An arm's answers to the questions of a file, so far."""

    f1: list[float] = field(default_factory=list)
    contains: list[float] = field(default_factory=list)
    refused_rightly: list[bool] = field(default_factory=list)
    refused_wrongly: list[bool] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def note(self, asked: Asked, shown: Shown) -> None:
        """Score one answer: F1 and containment if the question has answers, else whether the arm kept still."""
        self.tokens.append(shown.prompt_tokens)
        self.ms.append(shown.ms)
        if not asked.answers:
            self.refused_rightly.append(shown.abstained)
            return
        self.refused_wrongly.append(shown.abstained)
        found = score("" if shown.abstained else shown.text, asked.answers)
        self.f1.append(found.f1)
        self.contains.append(found.containment)

    def row(self) -> dict[str, str]:
        """Return the figures as a table has them; a dash where there is nothing to count."""
        return {
            "answered": str(len(self.ms)),
            "f1": f"{fmean(self.f1):.2f}" if self.f1 else "–",
            "contains": f"{fmean(self.contains):.2f}" if self.contains else "–",
            "refused_rightly": _of(self.refused_rightly),
            "refused_wrongly": _of(self.refused_wrongly),
            "tokens": f"{fmean(self.tokens):.0f}" if self.tokens else "–",
            "ms": f"{median(self.ms):.0f}" if self.ms else "–",
        }


class Comparison:
    """A memory and RAG on the same documents. One question is answered at a time, so that times can be compared.

    Args:
        memory: Holds the documents; those that are in it already are indexed for RAG as well.
        folder: For the files of this comparison.
    """

    def __init__(self, memory: ParametricMemory, folder: Path) -> None:
        self._memory, self._lock = memory, threading.Lock()
        self.arms: list[Arm] = arms(memory, folder)
        for held in self.held():
            self._index(held.id)

    def add(self, content: Path) -> list[str]:
        """Compile and index a file or a folder; return what went wrong, in words.

        Raises:
            UnreadableDocumentError: If it is a single file that cannot be read.
        """
        with self._lock:
            before = {held.id: held.updated for held in self.held()}
            report = self._memory.add(content)
            for held in self.held():
                if before.get(held.id) != held.updated:
                    self._index(held.id)
        return [f"{problem['source']}: {problem['error']}" for problem in report["errors"]]

    def forget(self, source: str) -> None:
        """Remove a document from the memory and from RAG's indexes."""
        with self._lock:
            for held in self.held():
                if held.source == source:
                    self._memory.store.delete_document(held.id)
            for arm in self.arms:
                arm.remove(source)

    def held(self) -> list[DocumentSummary]:
        """Return the documents, oldest first."""
        return self._memory.store.documents()

    def ask(self, question: str) -> dict[str, Shown]:
        """Ask every arm in turn; return the answers by name."""
        with self._lock:
            return {arm.name: arm.ask(question) for arm in self.arms}

    def _index(self, document_id: str) -> None:
        document = self._memory.store.document(document_id)
        for arm in self.arms:
            arm.put(document)


def read_questions(text: str) -> list[Asked]:
    """Return the questions of a file: one JSON object a line, ``question`` and ``answers`` in it.

    Raises:
        ValueError: If a line is something else, naming it; or if there is none.
    """
    lines = enumerate(text.splitlines(), 1)
    questions = [_asked(line, number) for number, line in lines if line.strip()]
    if not questions:
        raise ValueError("there is no question in it")
    return questions


def _asked(line: str, number: int) -> Asked:
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        row = json.loads(line)
        question, answers = row["question"], row.get("answers", [])
        if isinstance(question, str) and isinstance(answers, list):
            return Asked(question, tuple(map(str, answers)))
    raise ValueError(f'line {number} is {line[:60]!r}, expected {{"question": "…", "answers": ["…"]}}')


def _of(flags: Sequence[bool]) -> str:
    return f"{sum(flags)} of {len(flags)}" if flags else "–"
