"""An evaluation from files of questions to a folder of results, in one call.

The folder gets ``answers.jsonl`` (every answer, as it comes), ``results.json`` and ``report.md`` (the same figures, for
programs and for people), ``timings.json`` (every measured time) and ``settings.json``. A run into the same folder with
the same settings goes on where the last one stopped: answers that are there are not asked for again.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, get_args

import torch

from parametric_memory import __version__
from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.answers import AnswerFile
from parametric_memory.evaluation.datasets import Question, dataset_name, read_questions, sample
from parametric_memory.evaluation.metrics import score
from parametric_memory.evaluation.report import figures, render
from parametric_memory.evaluation.systems import (
    GENERATION,
    SYSTEMS,
    Library,
    LibrarySystem,
    Prediction,
    Setting,
    System,
    holds_answer,
    scope,
)
from parametric_memory.evaluation.timings import measure
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import Document, stable_id

logger = logging.getLogger(__name__)

#: Called with what is being done, how many of it are done, and of how many.
Progress: TypeAlias = Callable[[str, int, int], None]
#: Questions that are asked together: so many composed adapters are in memory at once.
TOGETHER = 32


def evaluate(
    files: Sequence[Path | str],
    systems: Sequence[str],
    *,
    out: Path | str,
    limit: int | None = None,
    seed: int = 0,
    setting: Setting = "own",
    timed: int = 20,
    open_memory: Callable[[Path], ParametricMemory] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask every system every question, and write what came out.

    Args:
        files: JSON lines (see `parametric_memory.evaluation.datasets`), one dataset each.
        systems: Names of `parametric_memory.evaluation.systems.SYSTEMS`.
        out: Folder for the results; made if it is not there.
        limit: Questions per dataset, sampled with the seed; None for all.
        seed: Of the sample.
        setting: ``own``: a question is asked of the atoms of its own document; ``corpus``: of those of all documents
            that were sampled.
        timed: Questions per dataset that are also asked one at a time, the systems in turn, for the times; 0 for none.
        open_memory: Opens an empty memory at a path; by default the built-in one. It is called once, and every dataset
            gets a memory with the same parts, in a temporary folder.
        progress: Called as the work goes on.

    Returns:
        What ``results.json`` holds.

    Raises:
        ConfigError: If a setting makes no sense, naming all that do not.
        UnreadableDocumentError: If a file does not hold questions.
    """
    paths, out, progress = [Path(file) for file in files], Path(out), progress or _silent
    _check(paths, systems, limit, setting, timed)
    questions = {dataset_name(path): sample(read_questions(path), limit=limit, seed=seed) for path in paths}
    out.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="pmem-eval-", ignore_cleanup_errors=True) as folder,
        (open_memory or _built_in)(Path(folder) / "parts") as parts,
    ):
        settings = _settings(parts, limit=limit, seed=seed, setting=setting)
        hashes = {name: _hash(settings, asked) for name, asked in questions.items()}
        _write(out / "settings.json", settings | {"hashes": hashes} | _circumstances(paths, systems, parts))
        answers = AnswerFile(out / "answers.jsonl", settings=hashes)
        datasets: dict[str, Any] = {}
        for number, (name, asked) in enumerate(questions.items()):
            with _beside(parts, Path(folder) / str(number)) as memory:
                library = Library(memory, setting=setting)
                _fill(library, asked, progress)
                compared = [LibrarySystem(system, library, SYSTEMS[system]) for system in systems]
                rows = {system.name: _ask(system, library, asked, answers, progress) for system in compared}
                ms = _timings(out / "timings.json", compared, asked[:timed], hashes[name], progress)
                held = memory.stats()
                datasets[name] = {"documents": held.documents, "atoms": held.atoms, **figures(rows, ms)}
    results = {"settings": settings, "datasets": datasets}
    (out / "report.md").write_text(render(results, command=_command()), encoding="utf-8")
    return _write(out / "results.json", results)


def _check(paths: Sequence[Path], systems: Sequence[str], limit: int | None, setting: str, timed: int) -> None:
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
    if problems:
        raise ConfigError("an evaluation cannot start:", problems=problems)


# ---------------------------------------------------------------- asking


def _built_in(path: Path) -> ParametricMemory:
    return ParametricMemory.from_pretrained(path=path)


