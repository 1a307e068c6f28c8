"""Needle in a haystack: one fact at ten depths of more and more noise, and what each system makes of it.

Every haystack is a document of its own, asked by itself, one question at a time: its milliseconds and the most memory
that it takes beyond what is held are those of one question. What was asked is kept in ``niah.jsonl``, so a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import fmean, median
from typing import Any, TypeAlias

import torch

from parametric_memory.errors import CheckpointError, GenerationError
from parametric_memory.evaluation.answers import AnswerFile
from parametric_memory.evaluation.bench.isolation import extra_memory
from parametric_memory.evaluation.datasets import CorpusDocument, Question
from parametric_memory.evaluation.metrics import score
from parametric_memory.evaluation.probes.findings import Findings
from parametric_memory.evaluation.probes.haystack import ARRANGEMENTS, DEPTHS, KINDS, Haystack, haystack
from parametric_memory.evaluation.probes.length import AROUND, window
from parametric_memory.evaluation.probes.world import World, add_documents
from parametric_memory.evaluation.signatures import dependencies, signature
from parametric_memory.evaluation.systems import GENERATION, SYSTEMS, Given, Library, LibrarySystem, chunked_memory
from parametric_memory.memory import ParametricMemory

Row: TypeAlias = dict[str, Any]

NAME = "niah"
#: Who is asked, and whether they answer from a memory of chunks.
ARMS: Mapping[str, bool] = {
    "in_context": False, "rag_dense": False, "atoms": False, "document": True, "document_whole": True,
}  # fmt: skip
#: Depths as they are shown and kept.
_SHOWN = tuple(round(depth, 2) for depth in DEPTHS)
#: What these do once for a document (build an index, compile what a route takes) is no part of an answer's time.
_PREPARED = ("in_context", "rag_dense", "atoms")


@dataclass(frozen=True)
class Straw:
    """A haystack as it is asked: its length and number, and the question about its needle."""

    tokens: int
    number: int
    made: Haystack

    @property
    def id(self) -> str:
        """Its length and its number."""
        return f"{self.tokens}/{self.number}"

    @cached_property
    def question(self) -> Question:
        """The question, about this haystack alone."""
        needle = self.made.needles[0]
        return Question(NAME, self.id, "", self.made.text, needle.question, (needle.answer,), answerable=True)

    def record(self) -> Row:
        """Return what is known of it before anybody is asked."""
        return {
            "tokens": self.tokens,
            "depth": _SHOWN[self.number % len(DEPTHS)],
            "kind": self.made.needles[0].kind,
            "needles": self.made.arrangement,
        }


def niah(world: World) -> Findings:
    """Ask every system at every length."""
    with ExitStack() as stack:
        chunked = _chunked(world)
        if chunked:
            stack.enter_context(chunked)
        return _found(world, chunked)


def _found(world: World, chunked: ParametricMemory | None) -> Findings:
    arms = [arm for arm, of_chunks in ARMS.items() if chunked or not of_chunks]
    settings = {arm: _settings(world, chunked, arm) for arm in arms}
    kept = AnswerFile(world.kept(NAME), signature=lambda _, arm, __: settings.get(arm))
    for done, tokens in enumerate(world.lengths):
        world.progress(NAME, done, len(world.lengths))
        straws = [_straw(world, tokens, number) for number in range(world.limit)]
        _ask_memory(world, kept, [arm for arm in arms if not ARMS[arm]], straws)
        if chunked:
            of_chunks = replace(world, parts=chunked, folder=world.folder / "chunks")
            _ask_memory(of_chunks, kept, [arm for arm in arms if ARMS[arm]], straws)
    world.progress(NAME, len(world.lengths), len(world.lengths))
    rows = [_row(kept, arm, tokens, world.limit) for arm in arms for tokens in world.lengths]
    answers = [row for arm in arms for tokens in world.lengths for row in _of(kept, arm, tokens, world.limit)]
    missing = "" if chunked else " There is no document compiler for this base model, so `document` was not asked."
    return Findings(
        f"{world.limit} haystacks of each length: {len(DEPTHS)} depths, {len(KINDS)} kinds of needles; alone, among "
        "other needles, and among look-alikes. `found` is the share of answers that say the needle's; `add` is the "
        "time and the memory that compiling one haystack takes. Where there is no figure, it does not fit." + missing,
        rows,
        [{name: value for name, value in row.items() if name != "settings"} for row in answers],
    )


# ---------------------------------------------------------------- asking


def _ask_memory(world: World, kept: AnswerFile, arms: Sequence[str], straws: Sequence[Straw]) -> None:
    """Ask what has not been asked of one memory that holds all these haystacks."""
    known = {arm: kept.of(NAME, arm) for arm in arms}
    wanted = [(arm, straw) for straw in straws for arm in arms if straw.id not in known[arm]]
    if not wanted:
        return
    for arm in {"atoms", "document"}.intersection(arms):
        if f"{straws[0].tokens}/add" not in known[arm]:
            kept.append([_row_of(arm, f"{straws[0].tokens}/add", **_adding(world, straws[0]))])
    documents = [_document(straw) for straw in straws]
    # Chunks are compiled: all of them are injected as one. Of atoms, only what is routed.
    with world.library(documents, setting="own", deferred=not ARMS[arms[0]]) as library:
        library.remember = False
        for arm, straw in wanted:
            kept.append([_row_of(arm, straw.id, **_answer(library, arm, straw), **straw.record())])


def _answer(library: Library, arm: str, straw: Straw) -> Row:
    """Ask one question; without an answer if it does not fit."""
    prepare = partial(_shown, straw) if arm == "in_context" else SYSTEMS[arm]
    if arm in _PREPARED and not _fits(library, prepare(library, [straw.question])[0]):
        return {"found": None}
    try:
        with extra_memory() as extra:
            began = time.perf_counter()
            [made] = LibrarySystem(arm, library, prepare).answer([straw.question], score=False)
            ms = (time.perf_counter() - began) * 1000
    except GenerationError as error:
        if isinstance(error.__cause__, torch.OutOfMemoryError):
            return {"found": None}
        raise
    text = "" if made.abstained else made.text
    scores = score(text, straw.question.answers)
    return {
        "found": scores.containment, "f1": scores.f1, "wanted": straw.question.answers[0], "answer": text,
        "abstained": made.abstained, "ms": ms, "extra_bytes": extra.bytes,
    }  # fmt: skip


def _fits(library: Library, given: Given) -> bool:
    """Return whether the base model's window holds what is to be read, the question and the answer."""
    backend = library.memory.backend
    tokens = sum(map(backend.count_tokens, given.passages))
    return not tokens or tokens + AROUND + GENERATION.max_new_tokens <= window(backend)


