"""A bench from a memory to a folder of results, in one call.

The folder gets ``bench.json`` and ``bench.md`` (the same figures, for programs and for people) and, with matplotlib,
``latency.png`` and ``growth.png``. Parts that are measured replace what the folder had of them, the others stay: every
part carries the command and the machine that made it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from parametric_memory.errors import ConfigError, MissingDependencyError
from parametric_memory.evaluation.bench.clock import Clock
from parametric_memory.evaluation.bench.footprint import (
    DOC_TO_LORA,
    kv_cache_bytes,
    measure_bytes,
    rag_bytes,
    size_of,
)
from parametric_memory.evaluation.bench.growth import INDEXES, measure_growth
from parametric_memory.evaluation.bench.imports import measure_imports
from parametric_memory.evaluation.bench.memories import Opener, Pretrained, beside
from parametric_memory.evaluation.bench.peak import measure_peaks
from parametric_memory.evaluation.bench.plots import draw
from parametric_memory.evaluation.bench.report import aims, render
from parametric_memory.evaluation.bench.stages import Bench, Progress, hugging_face, measure_stages
from parametric_memory.evaluation.bench.threads import THREADS, measure_threads
from parametric_memory.evaluation.bench.workload import Workload, workload
from parametric_memory.evaluation.machine import circumstances
from parametric_memory.evaluation.prompts import reading_choice
from parametric_memory.memory import ParametricMemory

PARTS = ("stages", "bytes", "memory", "growth", "threads", "imports")
SIZES = (1_000, 10_000, 100_000)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """How much is measured.

    Attributes:
        limit: Questions; with all their documents.
        repeats: How often every system is asked every question, every number of threads all of them, and every start
            is made.
        tokens: Length of an answer.
        sizes: Atoms of the growing store, in hundreds.
        indexes: Key indexes of the growing store.
        threads: Numbers of threads.
        seed: Of the sample of questions, and of what is synthetic.
    """

    limit: int = 32
    repeats: int = 3
    tokens: int = 16
    sizes: tuple[int, ...] = SIZES
    indexes: tuple[str, ...] = INDEXES
    threads: tuple[int, ...] = THREADS
    seed: int = 0


def bench(
    out: Path | str,
    *,
    opener: Opener | None = None,
    parts: Sequence[str] = PARTS,
    data: Sequence[Path | str] = (),
    config: BenchConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure what a memory costs, and write what came out.

    Args:
        out: Folder for the results; made if it is not there. The growing store stays in it, in ``growth/``.
        opener: Opens an empty memory at a path, also in a process of its own, so it is a pickle (see `memories`); by
            default the built-in one.
        parts: What is measured.
        data: Files of questions (see `parametric_memory.evaluation.datasets`); a synthetic text, if there are none.
        config: How much is measured.
        progress: Called as the work goes on.

    Returns:
        What ``bench.json`` holds.

    Raises:
        ConfigError: If a setting makes no sense, naming all that do not.
        UnreadableDocumentError: If a file does not hold questions.
    """
    config, out = config or BenchConfig(), Path(out)
    _check(parts, config)
    load = workload([Path(file) for file in data], limit=config.limit, seed=config.seed)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "bench.json"
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"parts": {}}
    with TemporaryDirectory(prefix="pmem-bench-", ignore_cleanup_errors=True) as folder:
        work = _Work(out, Path(folder), opener or Pretrained(), load, config, progress or _silent)
        for part in (name for name in PARTS if name in parts):
            logger.info("measuring %s", part)
            told = work.circumstances
            results["parts"][part] = told | _MEASURES[part](work)
            # After every part: what is killed later has this much.
            _write(out, results)
        work.close()
    _draw(out, results)
    return results


# ---------------------------------------------------------------- the parts


@dataclass(slots=True)
class _Work:
    """What the parts share: the memory with the documents, which is made with the first part that needs it."""

    out: Path
    folder: Path
    opener: Opener
    load: Workload
    config: BenchConfig
    progress: Progress
    filled: bool = False
    _memories: list[ParametricMemory] = field(default_factory=list)

    @property
    def parts(self) -> ParametricMemory:
        """The memory whose models are used."""
        if not self._memories:
            self._memories.append(self.opener(self.folder / "parts"))
        return self._memories[0]

    @property
    def path(self) -> Path:
        """Where the memory with the documents is."""
        return self.folder / "memory"

    @property
    def clock(self) -> Clock:
        """Reads the time of the device that the base model is on."""
        return Clock(hugging_face(self.parts).model.device)

    @property
    def circumstances(self) -> dict[str, Any]:
        """What the figures hold for."""
        memory = self.parts
        return circumstances(memory) | {
            "base_model": memory.backend.base_model,
            "compiler": memory.compiler.name,
            "token_router": memory.token_router.name if memory.token_router else None,
            "key_encoder": memory.key_encoder.name,
            "index": memory.config.store.index,
            "data": self.load.name,
            "seed": self.config.seed,
        }

    def fill(self) -> None:
        """Add the documents, if no part has done so."""
        if not self.filled:
            with beside(self.parts, self.path) as memory:
                for number, document in enumerate(self.load.documents):
                    self.progress("adding documents", number, len(self.load.documents))
                    memory.add(document)
        self.filled = True

    def close(self) -> None:
        """Close the memory."""
        for memory in self._memories:
            memory.close()


