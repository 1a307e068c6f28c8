"""Question answering files as training examples: a question, its answer, and the atom it stands in.

Reads the JSONL format described in the reference (one object a line: ``document``, ``question``, ``answers``, …), splits
documents into sentences as `ingest` does, and finds for each question the sentence that holds its answer. Whole
documents (articles, where titles tell) are held out for validation, never single rows.
"""

from __future__ import annotations

import gzip
import json
import logging
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parametric_memory.errors import TrainingError
from parametric_memory.ingest import sentences
from parametric_memory.types import stable_id

logger = logging.getLogger(__name__)

#: Files the shipped checkpoint is trained on, with the largest number of questions taken from each.
DEFAULT_MIXTURE = {
    "squad1.1.train": 30_000,
    "squad1.1_sentences.train": 10_000,
    "squad1.1_train_more.train": 10_000,
    "squad2.0.train": 10_000,
    "qamr.train1": 8_000,
    "qamr.train2": 8_000,
    "nq_swap.train": 3_000,
    "squadshifts_amazon.train": 6_000,
}
MAX_DOCUMENT_CHARS = 4000
VALIDATION_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Example:
    """One question: ``gold`` is the index of the atom that answers it, ``start`` the answer's place in the atom's text."""

    question: str
    answer: str
    gold: int
    start: int


@dataclass(slots=True)
class Corpus:
    """Atoms' texts, the documents they come from (as ranges of atoms), and examples over them."""

    texts: list[str] = field(default_factory=list)
    document_of: list[int] = field(default_factory=list)
    documents: list[range] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    train: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)

    def siblings(self, atom: int) -> list[int]:
        """Return the other atoms of the same document."""
        return [other for other in self.documents[self.document_of[atom]] if other != atom]

    def add_document(self, text: str, title: str) -> range:
        """Split a document into atoms and return their indices."""
        texts = [" ".join(span.of(text).split()) for span in sentences(text)]
        atoms = range(len(self.texts), len(self.texts) + len(texts))
        self.texts.extend(texts)
        self.document_of.extend([len(self.documents)] * len(texts))
        self.documents.append(atoms)
        self.contexts.append(title)
        return atoms


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of one JSONL file, gzipped or not.

    Raises:
        TrainingError: If the file is missing or a line is not a JSON object, naming the line.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise TrainingError(f"reading {path}, line {number}: not a JSON object ({error})") from error
    except OSError as error:
        raise TrainingError(f"reading training data: {error}; --data takes a folder of *.jsonl or *.jsonl.gz") from error


def read_corpus(folder: Path, mixture: dict[str, int] | None = None, *, seed: int = 0) -> Corpus:
    """Read the files of a mixture from a folder, aligned to sentences; rows that do not align are left out and counted.

    Raises:
        TrainingError: If none of the files is there.
    """
    mixture = DEFAULT_MIXTURE if mixture is None else mixture
    corpus, found = Corpus(), 0
    known: dict[str, range] = {}
    for name, limit in mixture.items():
        path = next((p for p in (folder / f"{name}.jsonl.gz", folder / f"{name}.jsonl") if p.exists()), None)
        if path is None:
            logger.warning("training data: %s has no file %s.jsonl(.gz); going on without it", folder, name)
            continue
        found += 1
        rows = [row for row in read_rows(path) if row["answers"] and not row.get("in_squad1_1_train_file")]
        random.Random(seed).shuffle(rows)
        taken = sum(_add(corpus, row, known) for row in rows[:limit])
        logger.info("training data: %s, %d questions of %d aligned", name, taken, min(limit, len(rows)))
    if not found:
        raise TrainingError(f"reading training data: {folder} has none of {', '.join(mixture)}; see docs/reference")
    return corpus


def _add(corpus: Corpus, row: dict[str, Any], known: dict[str, range]) -> bool:
    """Add a row's question if its answer stands in one of its document's sentences; return whether it did."""
    document, title = row["document"], row.get("title") or ""
    if len(document) > MAX_DOCUMENT_CHARS:
        return False
    if document not in known:
        known[document] = corpus.add_document(document, title)
    answer = " ".join(row["answers"][0].split()).strip(" .,;:")
    gold = align(row["question"], answer, [corpus.texts[atom] for atom in known[document]])
    if gold is None:
        return False
    index, start = gold
    example = Example(row["question"].strip(), answer, known[document][index], start)
    held_out = int(stable_id(title or document)[:8], 16) / 0xFFFFFFFF < VALIDATION_SHARE
    (corpus.validation if held_out else corpus.train).append(example)
    return True


def align(question: str, answer: str, texts: Sequence[str]) -> tuple[int, int] | None:
    """Return which text answers the question, and the character where the answer starts in it; None if none holds it.

    Of several that hold the answer, the one that shares the most words with the question.
    """
    if not answer:
        return None
    pattern = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)", re.IGNORECASE)
    asked = set(re.findall(r"\w+", question.lower()))
    best: tuple[int, int, int] | None = None
    for index, text in enumerate(texts):
        match = pattern.search(text)
        if match:
            shared = len(asked & set(re.findall(r"\w+", text.lower())))
            if best is None or shared > best[0]:
                best = (shared, index, match.start())
    return None if best is None else best[1:]
