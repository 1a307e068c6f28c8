"""Synthetic worlds as training examples, and as rows of question answering files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.training.world.questions import Asker, Question
from parametric_memory.training.world.told import Spot
from parametric_memory.training.world.world import Split, World
from parametric_memory.types import stable_id

#: Questions that are asked for every entity of a world, about, and the fewest entities of one.
DENSITY, FEWEST = 7, 120
#: Share of the questions that validate: about held-out names, in reserved wordings.
VALIDATION = 0.05


def add_world(corpus: Corpus, *, questions: int, seed: int) -> int:
    """Add pages of two worlds and questions about them to a corpus; return how many questions.

    The worlds share no name and no wording of questions: one goes into ``corpus.train``, the other, held out, into
    ``corpus.validation``.

    Args:
        corpus: Grows.
        questions: How many in all; a twentieth of them validate.
        seed: Of everything.
    """
    held_out = round(VALIDATION * questions)
    splits: list[tuple[Split, list[Example], int]] = [
        ("train", corpus.train, questions - held_out),
        ("dev", corpus.validation, held_out),
    ]
    for split, examples, count in splits:
        examples += [_example(corpus, question) for question in world_questions(seed, count, split)]
    return questions


def world_rows(seed: int, questions: int, split: Split) -> Iterator[dict[str, Any]]:
    """Yield so many questions about a world as rows of a question answering file.

    Besides the keys that every such file has, ``kind`` names the relation and ``form`` the form of the question.
    """
    for question in world_questions(seed, questions, split):
        yield {
            "doc_id": f"world-{seed}-{stable_id(question.page.title, question.page.text)[:12]}",
            "title": question.page.title,
            "document": question.page.text,
            "question": question.text,
            "answers": [question.answer] if question.answer else [],
            "answerable": bool(question.answer),
            "dataset": "world",
            "split": split,
            "kind": question.relation.name,
            "form": question.form,
        }


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to a JSONL file, gzipped if its name says so, making its folder; return how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += 1
    return written


def world_questions(seed: int, count: int, split: Split) -> Iterator[Question]:
    """Yield so many questions about a world that is large enough for them."""
    if count:
        world = World(seed, max(FEWEST, count // DENSITY), split=split)
        yield from islice(Asker(world).questions(count), count)


def _example(corpus: Corpus, question: Question) -> Example:
    golds = tuple(_atom(corpus, spot) for spot in question.golds)
    places = (Place(golds[-1], question.place.start, question.place.end),) if question.place else ()
    tempting = tuple(_atom(corpus, spot) for spot in question.look_alikes)
    return Example(question.text, question.answer, tuple(sorted(golds)), places, tempting)


def _atom(corpus: Corpus, spot: Spot) -> int:
    texts = [statement.text for statement in spot.page.statements]
    return corpus.add(texts, spot.page.title)[spot.sentence]
