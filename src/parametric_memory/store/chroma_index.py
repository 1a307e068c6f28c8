"""The approximate key index: HNSW in an embedded Chroma, in a folder of its own.

Chroma is given ids and keys, never text, and never chooses an embedding function: its default one would download a
model. One process at a time may have the folder open, and a process that is killed while it has may leave files that
crash the next one to read them: `DerivedIndex` sees to both.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from parametric_memory.errors import StoreError
from parametric_memory.store.database import Item, batches
from parametric_memory.types import AtomKey

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection as ChromaCollection

#: Length of the list that a search keeps. Twice Chroma's own costs 0.1 ms and finds what that misses.
_EF_SEARCH = 200


class ChromaIndex:
    """A `KeyIndex` in a folder. Threads may share it; processes may not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._client: Client | None = None
        self._open()

    def upsert(self, keys: Sequence[AtomKey]) -> None:
        """Add keys, or replace the ones that are there."""
        latest = list({key.atom_id: key for key in keys}.values())
        for batch in self._batches(latest):
            vectors = np.stack([key.vector for key in batch]).astype(np.float32)
            self._collection.upsert(ids=[key.atom_id for key in batch], embeddings=vectors)

    def search(
        self, vector: NDArray[np.float32], k: int, *, within: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return up to ``k`` (atom id, cosine) pairs, best first, of the ids in ``within`` (of all, if None)."""
        if k < 1 or (within is not None and not within):
            return []
        if within is None:
            # Chroma returns what there is. To count first would cost as much as the search, and grow with the keys.
            return self._query(vector, k, None)
        from chromadb.errors import InternalError

        wanted = list(dict.fromkeys(within))
        try:
            return self._query(vector, min(k, len(wanted)), wanted)
        except InternalError:
            # Chroma fails on ids that it does not have. Asking first would double the time of every search.
            found = (self._collection.get(ids=list(batch), include=[])["ids"] for batch in self._batches(wanted))
            known = [id_ for ids in found for id_ in ids]
            if len(known) == len(wanted):
                raise
            return self._query(vector, min(k, len(known)), known) if known else []

    def delete(self, atom_ids: Collection[str]) -> None:
        """Remove keys; unknown ids are ignored."""
        for batch in self._batches(sorted(set(atom_ids))):
            self._collection.delete(ids=list(batch))

    def ids(self) -> set[str]:
        """Return the ids of all keys."""
        return set(self._collection.get(include=[])["ids"])

    def clear(self) -> None:
        """Remove all keys, and the files they were in: Chroma itself leaves deleted keys in its files."""
        self.close()
        shutil.rmtree(self._path)
        self._open()

    def close(self) -> None:
        """Write what is pending and let go of the folder; further calls raise `StoreError`."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _open(self) -> None:
        import chromadb
        from chromadb.api.collection_configuration import CreateCollectionConfiguration, CreateHNSWConfiguration
        from chromadb.config import Settings

        client = chromadb.PersistentClient(path=self._path, settings=Settings(anonymized_telemetry=False))
        # Declared as an interface without `close`.
        self._client = cast("Client", client)
        hnsw = CreateHNSWConfiguration(space="cosine", ef_search=_EF_SEARCH)
        self._keys = client.get_or_create_collection(
            "keys", embedding_function=None, configuration=CreateCollectionConfiguration(hnsw=hnsw)
        )

    @property
    def _collection(self) -> ChromaCollection:
        if self._client is None:
            raise StoreError(f"using the key index {self._path}, which was closed; open it again")
        return self._keys

    def _batches(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        _ = self._collection
        assert self._client is not None
        return batches(items, self._client.get_max_batch_size())

    def _query(self, vector: NDArray[np.float32], k: int, within: Collection[str] | None) -> list[tuple[str, float]]:
        ids = None if within is None else list(within)
        found = self._collection.query(query_embeddings=vector[None], n_results=k, ids=ids, include=["distances"])
        distances = (found["distances"] or [[]])[0]
        # Rounding makes the distance of a key to itself slightly negative.
        cosines = np.clip(1 - np.asarray(distances, np.float64), -1, 1)
        return list(zip(found["ids"][0], cosines.tolist(), strict=True))
