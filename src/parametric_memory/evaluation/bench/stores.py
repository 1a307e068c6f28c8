"""Stores of synthetic atoms, grown through the store's own `put`, article by article, in any number of runs."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from parametric_memory.config import StoreConfig
from parametric_memory.evaluation.bench.stages import Progress
from parametric_memory.evaluation.bench.synthetic import ATOMS, Article, World
from parametric_memory.memory import ParametricMemory
from parametric_memory.store import AtomStore
from parametric_memory.types import AtomCode

#: Synthetic atoms that are compiled in earnest, for their codes.
COMPILED = 32


class Grower:
    """Grows stores for one memory's compiler and key encoder.

    Args:
        memory: Whose compiler makes the codes, and whose key encoder gives keys their length.
        seed: Of the synthetic world.
    """

    def __init__(self, memory: ParametricMemory, *, seed: int) -> None:
        self.world = World(seed, dim=memory.key_encoder.dim)
        self._memory = memory

    @cached_property
    def tokens_per_atom(self) -> float:
        """Tokens of the base model in a synthetic atom's text, on average."""
        atoms = self.world.article(0).atoms
        return sum(self._memory.backend.count_tokens(atom.text) for atom in atoms) / len(atoms)

    @cached_property
    def _codes(self) -> list[AtomCode]:
        """Codes of the first atoms, compiled on first use: it takes seconds."""
        return self._memory.compile(self.world.article(0).atoms[:COMPILED])

    def open(self, folder: Path, *, index: str) -> AtomStore:
        """Open the store in a folder, or make one there."""
        compiler, keys = self._memory.compiler, self._memory.key_encoder
        return AtomStore.open(
            folder,
            spec=compiler.spec,
            key_encoder=keys.name,
            dim=keys.dim,
            compiler=compiler.name,
            config=StoreConfig(index=index),
        )

    def grow(self, store: AtomStore, atoms: int, *, progress: Progress) -> None:
        """Put articles until the store holds at least so many atoms; what is there already stays."""
        articles = -(-atoms // ATOMS)
        # An article that is there in part is put again, whole.
        for number in range(store.stats().atoms // ATOMS, articles):
            progress(f"growing to {atoms:,} atoms", number, articles)
            article = self.world.article(number, atoms=min(ATOMS, atoms - number * ATOMS))
            store.put(article.document, article.atoms, article.keys, self._coded(article))
        progress(f"growing to {atoms:,} atoms", articles, articles)

    def _coded(self, article: Article) -> list[AtomCode]:
        return [
            replace(self._codes[place % len(self._codes)], atom_id=atom.id) for place, atom in enumerate(article.atoms)
        ]
