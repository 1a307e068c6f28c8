"""An evaluation from files of questions to a folder of results, in one call.

The folder gets ``answers.jsonl`` (every answer, as it comes), ``results.json`` and ``report.md`` (the same figures, for
programs and for people), ``timings.json`` (every measured time), ``settings.json``, and ``memories/`` (the compiled
documents; it may be removed). A run into the same folder with the same settings goes on where the last one stopped:
answers that are there are not asked for again.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, get_args

import torch

from parametric_memory import __version__
from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.answers import AnswerFile
from parametric_memory.evaluation.datasets import Question, dataset_name, read_questions, sample
from parametric_memory.evaluation.desk import Desk, OpenMemory, Row, Sheet, desk_in_process, sheets_of
from parametric_memory.evaluation.jobs import Call, Job, work_through
from parametric_memory.evaluation.machine import circumstances, command
from parametric_memory.evaluation.report import figures, render, stated
from parametric_memory.evaluation.systems import (
    CHUNKED,
    GENERATION,
    READING,
    SYSTEMS,
    UNSEARCHED,
    Library,
    LibrarySystem,
    Setting,
    depends_on,
)
from parametric_memory.evaluation.timings import measure
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import stable_id

logger = logging.getLogger(__name__)

#: Called with what is being done, how many of it are done, and of how many.
Progress: TypeAlias = Callable[[str, int, int], None]
#: Questions that are asked together: so many composed adapters are in memory at once.
TOGETHER = 64


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
        setting: ``own``: a question is asked of the atoms of its own document; ``corpus``: of those of all documents
            of its file.
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
    everything = {dataset_name(path): read_questions(path) for path in paths}
    questions = {name: sample(rows, limit=limit, seed=seed) for name, rows in everything.items()}
    out.mkdir(parents=True, exist_ok=True)
    opened = open_memory or _built_in
    with (
        TemporaryDirectory(prefix="pmem-eval-", ignore_cleanup_errors=True) as folder,
        opened(Path(folder) / "parts") as parts,
    ):
        settings = _settings(parts, limit=limit, seed=seed, setting=setting, workers=workers)
        hashes = {name: _hash(settings, asked) for name, asked in questions.items()}
        signed = _signatures(settings, questions, {system: depends_on(system, parts) for system in systems})
        asked = {"files": [str(path) for path in paths], "systems": list(systems)}
        _write(out / "settings.json", settings | {"hashes": hashes} | asked | circumstances(parts))
        folders = {name: out / "memories" / f"{name}-{hash_}" for name, hash_ in hashes.items()}
        sheets = sheets_of(questions, everything, setting, folders)
        run = _Run(sheets, systems, AnswerFile(out / "answers.jsonl", signature=lambda *key: signed.get(key)), report)
        with closing(Desk(parts, sheets, setting)) as desk:
            with _calls(desk, workers, opened, Path(folder), sheets, setting) as calls:
                run.go(calls)
            datasets = {
                sheet.name: run.held[sheet.name]
                | figures(run.rows(sheet), _timings(out / "timings.json", desk, sheet, systems, timed, report))
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
    desk: Desk, workers: int, open_memory: OpenMemory, folder: Path, sheets: Sequence[Sheet], setting: Setting
) -> Iterator[list[Call]]:
    """Give one way to call a desk per worker: this process's, or those of processes beside it."""
    if workers == 1:
        yield [lambda method, *given: getattr(desk, method)(*given)]
        return
    threads = _threads(workers)
    with ExitStack() as stack:
        desks = [
            desk_in_process(open_memory, folder / f"parts-{n}", sheets, setting, threads=threads)
            for n in range(workers)
        ]
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
        self.held: dict[str, dict[str, int]] = {}

    def go(self, calls: Sequence[Call]) -> None:
        """Fill the memories, and ask of each what has not been asked; the largest first, lest all wait for it alone."""
        by_size = sorted(self._sheets, key=lambda sheet: -sum(len(asked.document) for asked in sheet.documents))
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
        self._report("reading documents", len(self.held), len(self._sheets))
        documents, atoms = call("fill", sheet.name)
        if not CHUNKED.keys().isdisjoint(self._systems):
            call("fill_chunks", sheet.name)
        self.held[sheet.name] = {"documents": documents, "atoms": atoms}
        logger.info("evaluating %s: the memory holds %d documents, %d atoms", sheet.name, documents, atoms)
        return [partial(self._ask, part) for part in self._parts[sheet.name]]

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
    path: Path, desk: Desk, sheet: Sheet, systems: Sequence[str], timed: int, report: Progress
) -> dict[str, list[float]]:
    """Return milliseconds by system, measured now unless one earlier run has measured all these systems together."""
    measured = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    asked = sheet.questions[:timed]
    key = f"{sheet.folder.name}:{len(asked)}"
    if not set(systems) <= set(measured.get(key, ())):
        held = desk.library(sheet.name)
        with closing(Library(held.memory, setting=held.setting, remember=False)) as library:
            compared = [LibrarySystem(system, library, SYSTEMS[system]) for system in systems]
            measured[key] = measure(compared, asked, report)
        _write(path, measured)
    return {name: measured[key][name] for name in systems}


