"""What a growing store does to search, route and load: the same questions, from a thousand atoms to a million.

One store of synthetic atoms is grown from size to size, so a run that was stopped goes on where it was. At every size,
and for every key index, a process of its own asks the grown store and a copy of the smallest one in turns: the ratio of
the two does not depend on what else the machine is doing.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.bench.clock import Clock, Laps
from parametric_memory.evaluation.bench.isolation import in_child, peak_bytes, resident_bytes
from parametric_memory.evaluation.bench.memories import Opener, beside
from parametric_memory.evaluation.bench.spread import by_stage, ratio, spread
from parametric_memory.evaluation.bench.stages import Progress
from parametric_memory.evaluation.bench.stores import Grower
from parametric_memory.evaluation.bench.synthetic import ATOMS, UNSEEN, questions_of
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import Query

INDEXES = ("chroma", "numpy")
#: Questions of one measurement, and atoms that are added one by one.
QUESTIONS, ADDED = 40, 8

logger = logging.getLogger(__name__)


def measure_growth(
    opener: Opener,
    folder: Path,
    *,
    sizes: Sequence[int],
    indexes: Sequence[str] = INDEXES,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Grow a store in a folder through the sizes, and return what was measured at each, by size and key index.

    Args:
        opener: Opens the memory whose models are used, here and in the children.
        folder: Keeps the store and what was measured of it; a later call with larger sizes goes on from there.
        sizes: Numbers of atoms, in hundreds.
        indexes: Key indexes.
        seed: Of the synthetic world.
        progress: Called as the work goes on.

    Raises:
        ConfigError: If the store has outgrown a size that was not measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = sorted(sizes)
    store, reference, record = folder / "store", folder / "reference", folder / "measured.json"
    measured: dict[str, Any] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    with opener(folder / "parts") as memory:
        grower = Grower(memory, seed=seed)
    for size in sizes:
        wanted = [index for index in indexes if f"{size}:{index}" not in measured]
        if not wanted:
            continue
        seconds = _grow(grower, store, size, progress)
        if not reference.is_dir():
            shutil.copytree(store, reference)
        for number, index in enumerate(wanted):
            progress(f"asking {size:,} atoms", number, len(wanted))
            done = in_child(measure_size, opener, store, reference, index, seed, sizes[0])
            measured[f"{size}:{index}"] = {
                **done.value,
                "size": size,
                "index": index,
                "grow_seconds": seconds,
                "peak_bytes": done.peak_bytes,
                "device_peak_bytes": done.device_peak_bytes,
            }
            record.write_text(json.dumps(measured, indent=2), encoding="utf-8")
    shown = [measured[f"{size}:{index}"] for index in indexes for size in sizes]
    return {"rows": shown, "tokens_per_atom": grower.tokens_per_atom, "atoms_per_document": ATOMS}


def _grow(grower: Grower, path: Path, size: int, progress: Progress) -> float:
    """Grow the store to exactly this size; return the seconds that it took."""
    clock = Clock()
    with grower.open(path, index="numpy") as store:
        before = store.stats().atoms
        if before > size:
            raise ConfigError(
                f"measuring {path} at {size} atoms: it has grown to {before} already; choose another folder for the "
                f"results, or remove {path.parent}"
            )
        began = clock.now()
        grower.grow(store, size, progress=progress)
    seconds = clock.now() - began
    logger.info("grew %s from %d to %d atoms in %.1f s", path, before, size, seconds)
    return seconds


def measure_size(opener: Opener, store: Path, reference: Path, index: str, seed: int, smallest: int) -> dict[str, Any]:
    """Ask a grown store and the reference in turns; return what each stage took, and what the store weighs.

    Args:
        opener: Opens the memory whose models are used.
        store: Folder of the grown store.
        reference: Folder of a copy of the smallest one.
        index: Key index.
        seed: Of the synthetic world.
        smallest: Atoms of the reference: what is asked for is in both.
    """
    with ExitStack() as opened:
        parts = opened.enter_context(opener(store.with_name("parts")))
        grower, clock = Grower(parts, seed=seed), Clock(getattr(getattr(parts.backend, "model", None), "device", "cpu"))
        # The models are warm before the first memory is asked, and counted in neither.
        small = opened.enter_context(beside(parts, reference, index=index))
        articles = [grower.world.article(number) for number in range(max(1, smallest // ATOMS))]
        queries = questions_of(grower.world, articles, QUESTIONS)
        _look(small, queries[0], clock)
        before = resident_bytes()
        large = opened.enter_context(beside(parts, store, index=index))
        began = clock.now()
        _look(large, queries[0], clock)
        ready = clock.now() - began
        after = resident_bytes()
        rows, others = _in_turns(large, small, queries, clock)
        adding = _add_one_by_one(large, small, grower, clock)
        stats = large.stats()
        return {
            "atoms": stats.atoms,
            "ready_seconds": ready,
            "stages": by_stage([row for row, _ in rows]),
            "dense_search": spread([dense for _, dense in rows]),
            "reference": by_stage([row for row, _ in others]),
            "ratio": ratio([sum(row.values()) for row, _ in rows], [sum(row.values()) for row, _ in others]),
            "dense_ratio": ratio([dense for _, dense in rows], [dense for _, dense in others]),
            **adding,
            "index_resident_bytes": None if before is None or after is None else after - before,
            "peak_before_closing_bytes": peak_bytes(),
            "bytes": {
                "codes": stats.code_bytes,
                "keys": stats.key_bytes,
                "text": stats.text_bytes,
                "index": stats.index_bytes,
                "database": stats.database_bytes,
            },
            "bytes_per_token": (stats.database_bytes + stats.index_bytes) / (stats.atoms * grower.tokens_per_atom),
        }


def _in_turns(
    large: ParametricMemory, small: ParametricMemory, queries: Sequence[Query], clock: Clock
) -> tuple[list[tuple[dict[str, float], float]], list[tuple[dict[str, float], float]]]:
    """Return, for both memories, the stages of every question and the milliseconds of its search by key alone."""
    made: dict[int, list[tuple[dict[str, float], float]]] = {id(large): [], id(small): []}
    for number, query in enumerate(queries):
        for memory in (large, small) if number % 2 else (small, large):
            made[id(memory)].append(_look(memory, query, clock))
    return made[id(large)], made[id(small)]


def _look(memory: ParametricMemory, query: Query, clock: Clock) -> tuple[dict[str, float], float]:
    """Search, route and load; then search once more by the key alone, which `search` holds together with BM25."""
    laps, alone = Laps(clock), Laps(clock)
    with laps("search"):
        candidates = memory.candidates(query)
    with laps("route"):
        route = memory.route(query, candidates)
    with laps("load"):
        codes = memory.store.codes([routed.atom.id for routed in route.selected])
    with laps("materialise"):
        memory.compiler.materialise(codes)
    with alone("dense"):
        memory.candidates(Query("", query.vector))
    return laps.ms, alone.ms["dense"]


def _add_one_by_one(large: ParametricMemory, small: ParametricMemory, grower: Grower, clock: Clock) -> dict[str, Any]:
    """Add single atoms to both stores in turns, ask for each at once, and take them out again."""
    made: dict[str, list[float]] = {"put": [], "find": [], "put small": []}
    # Any code will do: it is stored, not read.
    [code] = small.store.codes([grower.world.article(0).atoms[0].id])
    for number in range(ADDED):
        article = grower.world.article(UNSEEN + number, atoms=1)
        codes = [replace(code, atom_id=article.atoms[0].id)]
        query = grower.world.query(article, number)
        for memory in (large, small):
            laps = Laps(clock)
            with laps("put"):
                memory.store.put(article.document, article.atoms, article.keys, codes)
            with laps("find"):
                memory.candidates(query)
            memory.store.delete_document(article.document.id)
            if memory is large:
                made["put"].append(laps.ms["put"])
                made["find"].append(laps.ms["find"])
            else:
                made["put small"].append(laps.ms["put"])
    return {
        "add_one": spread(made["put"]),
        "find_it": spread(made["find"]),
        "add_one_ratio": ratio(made["put"], made["put small"]),
    }
