"""Where a probe works: questions of a folder, documents to put around them, and memories to put both into."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeAlias

from parametric_memory.errors import ConfigError, UnreadableDocumentError
from parametric_memory.evaluation.datasets import (
    CorpusDocument,
    Question,
    corpus_documents,
    dataset_name,
    read_questions,
    sample,
)
from parametric_memory.evaluation.probes.thrift import thrifty
from parametric_memory.evaluation.systems import Library, Setting, exact_memory
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import Document, stable_id

logger = logging.getLogger(__name__)

#: Called with what is being done, how many of it are done, and of how many.
Progress: TypeAlias = Callable[[str, int, int], None]
#: Longest document that is put around others, in characters.
FILLER_CHARS = 2000


@dataclass(frozen=True, slots=True)
class World:
    """What a probe is given.

    Attributes:
        parts: A memory whose parts are used; nothing is stored in it.
        data: Folder of files of questions (see `parametric_memory.evaluation.datasets`), for probes that need them.
        folder: For memories; nothing in it is kept.
        limit: Questions of each sample.
        seed: Of samples, and of everything that is drawn.
        lengths: Tokens that documents are padded to.
        stored: Atoms that memories are filled up to.
        progress: Called as the work goes on.
        out: Where a probe may keep what it has done so far; else in `folder`.
    """

    parts: ParametricMemory
    data: Path | None
    folder: Path
    limit: int = 50
    seed: int = 0
    lengths: tuple[int, ...] = (128, 512, 2048, 8192)
    stored: tuple[int, ...] = (100, 1000, 10_000)
    progress: Progress = lambda _task, _done, _total: None
    out: Path | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    def files(self) -> dict[str, Path]:
        """Return the folder's files of questions by the names of their datasets."""
        kinds = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz")
        paths = sorted(self.data.iterdir()) if self.data else []
        found = [path for path in paths if path.name.endswith(kinds)]
        return {dataset_name(path): path for path in found}

    def kept(self, name: str) -> Path:
        """Return the file where a probe keeps its answers as they come."""
        folder = self.out or self.folder
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.jsonl"

    def questions(
        self, *names: str, only: Callable[[Question], bool] = lambda _question: True, others: bool = True
    ) -> list[Question]:
        """Return a sample of answerable questions of the first of these datasets that the folder has.

        Args:
            names: Datasets, the best first.
            only: Which questions may be drawn.
            others: Without any of these, take the folder's first file of questions.

        Raises:
            ConfigError: If nothing in the folder has such questions.
        """
        files = self.files()
        more = sorted(files.keys() - set(names)) if others else []
        for name in [*(name for name in names if name in files), *more]:
            try:
                read = read_questions(files[name])
            except UnreadableDocumentError as error:
                logger.info("probing: %s", error)
                continue
            if fitting := [question for question in read if question.answers and only(question)]:
                return sample(fitting, limit=self.limit, seed=self.seed)
        raise ConfigError(
            f"a probe needs questions: {self.data} has no file of them that fits; the first choice is {names[0]}.jsonl"
        )

    def sets(self, *names: str) -> list[str]:
        """Return which of these datasets the folder has, or all that it has if it has none of these."""
        files = self.files()
        return [name for name in names if name in files] or list(files)

    def filler(self, beside: Sequence[Question], *, max_chars: int = FILLER_CHARS) -> Iterator[CorpusDocument]:
        """Yield documents of other datasets than these questions', first those to measure with, then the others.

        Their ids begin with the dataset's name: two sets may number their documents alike.

        Left out are long ones, and what the questions' own documents say: those of their titles or their texts.
        """
        datasets = {question.dataset for question in beside}
        titles = {question.title for question in beside if question.title}
        seen = {question.document for question in beside}
        for name, path in sorted(self.files().items(), key=lambda item: (".dev" not in item[0], item[0])):
            if name in datasets:
                continue
            for document in self._shuffled(path):
                short = len(document.document) <= max_chars
                if short and document.document not in seen and document.title not in titles:
                    seen.add(document.document)
                    yield document._replace(doc_id=f"{name}/{document.doc_id}")

    @contextmanager
    def library(
        self,
        documents: Iterable[CorpusDocument],
        *,
        setting: Setting = "corpus",
        deferred: bool = False,
    ) -> Iterator[Library]:
        """Give a library of these documents for the length of a block.

        Args:
            documents: Added in their order, each under its ``doc_id``.
            setting: Whether a question is asked of its own document or of all.
            deferred: Compile only what is routed (see `parametric_memory.evaluation.probes.thrift`).
        """
        with self._beside(deferred=deferred) as memory, closing(Library(memory, setting=setting)) as library:
            add_documents(memory, documents)
            yield library

    def _beside(self, *, deferred: bool) -> ParametricMemory:
        parts, path = self.parts, self.folder / str(next(self._numbers))
        return thrifty(parts, path) if deferred else exact_memory(parts, path)

    def _shuffled(self, path: Path) -> list[CorpusDocument]:
        try:
            documents = corpus_documents(path)
        except UnreadableDocumentError as error:
            logger.info("probing: %s", error)
            return []
        return sorted(documents, key=lambda document: stable_id(str(self.seed), document.doc_id))


def add_documents(memory: ParametricMemory, documents: Iterable[CorpusDocument]) -> int:
    """Add documents, each under its ``doc_id``, and return how many atoms they have."""
    atoms = 0
    for one in documents:
        found = Document.of(one.document, source=one.doc_id, title=one.title, metadata={"doc_id": one.doc_id})
        result = memory.add(found)
        atoms += len(result["results"])
        for problem in result["errors"]:
            logger.warning("probing: document %s: %s", problem["source"], problem["error"])
    return atoms


def until(documents: Iterable[CorpusDocument], *, chars: int) -> list[CorpusDocument]:
    """Return documents until they have so many characters in all."""
    taken: list[CorpusDocument] = []
    for document in documents:
        if chars <= 0:
            break
        taken.append(document)
        chars -= len(document.document)
    return taken
