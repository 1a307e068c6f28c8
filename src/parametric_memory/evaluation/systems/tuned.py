"""Systems that read with a reader: what another system gives, and a LoRA that was tuned to answer from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.systems import reading
from parametric_memory.evaluation.systems.library import Library
from parametric_memory.evaluation.systems.system import Given, Preparation


def with_reader(prepare: Preparation, *, folder: Path | None = None) -> Preparation:
    """Return the system that is given what `prepare` gives, and reads it with the base model's reader.

    Args:
        prepare: A system without an adapter of its own.
        folder: A reader of one's own, in place of the one that comes with the package.

    Returns:
        A preparation that raises `ConfigError` where the base model has no reader.
    """

    def prepared(library: Library, questions: Sequence[Question]) -> list[Given]:
        # One object for all rows: the backend then keeps a single copy of its factors.
        adapter = library.reader(folder)
        # The reader was tuned behind the library's own wording.
        return [replace(given, adapter=adapter, wording=None) for given in prepare(library, questions)]

    return prepared


reader = with_reader(reading.in_context)
reader_document = with_reader(reading.in_context_document)
rag_reader = with_reader(lambda library, questions: reading.dense(library, questions, library.reading.reader))