def _beside(memory: ParametricMemory, path: Path) -> ParametricMemory:
    """Return an empty memory at another path that shares all parts of this one."""
    return ParametricMemory(
        backend=memory.backend,
        compiler=memory.compiler,
        key_encoder=memory.key_encoder,
        path=path,
        router=memory.router,
        extractor=memory.extractor,
        prompt=memory.prompt,
        config=memory.config,
    )


def _fill(library: Library, questions: Sequence[Question], progress: Progress) -> None:
    """Add the documents of all questions, each under its ``doc_id``."""
    dataset = questions[0].dataset
    documents = {
        q.doc_id: Document.of(q.document, source=q.doc_id, title=q.title, metadata=scope(q)) for q in questions
    }
    for done, document in enumerate(documents.values()):
        progress(f"{dataset}: documents", done, len(documents))
        for problem in library.memory.add(document)["errors"]:
            logger.warning("evaluating %s: document %s: %s", dataset, problem["source"], problem["error"])
    progress(f"{dataset}: documents", len(documents), len(documents))


def _ask(
    system: System, library: Library, questions: Sequence[Question], answers: AnswerFile, progress: Progress
) -> list[dict[str, Any]]:
    """Ask what has not been asked yet; return the rows of all questions, in their order."""
    dataset = questions[0].dataset
    known = set(answers.of(dataset, system.name))
    for begin in range(0, len(questions), TOGETHER):
        progress(f"{dataset}: {system.name}", begin, len(questions))
        together = questions[begin : begin + TOGETHER]
        if any(question.id not in known for question in together):
            # All of them, also those that are known: the last digits of a score depend on the whole batch.
            asked = zip(together, system.answer(together), strict=True)
            answers.append([_row(system.name, library, *pair) for pair in asked if pair[0].id not in known])
    progress(f"{dataset}: {system.name}", len(questions), len(questions))
    logger.info("evaluated %s on %s: %d questions, %d known", system.name, dataset, len(questions), len(known))
    rows = answers.of(dataset, system.name)
    return [rows[question.id] for question in questions]


def _row(system: str, library: Library, question: Question, prediction: Prediction) -> dict[str, Any]:
    """Return an answer as a line of ``answers.jsonl``; ``gold`` is None where no atom holds a right answer."""
    gold = library.gold(question)
    return {
        "dataset": question.dataset,
        "doc_id": question.doc_id,
        "question": question.question,
        "answers": list(question.answers),
        "system": system,
        "prediction": prediction.text,
        "abstained": prediction.abstained,
        "atoms": list(prediction.atoms),
        "gold": gold.id if gold and holds_answer(question, gold) else None,
        **asdict(score("" if prediction.abstained else prediction.text, question.answers)),
        "knowledge_tokens": prediction.knowledge_tokens,
        "loglikelihood": prediction.loglikelihood,
        "id": question.id,
    }


def _timings(
    path: Path, systems: Sequence[System], questions: Sequence[Question], settings: str, progress: Progress
) -> dict[str, list[float]]:
    """Return milliseconds by system, measured now unless one earlier run has measured all these systems together."""
    measured = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    key = f"{settings}:{len(questions)}"
    names = [system.name for system in systems]
    if not set(names) <= set(measured.get(key, ())):
        measured[key] = measure(systems, questions, progress)
        _write(path, measured)
    return {name: measured[key][name] for name in names}


# ---------------------------------------------------------------- what the figures hold for


def _settings(memory: ParametricMemory, *, limit: int | None, seed: int, setting: str) -> dict[str, Any]:
    """Return all that answers depend on, besides the questions."""
    model = getattr(memory.backend, "model", None)
    return {
        "setting": setting,
        "limit": limit,
        "seed": seed,
        "base_model": memory.backend.base_model,
        "base_fingerprint": memory.backend.fingerprint,
        "compiler": memory.compiler.name,
        "key_encoder": memory.key_encoder.name,
        "dtype": str(getattr(model, "dtype", "")),
        "prompt": asdict(memory.prompt),
        "generation": asdict(GENERATION),
        "config": asdict(memory.config),
        "version": __version__,
    }


def _circumstances(paths: Sequence[Path], systems: Sequence[str], memory: ParametricMemory) -> dict[str, Any]:
    """Return what answers should not depend on, but times do."""
    model = getattr(memory.backend, "model", None)
    return {
        "command": _command(),
        "files": [str(path) for path in paths],
        "systems": list(systems),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "transformers", "sentence-transformers", "chromadb", "numpy")},
        "machine": {
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": str(getattr(model, "device", "")),
        },
    }


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


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
