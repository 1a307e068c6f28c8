"""Stored: the same questions of memories that hold more and more besides what answers them.

In a small memory there is no room for the documents of all questions; they then share several memories of that size,
none of which holds more than half of it for its questions. Filler is compiled only when a route takes it, which changes
no answer (see `parametric_memory.evaluation.probes.thrift`), and keys are searched exactly.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from statistics import fmean, median
from typing import Any

from parametric_memory.evaluation.datasets import CorpusDocument, Question, corpus_documents
from parametric_memory.evaluation.probes.asking import Asked, ask
from parametric_memory.evaluation.probes.findings import Findings
from parametric_memory.evaluation.probes.world import World, add_documents
from parametric_memory.evaluation.statistics import interval
from parametric_memory.evaluation.systems import SYSTEMS, Library, holds_answer

KS = (1, 2, 4, 8, 16)


def stored(world: World) -> Findings:
    """Ask with the question's own document alone, then with memories of the sizes that the world names."""
    questions = world.questions("squad1.1.dev", "squad2.0.dev")
    rows, answers = [], []
    own = {q.doc_id: n for q, n in zip(questions, _atoms_of(world, questions), strict=True)}
    sizes = [None, *world.stored]
    for number, size in enumerate(sizes):
        world.progress("stored", number, len(sizes))
        seen = [one for group in _groups(questions, own, size) for one in _ask(world, group, size)]
        rows.append(_row(size, seen, world.seed))
        answers += [one["asked"].record(stored=one["atoms"], rank=one["rank"]) for one in seen]
    world.progress("stored", len(sizes), len(sizes))
    return Findings(
        f"{len(questions)} questions of {questions[0].dataset}; beside their documents, memories hold those of other "
        "sets. Recall@k and the first place are of the questions that one sentence answers; search is ms to find "
        "candidates, prepare ms from the question to the composed adapter (both p50, one question at a time).",
        rows,
        answers,
    )


def _atoms_of(world: World, questions: Sequence[Question]) -> list[int]:
    """Return how many atoms each question's document has."""
    with world.library(corpus_documents(questions), deferred=True) as library:
        return [len(library.memory.store.atoms({"doc_id": question.doc_id})) for question in questions]


def _groups(questions: Sequence[Question], atoms: dict[str, int], size: int | None) -> Iterator[list[Question]]:
    """Yield questions that share a memory: each document by itself, or as many as take half of the size."""
    by_document: dict[str, list[Question]] = {}
    for question in questions:
        by_document.setdefault(question.doc_id, []).append(question)
    group: list[Question] = []
    held = 0
    for doc_id, asked in by_document.items():
        if group and (size is None or held + atoms[doc_id] > size / 2):
            yield group
            group, held = [], 0
        group, held = group + asked, held + atoms[doc_id]
    yield group


def _ask(world: World, questions: Sequence[Question], size: int | None) -> list[dict[str, Any]]:
    """Fill a memory and ask it: one record a question."""
    with world.library(corpus_documents(questions), deferred=True) as library:
        atoms = library.memory.stats().atoms
        if size is not None:
            atoms += _fill(library, world.filler(questions), size - atoms)
        asked = ask("atoms", library, questions, SYSTEMS["atoms"])
        return [_look(library, one, atoms) for one in asked]


def _fill(library: Library, documents: Iterable[CorpusDocument], wanted: int) -> int:
    """Add documents until so many atoms are there, or documents are at an end; return how many were added."""
    added, more = 0, iter(documents)
    while added < wanted and (next_ones := list(islice(more, 1))):
        added += add_documents(library.memory, next_ones)
    return added


def _look(library: Library, asked: Asked, atoms: int) -> dict[str, Any]:
    """Ask once more, step by step and with a clock: everything that is needed is compiled by now."""
    memory, question = library.memory, asked.question
    began = time.perf_counter()
    query = memory.encode_query(question.question)
    encoded = time.perf_counter()
    candidates = memory.candidates(query)
    searched = time.perf_counter()
    route = memory.route(query, candidates)
    memory.compose(memory.gate(question.question, route))
    done = time.perf_counter()
    ranked = [one.atom.id for one in sorted((*route.selected, *route.rejected), key=lambda one: -one.score)]
    gold = library.gold(question)
    told = gold is not None and holds_answer(question, gold)
    rank = ranked.index(gold.id) + 1 if told and gold and gold.id in ranked else None
    first = bool(gold and asked.prediction.atoms[:1] == (gold.id,))
    return {
        "asked": asked, "atoms": atoms, "told": told, "rank": rank, "first": first,
        "search": (searched - encoded) * 1000, "prepare": (done - began) * 1000,
    }  # fmt: skip


def _row(size: int | None, seen: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    told = [one for one in seen if one["told"]]
    scores = [one["asked"].scores.f1 for one in seen]
    return {
        "stored": "own document" if size is None else size,
        "atoms": fmean(one["atoms"] for one in seen),
        "n": len(seen),
        **{f"recall@{k}": _mean([one["rank"] is not None and one["rank"] <= k for one in told]) for k in KS},
        "first is gold": _mean([one["first"] for one in told]),
        "F1": fmean(scores),
        "95 %": interval(scores, [one["asked"].question.doc_id for one in seen], seed=seed),
        "abstained": fmean(one["asked"].prediction.abstained for one in seen),
        "search ms": median(one["search"] for one in seen),
        "prepare ms": median(one["prepare"] for one in seen),
    }


def _mean(values: Sequence[bool]) -> float | None:
    return fmean(values) if values else None
