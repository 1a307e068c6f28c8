"""A memory that is asked by systems: what it holds for a question, and where the right answer stands."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from parametric_memory.config import PromptConfig
from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.metrics import containment, normalise
from parametric_memory.evaluation.prompts import ReadingChoice, reading_choice
from parametric_memory.evaluation.rag import ChunkIndex
from parametric_memory.evaluation.reader import need_reader
from parametric_memory.memory import ParametricMemory
from parametric_memory.memory.compiler import compiler_for
from parametric_memory.protocols import Compiler
from parametric_memory.types import Atom, Candidate, ComposedAdapter, Metadata, Route

logger = logging.getLogger(__name__)

Setting: TypeAlias = Literal["own", "corpus"]


class Library:
    """A memory that holds the documents of all questions, each under its ``doc_id``.

    With the setting ``own`` a question is asked of its own document alone, with ``corpus`` of all that it holds.

    Args:
        memory: The memory.
        setting: Of what a question is asked.
        remember: Find a question's route once, for all systems that take it. Where times are measured, each system
            has to find its own.
    """

    def __init__(self, memory: ParametricMemory, *, setting: Setting = "own", remember: bool = True) -> None:
        self.memory, self.setting, self.remember = memory, setting, remember
        self._gold: dict[str, Atom | None] = {}
        self._routes: dict[str, Route] = {}
        self._chunks: dict[int, ChunkIndex] = {}
        self._readers: dict[Path | None, ComposedAdapter] = {}

    @cached_property
    def chunked(self) -> Library:
        """The library of the same documents in chunks, for Doc-to-LoRA: this one, if its memory is such a one.

        It stands in a folder beside the memory's; what is missing there is compiled now.

        Raises:
            CheckpointError: If there is no document compiler for the base model.
        """
        if self.memory.compiler.name.startswith("document:"):
            return self
        memory = chunked_memory(self.memory)
        for held in self.memory.store.documents():
            for problem in memory.add(self.memory.store.document(held.id))["errors"]:
                logger.warning("reading chunks of %s: %s", problem["source"], problem["error"])
        return Library(memory, setting=self.setting, remember=self.remember)

    def close(self) -> None:
        """Close the memory of chunks, if it was opened; the memory itself belongs to whoever opened it."""
        if "chunked" in self.__dict__ and self.chunked is not self:
            self.chunked.memory.close()

    @cached_property
    def reading(self) -> ReadingChoice:
        """How systems that read ask this memory's base model."""
        return reading_choice(self.memory.backend.fingerprint, self.memory.prompt)

    def reader(self, folder: Path | None = None) -> ComposedAdapter:
        """Return the base model's reader, or that of a folder; read from disk only once.

        Raises:
            ConfigError: If the base model has none.
        """
        if folder not in self._readers:
            self._readers[folder] = need_reader(self.memory.backend, folder)
        return self._readers[folder]

    def chunks(self, chunk_chars: int) -> ChunkIndex:
        """Return the documents as a RAG app holds them, in chunks; made once per size.

        Raises:
            MissingDependencyError: If the extra ``eval`` is not installed.
        """
        if chunk_chars not in self._chunks:
            store = self.memory.store
            documents = [store.document(held.id) for held in store.documents()]
            self._chunks[chunk_chars] = ChunkIndex(documents, self.memory.key_encoder, chunk_chars=chunk_chars)
            if not self.remember:
                self._chunks[chunk_chars].embed()
        return self._chunks[chunk_chars]

    def document(self, question: Question) -> str | None:
        """Return the ``doc_id`` of the document that a question is asked of; None for all."""
        return question.doc_id if self.setting == "own" else None

    def filters(self, question: Question) -> Metadata | None:
        """Return which atoms a question may be answered from; None for all."""
        return scope(question) if self.setting == "own" else None

    def candidates(self, question: Question) -> list[Candidate]:
        """Return the atoms that the memory finds, by keys and by words."""
        query = self.memory.encode_query(question.question)
        return self.memory.candidates(query, filters=self.filters(question))

    def route(self, question: Question) -> Route:
        """Return the route that the memory finds, gates included."""
        if not self.remember:
            return self.memory.explain(question.question, filters=self.filters(question))
        if question.id not in self._routes:
            self._routes[question.id] = self.memory.explain(question.question, filters=self.filters(question))
        return self._routes[question.id]

    def gold(self, question: Question) -> Atom | None:
        """Return the gold sentence's atom (see `gold_atom`), None if the document has no atoms; looked up only once."""
        if question.id not in self._gold:
            self._gold[question.id] = gold_atom(question, self.memory.store.atoms(filters=scope(question)))
        return self._gold[question.id]


def chunked_memory(memory: ParametricMemory, path: Path | None = None) -> ParametricMemory:
    """Return a memory of chunks that shares this one's models, compiled by its settings' document compiler.

    Args:
        memory: Whose parts are used.
        path: Of the new one; by default beside it.

    Raises:
        CheckpointError: If there is no document compiler for the base model.
    """
    compiler, prompt = chunk_compiler(memory)
    digest = compiler.name.partition(":")[2]
    path = path or memory.store.path.with_name(f"{memory.store.path.name}-chunks-{digest}")
    return memory.beside(path, compiler=compiler, token_router=None, extractor=None, prompt=prompt)


def exact_memory(memory: ParametricMemory, path: Path, **others: Any) -> ParametricMemory:
    """Return a memory beside another one whose keys are searched exactly.

    An approximate index may find other atoms when it is built anew.
    """
    store = replace(memory.config.store, index="numpy")
    return memory.beside(path, config=replace(memory.config, store=store), **others)


def chunk_compiler(memory: ParametricMemory) -> tuple[Compiler, PromptConfig]:
    """Return the document compiler that a memory's settings name, and its wording.

    Raises:
        CheckpointError: If there is none for the base model.
    """
    # Only a backend that shows its model can be read; HuggingFaceBackend does.
    backend: Any = memory.backend
    return compiler_for(backend, "document", checkpoint=None, config=memory.config)


def scope(question: Question) -> Metadata:
    """Return the metadata that a question's document is added with, and found by."""
    return {"doc_id": question.doc_id}


def gold_atom(question: Question, atoms: Sequence[Atom]) -> Atom | None:
    """Return the atom that holds a right answer, or else the nearest; None if there are no atoms.

    Of several, the one that shares the most words with the question, and of those the first.
    """
    holding = [atom for atom in atoms if holds_answer(question, atom)]
    asked = _words(question.question)
    return max(holding or atoms, key=lambda atom: len(asked & _words(atom.text)), default=None)


def holds_answer(question: Question, atom: Atom) -> bool:
    """Return whether a right answer stands in the atom's text."""
    return any(containment(atom.text, answer) and normalise(answer) for answer in question.answers)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
