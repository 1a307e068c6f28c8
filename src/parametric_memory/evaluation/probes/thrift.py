"""A compiler and a key encoder that do less work for the same answers, for memories of which little is ever asked.

Probes store thousands of atoms and route a few hundred. Routing needs keys only; so an atom is compiled when a route
has taken it, and a text that was encoded before is not encoded again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parametric_memory.evaluation.systems import exact_memory
from parametric_memory.memory import ParametricMemory
from parametric_memory.protocols import Compiler, GatingCompiler, KeyEncoder, RerankingCompiler
from parametric_memory.types import AdapterSpec, Atom, AtomAdapter, AtomCode, TokenGates

#: Atoms before and after one that are compiled with it: its context, about as much as a window holds.
NEIGHBOURS = 8


def thrifty(memory: ParametricMemory, path: Path) -> ParametricMemory:
    """Return a memory beside another one that does less work; its keys are searched exactly."""
    compiler, keys = DeferredCompiler(memory.compiler), RememberingKeys(memory.key_encoder)
    return exact_memory(memory, path, compiler=compiler, key_encoder=keys)


class DeferredCompiler:
    """Compiles an atom when its code is first used.

    An atom is then read with its neighbours in its document, `NEIGHBOURS` on each side; the code of one whose document
    is no longer than that is what the compiler itself gives.
    """

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._places: dict[str, tuple[Sequence[Atom], int]] = {}
        self._codes: dict[str, AtomCode] = {}

    @property
    def name(self) -> str:
        """The compiler's."""
        return self._compiler.name

    @property
    def spec(self) -> AdapterSpec:
        """The compiler's."""
        return self._compiler.spec

    @property
    def reranking(self) -> Mapping[str, float] | None:
        """The compiler's."""
        return self._compiler.reranking if isinstance(self._compiler, RerankingCompiler) else None

    def compile(self, atoms: Sequence[Atom]) -> list[AtomCode]:
        """Return codes that say nothing yet."""
        self._places |= {atom.id: (atoms, number) for number, atom in enumerate(atoms)}
        return [AtomCode(atom.id, self.spec, self.name, b"deferred") for atom in atoms]

    def materialise(self, codes: Sequence[AtomCode]) -> Sequence[AtomAdapter]:
        """Return one adapter per code, in order."""
        return self._compiler.materialise(self._real(codes))

    def gate(self, question: str, codes: Sequence[AtomCode], found: TokenGates | None = None) -> TokenGates:
        """Return the gates that the compiler finds, or gates that are wide open if it finds none."""
        if isinstance(self._compiler, GatingCompiler):
            return self._compiler.gate(question, self._real(codes), found)
        adapters = self.materialise(codes)
        ranks = [next(iter(adapter.factors.values())).rank for adapter in adapters]
        return TokenGates(tuple((1.0,) * rank for rank in ranks), (1.0 / max(1, len(ranks)),) * len(ranks), 0.0)

    def _real(self, codes: Sequence[AtomCode]) -> list[AtomCode]:
        for code in codes:
            if code.atom_id not in self._codes:
                self._compile_around(code.atom_id)
        return [self._codes[code.atom_id] for code in codes]

    def _compile_around(self, atom_id: str) -> None:
        atoms, number = self._places[atom_id]
        begin = max(0, number - NEIGHBOURS)
        around = atoms[begin : number + NEIGHBOURS + 1]
        made = self._compiler.compile(around)
        # All of them only if they are the whole document: at the edges, context is missing.
        kept = made if len(around) == len(atoms) else made[number - begin : number - begin + 1]
        self._codes |= {code.atom_id: code for code in kept}


class RememberingKeys:
    """Encodes every statement once."""

    def __init__(self, encoder: KeyEncoder) -> None:
        self._encoder = encoder
        self._keys: dict[str, NDArray[np.float32]] = {}

    @property
    def name(self) -> str:
        """The encoder's."""
        return self._encoder.name

    @property
    def dim(self) -> int:
        """The encoder's."""
        return self._encoder.dim

    def encode_atoms(self, statements: Sequence[str]) -> NDArray[np.float32]:
        """Return unit-norm keys, (len(statements), dim)."""
        new = [statement for statement in dict.fromkeys(statements) if statement not in self._keys]
        if new:
            self._keys |= dict(zip(new, self._encoder.encode_atoms(new), strict=True))
        if not statements:
            return np.zeros((0, self.dim), dtype=np.float32)
        return np.stack([self._keys[statement] for statement in statements])

    def encode_query(self, query: str) -> NDArray[np.float32]:
        """Return one unit-norm key, (dim,)."""
        return self._encoder.encode_query(query)
