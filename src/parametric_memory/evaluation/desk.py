"""Where questions are asked: one process's base model, and the memories of the datasets that it is asked about.

A desk fills memories and answers questions; what is asked, in which order, and what is kept, is decided by
`parametric_memory.evaluation.runner`. Several desks, each in a process of its own, share the memories' folders.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeAlias

from parametric_memory.evaluation.datasets import CorpusDocument, Question
from parametric_memory.evaluation.metrics import score
from parametric_memory.evaluation.systems import (
    SYSTEMS,
    Library,
    LibrarySystem,
    Place,
    Prediction,
    Setting,
    exact_memory,
    holds_answer,
)
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import Document

logger = logging.getLogger(__name__)

#: Opens an empty memory at a path.
OpenMemory: TypeAlias = Callable[[Path], ParametricMemory]
Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A dataset as it is asked: its questions, of what they are asked, what its memory holds, and where that is."""

    name: str
    questions: tuple[Question, ...]
    setting: Setting
    documents: tuple[CorpusDocument, ...]
    folder: Path


class Desk:
    """Asks the questions of some sheets, all with the parts of one memory."""

    def __init__(self, parts: ParametricMemory, sheets: Sequence[Sheet]) -> None:
        self.parts = parts
        self._sheets = {sheet.name: sheet for sheet in sheets}
        self._open: tuple[str, Library] | None = None

    def fill(self, sheet: str, begin: int, end: int) -> None:
        """Add a sheet's documents from ``begin`` to ``end`` to its memory, those that are not there."""
        memory = self.library(sheet).memory
        for one in self._sheets[sheet].documents[begin:end]:
            metadata = {"doc_id": one.doc_id}
            document = Document.of(one.document, source=one.doc_id, title=one.title, metadata=metadata)
            for problem in memory.add(document)["errors"]:
                logger.warning("evaluating %s: document %s: %s", sheet, problem["source"], problem["error"])

    def held(self, sheet: str) -> tuple[int, int]:
        """Return how many documents and atoms a sheet's memory holds."""
        held = self.library(sheet).memory.stats()
        return held.documents, held.atoms

    def fill_chunks(self, sheet: str) -> None:
        """Add a sheet's documents to its memory of chunks, those that are not there."""
        _ = self.library(sheet).chunked

    def answer(self, sheet: str, system: str, begin: int, end: int) -> list[Row]:
        """Return a system's answers to the questions from ``begin`` to ``end``, as lines of ``answers.jsonl``."""
        library = self.library(sheet)
        questions = self._sheets[sheet].questions[begin:end]
        predictions = LibrarySystem(system, library, SYSTEMS[system]).answer(questions)
        return [row(system, library, *pair) for pair in zip(questions, predictions, strict=True)]

    def library(self, sheet: str) -> Library:
        """Return a sheet's memory; the one that was open before is closed."""
        if self._open is None or self._open[0] != sheet:
            self.close()
            memory = exact_memory(self.parts, self._sheets[sheet].folder)
            self._open = sheet, Library(memory, setting=self._sheets[sheet].setting)
        return self._open[1]

    def close(self) -> None:
        """Close the memory that is open; the parts stay."""
        if self._open is not None:
            self._open[1].close()
            self._open[1].memory.close()
        self._open = None


def row(system: str, library: Library, question: Question, prediction: Prediction) -> Row:
    """Return an answer as a line of ``answers.jsonl``; ``gold`` is None where no atom holds a right answer."""
    gold = library.gold(question)
    gold = gold if gold and holds_answer(question, gold) else None
    place = Place(question.doc_id, gold.span) if gold else None
    ranks = [rank for rank, seen in enumerate(prediction.evidence, 1) if place and seen.covers(place)]
    return {
        "dataset": question.dataset,
        # Intervals are made of whole documents; a question that may be about any of them stands for itself.
        "doc_id": question.id if question.anywhere else question.doc_id,
        "question": question.question,
        "answers": list(question.answers),
        "system": system,
        "prediction": prediction.text,
        "abstained": prediction.abstained,
        "atoms": list(prediction.atoms),
        "gold": gold.id if gold else None,
        **asdict(score("" if prediction.abstained else prediction.text, question.answers)),
        "knowledge_tokens": prediction.knowledge_tokens,
        "loglikelihood": prediction.loglikelihood,
        "confidence": prediction.confidence,
        "looked": len(prediction.evidence),
        "gold_rank": min(ranks, default=None),
        "document_chars": len(question.document),
        "id": question.id,
    }


# ---------------------------------------------------------------- desks in processes of their own

# Each process of a pool has one desk, made when the process starts, and nothing else.
_desks: list[Desk] = []


@contextmanager
def desk_in_process(
    open_memory: OpenMemory, root: Path, sheets: Sequence[Sheet], *, threads: int
) -> Iterator[Callable[..., Any]]:
    """Give the function that calls a method of a desk in a process of its own, by its name.

    Args:
        open_memory: Must survive pickling.
        root: Folder for the memory that the parts are taken from.
        sheets: All that may be asked.
        threads: Of the process.
    """
    made = (open_memory, root, tuple(sheets), threads)
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_make_desk, initargs=made)
    with pool:
        yield lambda method, *given: pool.submit(_call, method, given).result()
        pool.submit(_call, "close", ()).result()


def _make_desk(open_memory: OpenMemory, root: Path, sheets: tuple[Sheet, ...], threads: int) -> None:
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _desks.append(Desk(open_memory(root), sheets))


def _end_with_parent() -> None:
    """End this process when the one that made it has ended: killed, that one could not say so."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _call(method: str, given: Sequence[Any]) -> Any:
    return getattr(_desks[0], method)(*given)
