"""The most memory that each kind of work needs at once, every one in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parametric_memory.config import GenerationConfig, Mode
from parametric_memory.evaluation.bench.footprint import kv_cache_bytes
from parametric_memory.evaluation.bench.isolation import in_child, resident_bytes
from parametric_memory.evaluation.bench.memories import Opener, beside
from parametric_memory.evaluation.bench.stages import Progress, hugging_face
from parametric_memory.evaluation.bench.stores import Grower
from parametric_memory.evaluation.bench.synthetic import UNSEEN, World
from parametric_memory.memory import ParametricMemory

#: Source tokens of knowledge that the two stores hold.
LITTLE, MUCH = 2_000, 128_000
#: What is done: name, mode of asking (None: add documents), and whether the store is the large one.
_WORK: tuple[tuple[str, Mode | None, bool], ...] = (
    ("plain", "closed_book", False),
    ("ask", "atoms", False),
    ("ask_much", "atoms", True),
    ("rag_much", "in_context", True),
    ("add", None, False),
)


def measure_peaks(
    opener: Opener, folder: Path, questions: Sequence[str], *, seed: int, tokens: int, progress: Progress
) -> dict[str, Any]:
    """Return the peak of every kind of work, and what 128,000 tokens of knowledge add to it against a KV cache.

    Args:
        opener: Opens the memory, here and in the children.
        folder: For the stores.
        questions: What is asked; the same in every process.
        seed: Of the synthetic knowledge.
        tokens: Length of an answer.
        progress: Called as the work goes on.
    """
    stores = {False: folder / "little", True: folder / "much"}
    with opener(folder / "parts") as memory:
        grower, backend = Grower(memory, seed=seed), hugging_face(memory)
        cache = kv_cache_bytes(backend)
        for much, path in stores.items():
            with grower.open(path, index=memory.config.store.index) as store:
                grower.grow(store, round((MUCH if much else LITTLE) / grower.tokens_per_atom), progress=progress)
    found: dict[str, Any] = {}
    for number, (name, mode, much) in enumerate(_WORK):
        progress("memory", number, len(_WORK))
        done = in_child(work, opener, stores[much], mode, questions, tokens, seed)
        found[name] = {
            "peak_bytes": done.peak_bytes,
            "opened_bytes": done.value,
            "device_peak_bytes": done.device_peak_bytes,
        }
    progress("memory", len(_WORK), len(_WORK))
    return {
        "work": found,
        "knowledge_tokens": MUCH,
        "extra_bytes": _difference(found, "peak_bytes"),
        "extra_device_bytes": _difference(found, "device_peak_bytes"),
        "kv_cache_bytes": cache * MUCH,
    }


def work(opener: Opener, path: Path, mode: Mode | None, questions: Sequence[str], tokens: int, seed: int) -> int | None:
    """Do one kind of work in this process; return the bytes that it held once the memory was open."""
    with opener(path) as opened, beside(opened, path) as memory:
        held = resident_bytes()
        if mode is None:
            _add(memory, seed)
        else:
            for question in questions:
                memory.ask(question, mode=mode, generation=GenerationConfig(max_new_tokens=tokens))
    return held


def _add(memory: ParametricMemory, seed: int) -> None:
    """Compile an article that is not there yet."""
    memory.add(World(seed, dim=memory.key_encoder.dim).article(UNSEEN).document)


def _difference(found: dict[str, Any], name: str) -> int | None:
    """Return what much knowledge needs beyond little."""
    much, little = found["ask_much"][name], found["ask"][name]
    return None if much is None or little is None else much - little