def _stages(work: _Work) -> dict[str, Any]:
    # A memory of its own: it is filled under the clock.
    with beside(work.parts, work.folder / "stages") as memory:
        bench_ = Bench(memory, work.clock, work.config.tokens)
        return measure_stages(bench_, work.load, repeats=work.config.repeats, progress=work.progress)


def _bytes(work: _Work) -> dict[str, Any]:
    work.fill()
    backend = hugging_face(work.parts)
    with beside(work.parts, work.path) as memory:
        tokens = sum(backend.count_tokens(document.text) for document in work.load.documents)
        # A first search, so that the key index is on disk.
        memory.search(work.load.questions[0])
        stats = memory.stats()
    with beside(work.parts, work.folder / "empty") as memory:
        memory.search(work.load.questions[0])
    empty = size_of(work.folder / "empty")
    return measure_bytes(work.path, stats, empty=empty, source_tokens=tokens) | {
        "kv_cache_per_token": kv_cache_bytes(backend),
        "kv_cache_per_token_16_bit": kv_cache_bytes(backend, itemsize=2),
        "doc_to_lora_per_token": DOC_TO_LORA,
        "rag_per_token": {name: size / tokens for name, size in _rag(work).items()},
    }


def _rag(work: _Work) -> dict[str, int]:
    """Return what RAG keeps of the documents, by its arm; nothing without the extra that cuts them."""
    memory = work.parts
    choice = reading_choice(memory.backend.fingerprint, memory.prompt)
    try:
        return rag_bytes(work.load.documents, choice, dim=memory.key_encoder.dim)
    except MissingDependencyError as error:
        logger.warning("no bytes of RAG beside those of the memory: %s", error)
        return {}


def _memory(work: _Work) -> dict[str, Any]:
    return measure_peaks(
        work.opener,
        work.folder / "peaks",
        work.load.questions[:4],
        seed=work.config.seed,
        tokens=work.config.tokens,
        progress=work.progress,
    )


def _growth(work: _Work) -> dict[str, Any]:
    return measure_growth(
        work.opener,
        work.out / "growth",
        sizes=work.config.sizes,
        indexes=work.config.indexes,
        seed=work.config.seed,
        progress=work.progress,
    )


def _threads(work: _Work) -> dict[str, Any]:
    work.fill()
    with beside(work.parts, work.path) as memory:
        return measure_threads(
            memory,
            work.load.questions,
            clock=work.clock,
            tokens=work.config.tokens,
            rounds=work.config.repeats,
            progress=work.progress,
            counts=work.config.threads,
        )


def _imports(work: _Work) -> dict[str, Any]:
    work.fill()
    seconds = measure_imports(
        work.opener, work.path, work.load.questions[0], runs=work.config.repeats, progress=work.progress
    )
    return {"seconds": seconds}


_MEASURES: dict[str, Callable[[_Work], dict[str, Any]]] = {
    "stages": _stages,
    "bytes": _bytes,
    "memory": _memory,
    "growth": _growth,
    "threads": _threads,
    "imports": _imports,
}


# ---------------------------------------------------------------- around them


def _check(parts: Sequence[str], config: BenchConfig) -> None:
    """Name every setting that makes no sense, before any model is loaded."""
    problems = [f"unknown part {name!r}; known are {', '.join(PARTS)}" for name in parts if name not in PARTS]
    problems += [
        f"unknown key index {name!r}; known are {', '.join(INDEXES)}" for name in config.indexes if name not in INDEXES
    ]
    problems += [
        f"size {size} is not a number of hundreds of atoms" for size in config.sizes if size < 100 or size % 100
    ]
    counts = {"limit": config.limit, "repeats": config.repeats, "tokens": config.tokens}
    problems += [f"{name} is {value}, expected 1 or more" for name, value in counts.items() if value < 1]
    named = {"part": parts, "size": config.sizes, "key index": config.indexes, "number of threads": config.threads}
    problems += [f"no {what} is named" for what, values in named.items() if not values]
    if min(config.threads, default=1) < 1:
        problems.append(f"{min(config.threads)} threads answer nothing, expected 1 or more")
    if problems:
        raise ConfigError("a bench cannot start:", problems=problems)


def _write(out: Path, results: dict[str, Any]) -> None:
    """Write the figures so that a killed run leaves the old file or the new one, nothing between."""
    results["aims"] = aims(results["parts"])
    fresh = out / "bench.json.new"
    fresh.write_text(f"{json.dumps(results, indent=2, ensure_ascii=False)}\n", encoding="utf-8")
    fresh.replace(out / "bench.json")
    (out / "bench.md").write_text(render(results), encoding="utf-8")


def _draw(out: Path, results: dict[str, Any]) -> None:
    try:
        draw(results["parts"], out)
    except MissingDependencyError as error:
        logger.warning("no plots beside the figures: %s", error)


def _silent(_task: str, _done: int, _total: int) -> None:
    pass
