"""Adapters out of a memory, as folders that PEFT and vLLM load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parametric_memory.adapters import export_peft

if TYPE_CHECKING:
    from parametric_memory.memory.memory import Filters, ParametricMemory


def export(
    memory: ParametricMemory, path: Path, *, question: str | None, memory_id: str | None, filters: Filters | None
) -> Path:
    """Write an atom's adapter, or a question's composed one, as a PEFT folder; return the folder.

    Raises:
        ValueError: If not exactly one of question and memory_id is given, or nothing answers the question.
    """
    if (question is None) == (memory_id is None):
        raise ValueError("exporting an adapter: pass either question= or memory_id=")
    if memory_id is not None:
        atom = memory.store.get(memory_id)
        [adapter] = memory.compiler.materialise(memory.store.codes([memory_id]))
        export_peft(adapter, path, provenance={"atoms": [atom.record()]})
        return path
    route = memory.explain(str(question), filters=filters)
    composed = memory.compose(route)
    if composed is None:
        raise ValueError(f"exporting the route of {question!r}: it is empty, nothing in the memory answers it")
    atoms = [routed.atom.record() for routed in route.selected]
    export_peft(composed, path, provenance={"question": question, "atoms": atoms})
    return path