def _shown(straw: Straw, library: Library, questions: Sequence[Question]) -> list[Given]:
    return [Given((straw.made.text,), wording=library.reading.zero_shot) for _ in questions]


def _adding(world: World, straw: Straw) -> Row:
    """Compile one haystack into a memory of its own, all of it."""
    with world.library([]) as library, extra_memory() as extra:
        began = time.perf_counter()
        add_documents(library.memory, [_document(straw)])
        seconds = time.perf_counter() - began
        held = library.memory.stats()
    return {"seconds": seconds, "extra_bytes": extra.bytes, "code_bytes": held.code_bytes, "tokens": straw.tokens}


def _straw(world: World, tokens: int, number: int) -> Straw:
    made = haystack(tokens, seed=world.seed, number=number, count_tokens=world.parts.backend.count_tokens)
    return Straw(tokens, number, made)


def _document(straw: Straw) -> CorpusDocument:
    return CorpusDocument(straw.id, "", straw.made.text)


def _chunked(world: World) -> ParametricMemory | None:
    try:
        return chunked_memory(world.parts, world.folder / "chunked")
    except CheckpointError:
        # A folder that is named and is none is a mistake; none at all is an answer.
        if world.parts.config.document_checkpoint:
            raise
        return None


# ---------------------------------------------------------------- what is kept, and what it comes to


def _row_of(arm: str, id_: str, **values: Any) -> Row:
    return {"dataset": NAME, "system": arm, "id": id_, **values}


def _of(kept: AnswerFile, arm: str, tokens: int, limit: int) -> list[Row]:
    known = kept.of(NAME, arm)
    return [known[id_] for number in range(limit) if (id_ := f"{tokens}/{number}") in known]


def _row(kept: AnswerFile, arm: str, tokens: int, limit: int) -> Row:
    answered = [row for row in _of(kept, arm, tokens, limit) if row["found"] is not None]
    added = kept.of(NAME, arm).get(f"{tokens}/add", {})
    by_arrangement = {name: _mean(row["found"] for row in answered if row["needles"] == name) for name in ARRANGEMENTS}
    return {
        "arm": arm,
        "tokens": tokens,
        "n": len(answered),
        "found": _mean(row["found"] for row in answered),
        **by_arrangement,
        "F1": _mean(row["f1"] for row in answered),
        "ms": _median(row["ms"] for row in answered),
        "extra MB": _megabytes(_median(row["extra_bytes"] for row in answered)),
        "add s": added.get("seconds"),
        "add extra MB": _megabytes(added.get("extra_bytes")),
        "codes MB": _megabytes(added.get("code_bytes")),
        **{f"at {depth:.0%}": _mean(row["found"] for row in answered if row["depth"] == depth) for depth in _SHOWN},
    }


def _settings(world: World, chunked: ParametricMemory | None, arm: str) -> str:
    """Return what tells answers that were made with other settings apart; how many there are changes none of them."""
    memory = chunked if chunked and ARMS[arm] else world.parts
    return signature(dependencies(arm, memory) | {"seed": world.seed})


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return fmean(known) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _megabytes(size: float | None) -> float | None:
    return None if size is None else size / 2**20
