"""Question answering files as training examples: a question, its answer, and the atoms that answer it.

Reads JSONL files (one object a line: ``document``, ``question``, ``answers`` and, if known, ``title``; or ``triples``),
splits documents into sentences as `ingest` does, and finds for each question the sentences it stands on (see `kinds`).
Whole documents (articles, where titles tell; subjects, where there are triples) are held out for validation, never
single rows, and what quotes a held-out document from another file is not trained on.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from parametric_memory.errors import TrainingError
from parametric_memory.training.alignment import words
from parametric_memory.training.corpus import Corpus, Example
from parametric_memory.training.kinds import (
    Draft,
    Kind,
    Row,
    any_kind,
    cloze,
    extractive,
    free_form,
    multi_hop,
    reasoned,
    triples,
)
from parametric_memory.types import stable_id

logger = logging.getLogger(__name__)

#: A question with its answer and the sentences that it stands on.
Asked: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """How a file is used.

    Attributes:
        questions: At most so many, documents in a shuffled order.
        kind: What its rows hold.
        each: At most so many of one document; all if None.
        alone: Take sentences out of their documents: it costs a fifth of the base model's work, and teaches atoms that
            stand by themselves.
        titled: Whether ``title`` names what the document is about.
    """

    questions: int
    kind: Kind = any_kind
    each: int | None = None
    alone: bool = False
    titled: bool = True

    def scaled(self, scale: float) -> Source:
        """Return the source with so many times as many questions, at least one."""
        each = self.each and max(1, round(self.each * scale))
        return replace(self, questions=max(1, round(self.questions * scale)), each=each)


#: What is trained on by default: 45,000 questions, three in five of them from SQuAD.
DEFAULT_MIXTURE = {
    "squad1.1.train": Source(15_000, extractive),
    "squad2.0.train": Source(5_000, extractive),
    "squad1.1_sentences.train": Source(7_500, extractive),
    "squad1.1_train_more.train": Source(5_000, extractive, alone=True),
    "squad1.1_unanswerable_constructed.train": Source(1_500, extractive),
    "squadshifts_amazon.train": Source(1_500, extractive, alone=True),
    "nq_swap.train": Source(2_500, extractive, alone=True),
    "counterfact.train": Source(1_000, cloze, each=1),
    "qamr.train1": Source(700, extractive, each=2),
    "qamr.train2": Source(700, extractive, each=2),
    "qasrl_wiki.train": Source(700, extractive, each=1),
    "qanom.train": Source(300, extractive, each=1),
    "qadiscourse.train": Source(700, free_form, each=1),
    "wikiwhy.train": Source(700, free_form),
    "hotpotqa_distractor.train": Source(500, multi_hop),
    "2wikimultihopqa_distractor.train": Source(500, multi_hop),
    "musique_ans.train": Source(100, multi_hop),
    "tweetqa.train": Source(700, free_form, titled=False),
    "fairytaleqa.train": Source(700, free_form),
    "ropes.train": Source(500, reasoned, each=2, titled=False),
    "boolq.train": Source(700, reasoned),
    "strategyqa.train": Source(300, reasoned),
    "redocred.train": Source(700, triples, each=2),
    "knowledgenet.train": Source(400, triples, each=2),
    "fewrel.train": Source(700, triples),
    "dart_tables.train": Source(200, triples, each=2),
    "e2e_cleaned.train": Source(300, triples, each=1),
}
#: What token routers learn from by default: no base model reads it, so it may be more; an eighth of it has no answer.
SPAN_MIXTURE = {
    **DEFAULT_MIXTURE,
    "squad1.1.train": Source(25_000, extractive),
    "squad1.1_sentences.train": Source(10_000, extractive),
    "squad1.1_unanswerable_constructed.train": Source(12_000, extractive),
    "squadshifts_amazon.train": Source(5_000, extractive),
    "qamr.train1": Source(2_000, extractive, each=4),
    "qamr.train2": Source(2_000, extractive, each=4),
    "tweetqa.train": Source(3_000, free_form, titled=False),
    "ropes.train": Source(2_000, reasoned, each=4, titled=False),
}
MAX_DOCUMENT_CHARS = 20_000
VALIDATION_SHARE = 0.03
RESERVED_SHARE = 0.2
#: So many words in a row are a quotation, unless so many documents say them.
RUN, COMMON = 10, 20


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


def read_corpus(folder: Path, mixture: Mapping[str, Source] = DEFAULT_MIXTURE, *, scale: float = 1.0) -> Corpus:
    """Read a folder's files, aligned to sentences; what cannot be used is left out, counted by reason and logged.

    Args:
        folder: Holds ``*.jsonl`` or ``*.jsonl.gz`` files.
        mixture: How much of which file, by its name without extension; every file as a whole, if the folder has none
            of them.
        scale: Multiplies how many questions are taken of each file, and of each of its documents.

    Raises:
        TrainingError: If there is no file to read.
    """
    files = {path.name.removesuffix(".gz").removesuffix(".jsonl"): path for path in sorted(folder.glob("*.jsonl*"))}
    if not files.keys() & mixture.keys():
        mixture = dict.fromkeys(files, Source(questions=1_000_000))
    if not files:
        raise TrainingError(f"reading training data: {folder} has no *.jsonl or *.jsonl.gz file to train on")
    corpus, asked = Corpus(), set[Asked]()
    for name, source in mixture.items():
        if name not in files:
            logger.warning("training data: %s has no file %s.jsonl(.gz); going on without it", folder, name)
            continue
        rows = list(read_rows(files[name]))
        taken, left_out = _read(corpus, rows, source.scaled(scale), asked)
        reasons = "".join(f"; {count}: {reason}" for reason, count in left_out.most_common())
        logger.info("training data: %s, %d questions of %d rows%s", name, taken, len(rows), reasons)
    quoting = len(corpus.train)
    corpus.train = _without_quotes(corpus)
    quoting -= len(corpus.train)
    logger.info(
        "training data: %d questions to train on, %d held out; %d left out as their documents quote held-out ones",
        len(corpus.train), len(corpus.validation), quoting,
    )  # fmt: skip
    return corpus


def _read(corpus: Corpus, rows: Sequence[Row], source: Source, asked: set[Asked]) -> tuple[int, Counter[str]]:
    """Add a file's questions; return how many, and how many were left out for which reason."""
    taken, left_out, of_document = 0, Counter[str](), Counter[str]()
    for row in sorted(rows, key=_order):
        document = row.get("document") or ""
        if taken == source.questions or of_document[document] == source.each:
            left_out["enough of the file or the document is taken"] += 1
            continue
        draft = _draft(corpus, row, source)
        left_out.update(draft.left_out)
        for example in sorted(draft.examples, key=lambda made: stable_id("order", document, made.question)):
            key = _asked(draft, example)
            if key in asked:
                left_out["it was asked before"] += 1
            elif taken == source.questions or of_document[document] == source.each:
                left_out["enough of the file or the document is taken"] += 1
            else:
                made = _add(corpus, draft, example, alone=source.alone)
                (corpus.validation if _held_out(row, titled=source.titled) else corpus.train).append(made)
                asked.add(key)
                taken += 1
                of_document[document] += 1
    return taken, left_out


