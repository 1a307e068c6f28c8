"""The exact key index: all keys in one matrix in memory, every search a matrix-vector product.

Fast to some 100,000 keys. Nothing is written anywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from parametric_memory.errors import StoreError
from parametric_memory.types import AtomKey


class NumpyIndex:
    """A `KeyIndex` without approximation. Threads may share it."""

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._rows: dict[str, int] = {}
        self._ids: list[str] = []
        self._matrix: NDArray[np.float32] | None = np.empty((0, 0), np.float32)  # (capacity, dim)

    def upsert(self, keys: Sequence[AtomKey]) -> None:
        """Add keys, or replace the ones that are there."""
        with self._guard:
            self._reserve(keys)
            for key in keys:
                row = self._rows.setdefault(key.atom_id, len(self._ids))
                if row == len(self._ids):
                    self._ids.append(key.atom_id)
                self._keys[row] = key.vector

    def search(
        self, vector: NDArray[np.float32], k: int, *, within: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return up to ``k`` (atom id, cosine) pairs, best first, of the ids in ``within`` (of all, if None)."""
        with self._guard:
            everything = self._keys[: len(self._ids)]
            if within is None:
                rows = np.arange(len(self._ids))
            else:
                rows = np.array(sorted({self._rows[id_] for id_ in within if id_ in self._rows}), np.intp)
            if k < 1 or not len(rows):
                return []
            scores = (everything if within is None else everything[rows]) @ vector
            if k < len(rows):
                best = np.argpartition(-scores, k - 1)[:k]
                rows, scores = rows[best], scores[best]
            order = np.lexsort((rows, -scores))
            return [(self._ids[rows[i]], float(np.clip(scores[i], -1, 1))) for i in order]

    def delete(self, atom_ids: Collection[str]) -> None:
        """Remove keys; unknown ids are ignored."""
        with self._guard:
            for id_ in set(atom_ids) & self._rows.keys():
                self._remove(id_)

    def ids(self) -> set[str]:
        """Return the ids of all keys."""
        with self._guard:
            _ = self._keys
            return set(self._rows)

    def clear(self) -> None:
        """Remove all keys."""
        with self._guard:
            self._rows, self._ids, self._matrix = {}, [], np.zeros_like(self._keys[:0])

    def close(self) -> None:
        """Let go of the matrix; further calls raise `StoreError`."""
        with self._guard:
            self._rows, self._ids, self._matrix = {}, [], None

    @property
    def _keys(self) -> NDArray[np.float32]:
        if self._matrix is None:
            raise StoreError("using a key index that was closed; open it again")
        return self._matrix

    def _reserve(self, keys: Sequence[AtomKey]) -> None:
        """Make room for all keys to come, doubling, so that adding one by one stays linear."""
        needed = len(self._ids) + len(keys)
        if not keys or needed <= len(self._keys):
            return
        grown = np.zeros((max(needed, 2 * len(self._keys), 64), len(keys[0].vector)), np.float32)
        if self._ids:
            grown[: len(self._ids)] = self._keys[: len(self._ids)]
        self._matrix = grown

    def _remove(self, id_: str) -> None:
        """Move the last key into the row of the one that goes."""
        row, last = self._rows.pop(id_), self._ids.pop()
        if last != id_:
            self._ids[row], self._rows[last] = last, row
            self._keys[row] = self._keys[len(self._ids)]
        self._keys[len(self._ids)] = 0