# ---------------------------------------------------------------- what the figures hold for


def _settings(memory: ParametricMemory, *, limit: int | None, seed: int, setting: str, workers: int) -> dict[str, Any]:
    """Return all that answers of every system depend on, besides the questions (see `depends_on` for the rest)."""
    model = getattr(memory.backend, "model", None)
    return {
        "setting": setting,
        "limit": limit,
        "seed": seed,
        "base_model": memory.backend.base_model,
        "base_fingerprint": memory.backend.fingerprint,
        "compiler": memory.compiler.name,
        "token_router": memory.token_router.name if memory.token_router else None,
        "key_encoder": memory.key_encoder.name,
        "dtype": str(getattr(model, "dtype", "")),
        "threads": _threads(workers),  # sums of floats depend on it, in their last digits
        "prompt": asdict(memory.prompt),
        "generation": asdict(GENERATION),
        "config": {name: asdict(memory.config)[name] for name in ("ingest", "routing", "max_rank", "unknown")},
        "version": __version__,
    }


def _batches(questions: Sequence[Question]) -> list[Sequence[Question]]:
    return [questions[begin : begin + TOGETHER] for begin in range(0, len(questions), TOGETHER)]


def _signatures(
    settings: Mapping[str, Any], questions: Mapping[str, Sequence[Question]], systems: Mapping[str, str]
) -> dict[tuple[str, str, str], str]:
    """Return the signature of every answer, by dataset, system and question.

    Args:
        settings: All that answers depend on, besides the questions.
        questions: By dataset.
        systems: By name, what their answers depend on beside that.
    """
    signed: dict[tuple[str, str, str], str] = {}
    for name, asked in questions.items():
        for system, more in systems.items():
            for batch in _batches(asked):
                signature = _signature(system, settings, asked, batch, more)
                signed |= {(name, system, question.id): signature for question in batch}
    return signed


def _signature(
    system: str, settings: Mapping[str, Any], asked: Sequence[Question], batch: Sequence[Question], more: str
) -> str:
    """Return what tells answers apart that may differ, if only in the last digits of a score.

    Who only reads, asks no compiler and no router; who searches nothing, is the same whatever else is asked or stored,
    so that a larger sample goes on from a smaller one.
    """
    concerning = dict(settings)
    if system in READING:
        concerning |= {"compiler": None, "token_router": None, "config": {"ingest": settings["config"]["ingest"]}}
    if system in UNSEARCHED:
        asked = batch
        concerning |= {"limit": None, "seed": None, "setting": None}
    return stable_id(_hash(concerning, asked), more)[:16]


def _threads(workers: int) -> int:
    return max(1, torch.get_num_threads() // workers)


def _hash(settings: Mapping[str, Any], questions: Sequence[Question]) -> str:
    """Return what tells answers of other settings, or to other questions, apart."""
    asked = [part for question in questions for part in (question.id, question.title, question.document)]
    return stable_id(json.dumps(settings, sort_keys=True), *asked)[:16]


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
