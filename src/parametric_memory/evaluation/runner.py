"""An evaluation from files of questions to a folder of results, in one call.

The folder gets ``answers.jsonl`` (every answer, as it comes), ``results.json`` and ``report.md`` (the same figures, for
programs and for people), ``timings.json`` (the measured times), ``settings.json``, and ``memories/`` (the compiled
documents; it may be removed). A run into the same folder with the same settings goes on where the last one stopped:
answers that are there are not asked for again.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, get_args

import torch

from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.answers import AnswerFile
from parametric_memory.evaluation.datasets import (
    CorpusDocument,
    Question,
    corpus_documents,
    dataset_name,
    read_questions,
    sample,
)
from parametric_memory.evaluation.desk import Desk, OpenMemory, Row, Sheet, desk_in_process
from parametric_memory.evaluation.jobs import Call, Job, work_through
from parametric_memory.evaluation.machine import circumstances, command
from parametric_memory.evaluation.report import figures, render, stated
from parametric_memory.evaluation.signatures import compiled_by, dependencies, parts_of, signature, texts_of
from parametric_memory.evaluation.systems import CHUNKED, SYSTEMS, UNSEARCHED, Library, LibrarySystem, Setting
from parametric_memory.evaluation.timings import measure
from parametric_memory.memory import ParametricMemory

logger = logging.getLogger(__name__)

#: Called with what is being done, how many of it are done, and of how many.
Progress: TypeAlias = Callable[[str, int, int], None]
#: Questions that are asked together: so many composed adapters are in memory at once.
TOGETHER = 64
#: Documents that are read before progress is told.
FILLED = 8


def evaluate(
    files: Sequence[Path | str],
    systems: Sequence[str],
    *,
    out: Path | str,
    limit: int | None = None,
    seed: int = 0,
    setting: Setting = "own",
    timed: int = 20,
    workers: int = 1,
    open_memory: OpenMemory | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask every system every question, and write what came out.

    Args:
        files: Questions (see `parametric_memory.evaluation.datasets`), one dataset each.
        systems: Names of `parametric_memory.evaluation.systems.SYSTEMS`.
        out: Folder for the results; made if it is not there.
        limit: Questions per dataset, sampled with the seed; None for all.
        seed: Of the sample.
        setting: ``own``: a question is asked of the atoms of its own document, and of those of all documents of its
            file if it names none; ``corpus``: always of all, also of documents that no question is about.
        timed: Questions per dataset that are also asked one at a time, the systems in turn, for the times; 0 for none.
        workers: Processes that answer side by side, each with a share of the threads. Several small ones beat one
            large one on a CPU; on a GPU leave it at one.
        open_memory: Opens an empty memory at a path; by default the built-in one. It is called once a process, and
            every dataset gets a memory with the same parts. With several workers it must survive pickling.
        progress: Called as the work goes on.

    Returns:
        What ``results.json`` holds.

    Raises:
        ConfigError: If a setting makes no sense, naming all that do not.
        UnreadableDocumentError: If a file does not hold questions.
    """
    paths, out, report = [Path(file) for file in files], Path(out), progress or _silent
    _check(paths, systems, limit, setting, timed, workers)
    questions = {path: sample(read_questions(path), limit=limit, seed=seed) for path in paths}
    out.mkdir(parents=True, exist_ok=True)
    opened = open_memory or _built_in
    with (
        TemporaryDirectory(prefix="pmem-eval-", ignore_cleanup_errors=True) as folder,
        opened(Path(folder) / "parts") as parts,
    ):
        # Sums of floats depend on the threads, in their last digits.
        threads = {"threads": _threads(workers)}
        settings = {"setting": setting, "limit": limit, "seed": seed, **parts_of(parts), **threads}
        stored = compiled_by(parts) | threads
        sheets = [_sheet(path, asked, setting, stored, out / "memories") for path, asked in questions.items()]
        signed = _signatures(parts, sheets, systems, _threads(workers))
        signatures = _by_system(signed)
        asked = {"files": [str(path) for path in paths], "systems": list(systems), "signatures": signatures}
        _write(out / "settings.json", settings | asked | circumstances(parts))
        run = _Run(sheets, systems, AnswerFile(out / "answers.jsonl", signature=lambda *key: signed.get(key)), report)
        with closing(Desk(parts, sheets)) as desk:
            with _calls(desk, workers, opened, Path(folder), sheets) as calls:
                run.go(calls)
            datasets = {
                sheet.name: run.held[sheet.name]
                | figures(
                    run.rows(sheet),
                    _timings(out / "timings.json", desk, sheet, signatures[sheet.name], timed, report),
                )
                for sheet in sheets
            }
            answers = {sheet.name: run.rows(sheet) for sheet in sheets}
    results = {"settings": settings, "datasets": datasets, "stated": stated(answers)}
    (out / "report.md").write_text(render(results, command=command()), encoding="utf-8")
    return _write(out / "results.json", results)