def _order(row: Row) -> tuple[str, str]:
    """Return what shuffles documents and their questions, the same way everywhere (and not as `held_out` does)."""
    return stable_id("order", row.get("document") or ""), stable_id("order", row.get("question") or "")


def _draft(corpus: Corpus, row: Row, source: Source) -> Draft:
    document, question = row.get("document") or "", (row.get("question") or "").strip()
    if not document.strip() or not (question or row.get("triples")):
        return Draft((), left_out=("it has no document or no question",))
    if len(document) > MAX_DOCUMENT_CHARS:
        return Draft((), left_out=(f"its document is longer than {MAX_DOCUMENT_CHARS} characters",))
    title = (source.titled and row.get("title")) or ""
    return source.kind({**row, "question": question, "title": title, "answers": row.get("answers") or ()}, corpus.split)


def _asked(draft: Draft, example: Example) -> Asked:
    texts = [text for section in draft.sections for text in section.texts]
    stood_on = (texts[atom] for atom in example.golds or example.look_alikes)
    return (example.question.lower(), example.answer.lower(), *stood_on)


def _add(corpus: Corpus, draft: Draft, example: Example, *, alone: bool) -> Example:
    """Add the sections that a question of a draft stands on; return the question about the corpus's atoms."""
    used = {*example.golds, *example.look_alikes}
    atoms: dict[int, int] = {}
    begin = 0
    for section in draft.sections:
        numbers = range(begin, begin + len(section.texts))
        begin = numbers.stop
        kept = [number for number in numbers if number in used or not alone]
        if not used.isdisjoint(kept):
            texts = [section.texts[number - numbers.start] for number in kept]
            atoms.update(zip(kept, corpus.add(texts, section.title), strict=True))
    return replace(
        example,
        golds=tuple(atoms[atom] for atom in example.golds),
        places=tuple(place._replace(atom=atoms[place.atom]) for place in example.places),
        look_alikes=tuple(atoms[atom] for atom in example.look_alikes),
    )


def held_out(document: str, *, title: str = "") -> bool:
    """Return whether training keeps its hands off a document, of any file: its title's hash decides, or its text's."""
    return int(stable_id(title or document)[:8], 16) / 0xFFFFFFFF < VALIDATION_SHARE


def reserved(document: str, *, title: str = "") -> bool:
    """Return whether a document may be kept from token routers: what they find in others is better than it will be.

    A compiler that is trained on what a router finds (``gates = "router"``) needs documents that it has not read.
    """
    return int(stable_id("reserved", title or document)[:8], 16) / 0xFFFFFFFF < RESERVED_SHARE


def _held_out(row: Row, *, titled: bool) -> bool:
    """Return whether a row is held out: by its document or, if it states facts, by any subject too."""
    subjects = {fact[0] for fact in row.get("triples") or ()}
    title = (titled and row.get("title")) or ""
    return held_out(row["document"], title=title) or any(held_out("", title=subject) for subject in subjects)


def _without_quotes(corpus: Corpus) -> list[Example]:
    """Return the training questions none of whose documents says what a held-out document says, word for word.

    Files quote one another: a sentence of a held-out article may be a document of its own in another file.
    """
    kept = {corpus.document_of[atom] for example in corpus.validation for atom in _atoms(example)}
    runs = {run for document in kept for run in _runs(corpus, document)}
    quoted = [runs & set(_runs(corpus, document)) for document in range(len(corpus.documents))]
    documents = Counter(run for found in quoted for run in found)
    quoting = {number for number, found in enumerate(quoted) if any(documents[run] < COMMON for run in found)}
    return [
        example for example in corpus.train if quoting.isdisjoint(corpus.document_of[atom] for atom in _atoms(example))
    ]


def _atoms(example: Example) -> tuple[int, ...]:
    return (*example.golds, *example.look_alikes)


def _runs(corpus: Corpus, document: int) -> Iterator[str]:
    """Yield every `RUN` words in a row of a document's sentences, and whole sentences that are shorter.

    Words, since files space, quote and cut the same sentence differently.
    """
    for atom in corpus.documents[document]:
        said = words(corpus.texts[atom])
        for begin in range(max(1, len(said) - RUN + 1)):
            yield " ".join(said[begin : begin + RUN])
