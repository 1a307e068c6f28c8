"""Question answering files as training examples: a question, its answer, and the atom it stands in.

Reads JSONL files (one object a line: ``document``, ``question``, ``answers`` and, if known, ``title``), splits
documents into sentences as `ingest` does, and finds for each question the sentence that holds its answer. Whole
documents (articles, where titles tell) are held out for validation, never single rows.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parametric_memory.errors import TrainingError
from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.types import stable_id

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """How much of a file is used: at most ``questions``, whole documents at a time.

    With ``alone`` a question's sentence is taken out of its document: it costs a fifth of the base model's work, and
    teaches atoms that stand by themselves.
    """

    questions: int
    alone: bool = False


#: Files the shipped checkpoint is trained on.
DEFAULT_MIXTURE = {
    "squad1.1.train": Source(14_000),
    "squad2.0.train": Source(5_000),
    "squad1.1_sentences.train": Source(10_000),
    "squad1.1_train_more.train": Source(5_000, alone=True),
    "qamr.train1": Source(3_000),
    "qamr.train2": Source(3_000),
    "nq_swap.train": Source(2_500, alone=True),
    "squadshifts_amazon.train": Source(3_000, alone=True),
}
MAX_DOCUMENT_CHARS = 4000
VALIDATION_SHARE = 0.03


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
        raise TrainingError(
            f"reading training data: {error}; --data takes a folder of *.jsonl or *.jsonl.gz"
        ) from error


def read_corpus(folder: Path, mixture: Mapping[str, Source] | None = None) -> Corpus:
    """Read a folder's files, aligned to sentences; rows that do not align, or have no answer, are left out and counted.

    Args:
        folder: Holds ``*.jsonl`` or ``*.jsonl.gz`` files.
        mixture: How much of which file, by its name without extension. By default the shipped checkpoint's mixture if
            the folder has a file of it, else every file as a whole.

    Raises:
        TrainingError: If there is no file to read.
    """
    files = {path.name.removesuffix(".gz").removesuffix(".jsonl"): path for path in sorted(folder.glob("*.jsonl*"))}
    if mixture is None:
        known = files.keys() & DEFAULT_MIXTURE.keys()
        mixture = DEFAULT_MIXTURE if known else dict.fromkeys(files, Source(questions=1_000_000))
    if not files.keys() & mixture.keys():
        raise TrainingError(f"reading training data: {folder} has no *.jsonl or *.jsonl.gz file to train on")
    corpus = Corpus()
    for name, source in mixture.items():
        if name not in files:
            logger.warning("training data: %s has no file %s.jsonl(.gz); going on without it", folder, name)
            continue
        rows = [row for row in read_rows(files[name]) if row["answers"] and not row.get("in_squad1_1_train_file")]
        # A hash of the document shuffles documents, the same way everywhere, and keeps a document's rows together.
        rows.sort(key=lambda row: stable_id(row["document"]))
        taken = sum(_add(corpus, row, alone=source.alone) for row in rows[: source.questions])
        logger.info("training data: %s, %d questions of %d aligned", name, taken, min(source.questions, len(rows)))
    return corpus


def _add(corpus: Corpus, row: dict[str, Any], *, alone: bool) -> bool:
    """Add a row's question if its answer stands in one of its document's sentences; return whether it did."""
    document, title = row["document"], row.get("title") or ""
    if len(document) > MAX_DOCUMENT_CHARS:
        return False
    texts = corpus.split(document)
    answer = " ".join(row["answers"][0].split()).strip(" .,;:")
    found = align(row["question"], answer, texts)
    if found is None:
        return False
    index, start = found
    atom = corpus.add(texts[index : index + 1], title)[0] if alone else corpus.add(texts, title)[index]
    example = Example(row["question"].strip(), answer, (atom,), (Place(atom, start, start + len(answer)),))
    (corpus.validation if held_out(document, title=title) else corpus.train).append(example)
    return True


def held_out(document: str, *, title: str = "") -> bool:
    """Return whether training keeps its hands off a document, of any file: its title's hash decides, or its text's."""
    return int(stable_id(title or document)[:8], 16) / 0xFFFFFFFF < VALIDATION_SHARE


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