def _check(
    paths: Sequence[Path], systems: Sequence[str], limit: int | None, setting: str, timed: int, workers: int
) -> None:
    """Name every setting that makes no sense, before any model is loaded."""
    names = [dataset_name(path) for path in paths]
    problems = [f"unknown system {name!r}; known are {', '.join(SYSTEMS)}" for name in systems if name not in SYSTEMS]
    problems += [f"system {name!r} is named twice" for name in sorted({s for s in systems if systems.count(s) > 1})]
    problems += [f"two files are called {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]
    if not systems:
        problems.append(f"no system is named; known are {', '.join(SYSTEMS)}")
    if not paths:
        problems.append("no file of questions is named")
    if limit is not None and limit < 1:
        problems.append(f"limit is {limit}, expected 1 or more, or None for all questions")
    if setting not in get_args(Setting):
        problems.append(f"setting is {setting!r}, expected one of {', '.join(get_args(Setting))}")
    if timed < 0:
        problems.append(f"timed is {timed}, expected 0 or more")
    if workers < 1:
        problems.append(f"workers is {workers}, expected 1 or more")
    if problems:
        raise ConfigError("an evaluation cannot start:", problems=problems)


# ---------------------------------------------------------------- asking


def _built_in(path: Path) -> ParametricMemory:
    return ParametricMemory.from_pretrained(path=path)


@contextmanager
def _calls(
    desk: Desk, workers: int, open_memory: OpenMemory, folder: Path, sheets: Sequence[Sheet]
) -> Iterator[list[Call]]:
    """Give one way to call a desk per worker: this process's, or those of processes beside it."""
    if workers == 1:
        yield [lambda method, *given: getattr(desk, method)(*given)]
        return
    threads = _threads(workers)
    with ExitStack() as stack:
        desks = [desk_in_process(open_memory, folder / f"parts-{n}", sheets, threads=threads) for n in range(workers)]
        yield [stack.enter_context(one) for one in desks]


@dataclass(slots=True, frozen=True)
class _Part:
    """Questions of a sheet that are asked together, of the systems that have not answered all of them."""

    sheet: Sheet
    begin: int
    end: int
    systems: tuple[str, ...]


class _Run:
    """What has been asked, what is still to be asked, and of what: jobs that fill memories, and jobs that ask."""

    def __init__(self, sheets: Sequence[Sheet], systems: Sequence[str], answers: AnswerFile, report: Progress) -> None:
        self._sheets, self._systems, self._answers, self._report = sheets, systems, answers, report
        self._lock = threading.Lock()
        self._parts = {sheet.name: list(self._missing(sheet)) for sheet in sheets}
        everything = [part for parts in self._parts.values() for part in parts]
        self._done, self._total = 0, sum((part.end - part.begin) * len(part.systems) for part in everything)
        self._read, self._to_read = 0, sum(_size(sheet.documents) for sheet in sheets)
        self.held: dict[str, dict[str, int]] = {}

    def go(self, calls: Sequence[Call]) -> None:
        """Fill the memories, and ask of each what has not been asked; the largest first, lest all wait for it alone."""
        by_size = sorted(self._sheets, key=lambda sheet: -_size(sheet.documents))
        work_through(calls, [partial(self._fill, sheet) for sheet in by_size])
        for call in calls:
            call("close")

    def rows(self, sheet: Sheet) -> dict[str, list[Row]]:
        """Return the rows of every system, in the order of the questions."""
        known = {system: self._answers.of(sheet.name, system) for system in self._systems}
        return {system: [rows[question.id] for question in sheet.questions] for system, rows in known.items()}

    def _missing(self, sheet: Sheet) -> Iterator[_Part]:
        known = {system: set(self._answers.of(sheet.name, system)) for system in self._systems}
        begin = 0
        for batch in _batches(sheet.questions):
            asked = {question.id for question in batch}
            missing = tuple(system for system in self._systems if asked - known[system])
            if missing:
                yield _Part(sheet, begin, begin + len(batch), missing)
            begin += len(batch)

    def _fill(self, sheet: Sheet, call: Call) -> list[Job]:
        for begin in range(0, len(sheet.documents), FILLED):
            call("fill", sheet.name, begin, begin + FILLED)
            self._report_reading(sheet.documents[begin : begin + FILLED])
        documents, atoms = call("held", sheet.name)
        if not CHUNKED.keys().isdisjoint(self._systems):
            call("fill_chunks", sheet.name)
        self.held[sheet.name] = {"documents": documents, "atoms": atoms}
        logger.info("evaluating %s: the memory holds %d documents, %d atoms", sheet.name, documents, atoms)
        return [partial(self._ask, part) for part in self._parts[sheet.name]]

    def _report_reading(self, documents: Sequence[CorpusDocument]) -> None:
        with self._lock:
            self._read += _size(documents)
            self._report("reading characters", self._read, self._to_read)

    def _ask(self, part: _Part, call: Call) -> list[Job]:
        for system in part.systems:
            # All of them, also those that are known: the last digits of a score depend on the whole batch.
            rows = call("answer", part.sheet.name, system, part.begin, part.end)
            with self._lock:
                known = self._answers.of(part.sheet.name, system)
                self._answers.append([row for row in rows if row["id"] not in known])
                self._done += len(rows)
                self._report("asking", self._done, self._total)
                logger.info("evaluating %s: %s has answered to question %d", part.sheet.name, system, part.end)
        return []


def _timings(
    path: Path, desk: Desk, sheet: Sheet, signatures: Mapping[str, list[str]], timed: int, report: Progress
) -> dict[str, list[float]]:
    """Return milliseconds by system, measured now unless one earlier run has measured all these systems together."""
    measured = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    asked = sheet.questions[:timed]
    key = f"{sheet.name}:{len(asked)}"
    known = measured.get(key, {})
    if any(known.get(system, {}).get("settings") != signatures[system] for system in signatures):
        held = desk.library(sheet.name)
        with closing(Library(held.memory, setting=held.setting, remember=False)) as library:
            ms = measure([LibrarySystem(system, library, SYSTEMS[system]) for system in signatures], asked, report)
        measured[key] = known = {system: {"settings": signatures[system], "ms": ms[system]} for system in signatures}
        _write(path, measured)
    return {system: known[system]["ms"] for system in signatures}


# ---------------------------------------------------------------- what the figures hold for


def _sheet(path: Path, asked: Sequence[Question], setting: Setting, stored: Mapping[str, Any], root: Path) -> Sheet:
    """Return a file's questions as they are asked; their memory is found by what it holds, and what compiles it."""
    name = dataset_name(path)
    everywhere = setting == "corpus" or any(question.anywhere for question in asked)
    documents = tuple(corpus_documents(path if everywhere else asked))
    folder = root / f"{name}-{signature(stored, *texts_of(documents))}"
    return Sheet(name, tuple(asked), "corpus" if everywhere else "own", documents, folder)


def _signatures(
    parts: ParametricMemory, sheets: Sequence[Sheet], systems: Sequence[str], threads: int
) -> dict[tuple[str, str, str], str]:
    """Return by dataset, system and question what tells answers apart that may differ, if only in the last digits.

    Questions that are asked together share a signature, which knows no others; where nothing is searched, it knows no
    documents but theirs. So a larger sample goes on from a smaller one wherever the same is searched, or nothing.
    """
    made_with = {system: dependencies(system, parts) | {"threads": threads} for system in systems}
    signed: dict[tuple[str, str, str], str] = {}
    for sheet in sheets:
        searched = signature({"setting": sheet.setting}, *texts_of(sheet.documents))
        for system in systems:
            around = () if system in UNSEARCHED else (searched,)
            for batch in _batches(sheet.questions):
                made = signature(made_with[system], *texts_of(batch), *around)
                signed |= {(sheet.name, system, question.id): made for question in batch}
    return signed


def _by_system(signed: Mapping[tuple[str, str, str], str]) -> dict[str, dict[str, list[str]]]:
    """Return the signatures by dataset and system, each once."""
    found: dict[str, dict[str, list[str]]] = {}
    for (dataset, system, _), made in signed.items():
        known = found.setdefault(dataset, {}).setdefault(system, [])
        if made not in known:
            known.append(made)
    return found


def _size(documents: Sequence[CorpusDocument]) -> int:
    return sum(len(one.document) for one in documents)


def _batches(questions: Sequence[Question]) -> list[Sequence[Question]]:
    return [questions[begin : begin + TOGETHER] for begin in range(0, len(questions), TOGETHER)]


def _threads(workers: int) -> int:
    return max(1, torch.get_num_threads() // workers)


def _write(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write JSON so that a killed run leaves the old file or the new one, nothing between; return what can be read."""
    fresh = path.with_name(f"{path.name}.new")
    written = json.dumps(content, indent=2, ensure_ascii=False)
    fresh.write_text(f"{written}\n", encoding="utf-8")
    fresh.replace(path)
    read: dict[str, Any] = json.loads(written)
    return read


def _silent(_task: str, _done: int, _total: int) -> None:
    pass
