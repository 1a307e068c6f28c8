"""Systems whose knowledge is in the weights of whole chunks: Doc-to-LoRA, on the same documents as the atoms.

A library of atoms has a second memory beside it for them, which holds its documents chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parametric_memory.adapters import compose
from parametric_memory.compilers import DocumentCompiler
from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.systems.library import Library, scope
from parametric_memory.evaluation.systems.system import LOOKED, Given, Place
from parametric_memory.evaluation.systems.weights import injected
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import Atom, AtomAdapter, ComposedAdapter

#: Chunks whose adapters are composed at once: of a document of any length, so many are in memory.
TOGETHER = 32


def document(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Inject the routed chunks; abstain if there are none."""
    chunks = library.chunked
    return [_asked(chunks, injected(chunks, chunks.route(question))) for question in questions]


def document_whole(library: Library, questions: Sequence[Question]) -> list[Given]:
    """Inject every chunk of the question's document; where it may be any, of those that the routed chunks stand in."""
    return [_asked(library.chunked, _whole(library.chunked, question)) for question in questions]


def whole(memory: ParametricMemory, atoms: Sequence[Atom]) -> ComposedAdapter | None:
    """Return the adapters of any number of chunks as one, made and composed in parts; None if there are none.

    Above the rank budget one part after the other is truncated, which loses a little more than truncating all at once
    would; ``truncated`` has the largest loss.
    """
    compiler = memory.compiler
    assert isinstance(compiler, DocumentCompiler), "a memory of chunks has it"
    made: ComposedAdapter | None = None
    for begin in range(0, len(atoms), TOGETHER):
        some = memory.store.codes([atom.id for atom in atoms[begin : begin + TOGETHER]])
        gates = compiler.gate("", some, of=len(atoms)).ranks
        before = [AtomAdapter("", made.spec, made.factors)] if made else []
        composed = compose(
            [*before, *compiler.materialise(some)],
            rank_gates=[*([None] * len(before)), *gates],
            max_rank=memory.config.max_rank,
        )
        lost = made.truncated if made else {}
        made = replace(composed, truncated={t: max(e, lost.get(t, 0.0)) for t, e in composed.truncated.items()})
    return made and replace(made, atom_ids=tuple(atom.id for atom in atoms))


def _whole(chunks: Library, question: Question) -> Given:
    memory = chunks.memory
    if chunks.setting == "own":
        atoms = memory.store.atoms(scope(question))
    else:
        found = dict.fromkeys(routed.atom.document_id for routed in chunks.route(question).selected)
        atoms = [atom for document_id in found for atom in memory.store.atoms_of(document_id)]
    return Given(
        adapter=whole(memory, atoms),
        atoms=tuple(atom.id for atom in atoms),
        abstained=not atoms,
        evidence=tuple(Place(str(atom.metadata["doc_id"]), atom.span) for atom in atoms[:LOOKED]),
    )


def _asked(chunks: Library, given: Given) -> Given:
    """Return what is given, asked in the words that its adapters were trained behind."""
    return replace(given, wording=chunks.memory.prompt)
