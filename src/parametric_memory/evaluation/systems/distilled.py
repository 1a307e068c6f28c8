"""Systems whose adapters are distilled by gradient steps, nothing in the prompt, the gold sentence's atom given.

====================  ================================================================================================
distillation          the gold atom, distilled on exercises that were made from it alone
distillation_oracle   the gold atom, distilled on the question that is asked: what gradient steps can reach at best
refined               the memory's own adapter of the gold atom, after a few gradient steps on exercises
====================  ================================================================================================

The atoms of all questions that are asked together are distilled together. What was distilled for a library is kept as
long as the library is, so asking again costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from parametric_memory.adapters import compose
from parametric_memory.compilers.distillation import DistillationCompiler
from parametric_memory.config import DistillationConfig
from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.systems.library import Library
from parametric_memory.evaluation.systems.system import Given, Preparation
from parametric_memory.protocols import GatingCompiler
from parametric_memory.types import Atom, AtomAdapter, Route, RoutedAtom

#: An atom, and the question that it is distilled for, if that makes a difference.
Wanted: TypeAlias = tuple[Atom, Question]
Make: TypeAlias = Callable[[Library, DistillationCompiler, Sequence[Wanted]], list[AtomAdapter]]

#: A hypernetwork's factors are small where they read and large where they write: a new adapter's rate breaks them.
REFINING_STEPS, REFINING_RATE = 10, 3e-4


@dataclass(slots=True)
class Distilled:
    """What was distilled for one library so far: adapters by what they are of, and how long it took."""

    adapters: dict[tuple[str, ...], AtomAdapter] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def seconds_per_atom(self) -> float | None:
        """Mean time from statement to adapter; None if nothing was distilled."""
        return self.seconds / len(self.adapters) if self.adapters else None


class DistilledSystem:
    """A preparation (see `LibrarySystem`) that distils what it has not distilled yet.

    Args:
        make: Makes adapters of atoms.
        per_question: Whether two questions about one atom need two adapters.
        gated: Whether the memory's compiler gates the adapter's ranks for the question.
        config: Of distillation; the memory's, if None.
    """

    def __init__(
        self, make: Make, *, per_question: bool = False, gated: bool = False, config: DistillationConfig | None = None
    ) -> None:
        self._make, self._per_question, self._gated, self._config = make, per_question, gated, config
        self._known: WeakKeyDictionary[Library, Distilled] = WeakKeyDictionary()

    def __call__(self, library: Library, questions: Sequence[Question]) -> list[Given]:
        """Return the gold atom's adapter for each question; nothing where the document has no atoms."""
        found = [(gold, question) for question in questions if (gold := library.gold(question))]
        compiler = distillation_compiler(library, self._config)
        known = self.distilled(library)
        keys = {question.id: self._key(compiler, (atom, question)) for atom, question in found}
        missing = {keys[q.id]: (atom, q) for atom, q in found if keys[q.id] not in known.adapters}
        began = time.perf_counter()
        made = self._make(library, compiler, list(missing.values())) if missing else []
        known.seconds += time.perf_counter() - began
        known.adapters |= dict(zip(missing, made, strict=True))
        atoms = {question.id: atom for atom, question in found}
        return [
            self._given(library, atoms[q.id], q, known.adapters[keys[q.id]]) if q.id in atoms else Given()
            for q in questions
        ]

    def distilled(self, library: Library) -> Distilled:
        """Return what was distilled for a library so far."""
        return self._known.setdefault(library, Distilled())

    def _key(self, compiler: DistillationCompiler, wanted: Wanted) -> tuple[str, ...]:
        atom, question = wanted
        return (compiler.name, atom.id, *([question.question] if self._per_question else []))

    def _given(self, library: Library, atom: Atom, question: Question, adapter: AtomAdapter) -> Given:
        weights = [gates(library, atom, question.question)] if self._gated else None
        return Given(adapter=compose([adapter], rank_gates=weights), atoms=(atom.id,))


def distillation_compiler(library: Library, config: DistillationConfig | None = None) -> DistillationCompiler:
    """Return a distillation compiler for a library's base model, asked as its memory asks."""
    memory = library.memory
    # Only a backend that shows its model can be taught; HuggingFaceBackend does.
    backend: Any = memory.backend
    return DistillationCompiler(
        backend.model,
        backend.tokenizer,
        base_model=backend.base_model,
        fingerprint=backend.fingerprint,
        prompt=memory.prompt,
        config=config or memory.config.distillation,
    )


def on_exercises(_library: Library, compiler: DistillationCompiler, wanted: Sequence[Wanted]) -> list[AtomAdapter]:
    """Distil atoms as the compiler does."""
    return compiler.materialise(compiler.compile([atom for atom, _ in wanted]))


def on_test_questions(_library: Library, compiler: DistillationCompiler, wanted: Sequence[Wanted]) -> list[AtomAdapter]:
    """Distil atoms on the very questions that are asked; the teacher answers them, not the dataset."""
    texts = {question.id: [atom.statement] for atom, question in wanted}
    adapters = compiler.distil(texts, questions={question.id: [question.question] for _, question in wanted})
    return [replace(adapter, atom_id=atom.id) for adapter, (atom, _) in zip(adapters, wanted, strict=True)]


def from_memory(library: Library, compiler: DistillationCompiler, wanted: Sequence[Wanted]) -> list[AtomAdapter]:
    """Refine the adapters that the memory's own compiler made, with its gates if it has any."""
    memory = library.memory
    atoms = [atom for atom, _ in wanted]
    starts = list(memory.compiler.materialise(memory.store.codes([atom.id for atom in atoms])))
    gated = isinstance(memory.compiler, GatingCompiler)
    return compiler.refine(
        starts,
        [atom.statement for atom in atoms],
        steps=min(REFINING_STEPS, compiler.config.steps),
        learning_rate=REFINING_RATE,
        gate=(lambda question, number: gates(library, atoms[number], question) or ()) if gated else None,
    )


def gates(library: Library, atom: Atom, question: str) -> Sequence[float] | None:
    """Return one weight per rank of the memory's adapter of an atom; None if its compiler has no gates."""
    route = Route(question, (RoutedAtom(atom, 0.0, reason="oracle"),))
    return library.memory.gate(question, route).selected[0].rank_gates


#: These systems by their names.
DISTILLED: Mapping[str, Preparation] = {
    "distillation": DistilledSystem(on_exercises),
    "distillation_oracle": DistilledSystem(on_test_questions, per_question=True),
    "refined": DistilledSystem(from_memory, gated=True),
}
