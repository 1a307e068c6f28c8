"""`ParametricMemoryVectorStore`: a memory where LangChain expects a vector store.

Documents go in and are compiled; what comes out are the same documents, found by the best of their atoms. Adding a
document that is there already compiles nothing. Documents that were added to the memory itself (files, notes) are found
too: of them, single atoms are returned.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from langchain_parametric_memory.embeddings import ParametricMemoryEmbeddings
from langchain_parametric_memory.retrievers import atom_document
from parametric_memory.conversation import current_scope, narrowed, owner_of, scope_keys
from parametric_memory.errors import AtomNotFoundError, DocumentNotFoundError
from parametric_memory.types import SCOPE_KEYS, Atom, Scalar, stable_id
from parametric_memory.types import Document as MemoryDocument

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory

logger = logging.getLogger(__name__)

Filter: TypeAlias = Mapping[str, Any] | Callable[[Document], bool]

#: Metadata that this module keeps beside a document's own: its id in LangChain, and values that are no scalars.
_ID, _REST = "lc_id", "lc_metadata"


class ParametricMemoryVectorStore(VectorStore):
    """A vector store whose documents are also in weights.

    Scores are the router's log-odds that a document answers the query: larger is better, 0 is even odds.

    Args:
        memory: Where documents are kept.
        user_id: Whose documents: only these are seen, and what is added is this user's.
        agent_id: Which agent's.
        filters: Only documents with this metadata are seen.
    """

    def __init__(
        self,
        memory: ParametricMemory,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> None:
        self.memory = memory
        self._keys = scope_keys(user_id=user_id, agent_id=agent_id)
        self._filters = dict(filters or {})

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        memory: ParametricMemory | None = None,
        path: str | None = None,
        **kwargs: Any,
    ) -> ParametricMemoryVectorStore:
        """Add texts to a memory and return it as a store.

        Args:
            texts: One document each.
            embedding: Not used: a memory has its own key encoder. It is here because LangChain passes one.
            metadatas: One per text.
            ids: One per text.
            memory: Where to add them.
            path: Folder of a memory to open instead, with the built-in base model.
            kwargs: What else the store takes.

        Raises:
            ValueError: If neither a memory nor a path is given.
        """
        if memory is None and path is None:
            raise ValueError("making a ParametricMemoryVectorStore: pass memory=, or path= of a memory's folder")
        if memory is None:
            from parametric_memory import ParametricMemory

            memory = ParametricMemory.from_pretrained(path=str(path))
        store = cls(memory, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @property
    def embeddings(self) -> Embeddings:
        """The memory's key encoder."""
        return ParametricMemoryEmbeddings(self.memory.key_encoder)

    # ---------------------------------------------------------------- adding and removing

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Compile texts into the memory and return their ids; see `add_documents`."""
        texts = list(texts)
        rows = zip(texts, metadatas or [{} for _ in texts], ids or [None] * len(texts), strict=True)
        return self.add_documents([Document(id=id_, page_content=text, metadata=own) for text, own, id_ in rows])

    def add_documents(
        self, documents: list[Document], *, ids: Sequence[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Compile documents into the memory and return their ids; one that is there already is left alone.

        Args:
            documents: Their metadata is kept, values that are no scalars as JSON. A ``user_id`` or ``agent_id`` in it
                says whose a document is.
            ids: One per document; else its own id, else one that depends on its content.
            kwargs: What LangChain's indexing passes to every store.

        Raises:
            ValueError: If metadata cannot be kept, or names another user than the store's.
            CompilationError: If a document cannot be compiled; those before it are stored.
        """
        chosen = ids if ids is not None else [document.id for document in documents]
        return [self._add(document, id_) for document, id_ in zip(documents, chosen, strict=True)]

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Remove documents, or single atoms, by id; unknown ids are ignored.

        Raises:
            ValueError: If no ids are given: to remove everything, use the memory's `reset`.
        """
        if ids is None:
            raise ValueError("deleting from a memory: give ids; to remove everything, use memory.reset()")
        for id_ in [ids] if isinstance(ids, str) else ids:
            if (document := self._find(id_)) is not None:
                self.memory.store.delete_document(document.id)
            elif self._atom(id_) is not None:
                self.memory.store.delete([id_])
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents, or single atoms, that there are of these ids, in order."""
        found = []
        for id_ in ids:
            if (document := self._find(id_)) is not None:
                found.append(_as_added(document))
            elif (atom := self._atom(id_)) is not None:
                found.append(atom_document(atom.record()))
        return found

    # ---------------------------------------------------------------- finding

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any) -> list[Document]:
        """Return the documents that fit a query, best first; see `similarity_search_with_score`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return up to `k` documents, best first, each with the log-odds that it answers the query.

        Args:
            query: In plain words.
            k: Most documents.
            filter: Metadata that a document must have (a value, a list of which any will do, or Chroma's ``$eq`` and
                ``$in``), or a function that says of a document whether it may be returned.
            kwargs: What LangChain passes to other stores.
        """
        return [(document, score) for document, score, _ in self._found(query, k, filter)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the documents with the atoms whose keys are nearest to a vector of the memory's own encoder."""
        return [document for document, _, _ in self._near(embedding, k, filter)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return up to `k` of the `fetch_k` best documents, as unlike one another as `lambda_mult` asks (0 to 1)."""
        found = self._found(query, fetch_k, filter)
        return self._diverse(self.embeddings.embed_query(query), found, k, lambda_mult)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return up to `k` of the `fetch_k` documents nearest to a vector, as unlike one another as is asked."""
        return self._diverse(embedding, self._near(embedding, fetch_k, filter), k, lambda_mult)

    def _near(self, embedding: Sequence[float], k: int, filter: Filter | None) -> list[tuple[Document, float, str]]:
        """Return up to `k` documents with keys near to a vector (see `_documents`)."""
        import numpy as np

        scope, vector = self._scope(filter), np.asarray(embedding, dtype=np.float32)
        vector = vector / (np.linalg.norm(vector) or 1.0)

        def atoms(limit: int) -> list[tuple[dict[str, Any], float]]:
            found = self.memory.store.search("", vector, limit, filters=scope or None)[:limit]
            return [(candidate.atom.record(), candidate.dense) for candidate in found]

        return self._documents(atoms, k, filter)

    def _found(self, query: str, k: int, filter: Filter | None) -> list[tuple[Document, float, str]]:
        """Return up to `k` documents that fit a query (see `_documents`)."""
        scope = self._scope(filter)

        def atoms(limit: int) -> list[tuple[dict[str, Any], float]]:
            found = self.memory.search(query, top_k=limit, filters=scope)["results"]
            return [(record, float(record["score"])) for record in found]

        return self._documents(atoms, k, filter)

    def _diverse(
        self, query: Sequence[float], found: Sequence[tuple[Document, float, str]], k: int, lambda_mult: float
    ) -> list[Document]:
        import numpy as np
        from langchain_core.vectorstores.utils import maximal_marginal_relevance

        if not found:
            return []
        keys = self.memory.key_encoder.encode_atoms([statement for _, _, statement in found])
        taken = maximal_marginal_relevance(np.asarray(query), list(keys), lambda_mult=lambda_mult, k=k)
        return [found[place][0] for place in taken]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: 1.0 / (1.0 + math.exp(-max(-700.0, score)))

    # ---------------------------------------------------------------- inside

    def _scope(self, filter: Filter | None = None) -> dict[str, Any]:
        asked = _memory_filters(filter) if isinstance(filter, Mapping) else {}
        return narrowed(self._filters, self._keys, asked, current_scope())

    def _owner(self) -> dict[str, Any]:
        """Return whose the documents are that are added and found by id."""
        return {key: value for key, value in owner_of(self._scope()).items() if isinstance(value, Scalar)}

    def _document_id(self, id_: str) -> str:
        # Two users may call two documents the same.
        return stable_id("langchain", id_, *(f"{key}={value}" for key, value in sorted(self._owner().items())))

    def _add(self, document: Document, id_: str | None) -> str:
        own = _kept(document.metadata)
        if id_ is None:
            id_ = stable_id(document.page_content, json.dumps(own, sort_keys=True))
        metadata = {**own, **narrowed(owner_of(own), self._owner()), _ID: id_}
        made = MemoryDocument(
            self._document_id(id_), document.page_content, source=str(own.get("source", "")), metadata=metadata
        )
        if not self.memory.store.unchanged(made):
            self._put(made)
        return id_

    def _put(self, document: MemoryDocument) -> None:
        from parametric_memory.ingest.extraction import whole

        atoms = self.memory.extract(document) or whole(document)
        if not atoms:
            logger.warning("the document %s is blank: it is kept, and no search finds it", document.metadata[_ID])
        missing = set(self.memory.store.missing(document, atoms))
        new = [atom for atom in atoms if atom.id in missing]
        self.memory.store.put(document, atoms, self.memory.encode_keys(new), self.memory.compile(new))

    def _find(self, id_: str) -> MemoryDocument | None:
        try:
            document = self.memory.store.document(self._document_id(id_))
        except DocumentNotFoundError:
            return None
        return document if _matches(document.metadata, self._scope()) else None

    def _atom(self, id_: str) -> Atom | None:
        try:
            atom = self.memory.store.get(id_)
        except AtomNotFoundError:
            return None
        return atom if _matches(atom.metadata, self._scope()) else None

    def _documents(
        self, atoms: Callable[[int], list[tuple[dict[str, Any], float]]], k: int, filter: Filter | None
    ) -> list[tuple[Document, float, str]]:
        """Return up to `k` documents by the best of their atoms, with its score and statement.

        Several atoms may be of one document, and a function may refuse some: more are asked for until there are enough.
        """
        limit = max(16, 4 * k)
        while True:
            found = atoms(limit)
            best: dict[str, tuple[dict[str, Any], float]] = {}
            for record, score in found:
                best.setdefault(record["document_id"] if _ID in record["metadata"] else record["id"], (record, score))
            ranked = [(self._shown(record), score, record["memory"]) for record, score in best.values()]
            wanted = [one for one in ranked if not callable(filter) or filter(one[0])]
            if len(wanted) >= k or len(found) < limit:
                return wanted[:k]
            limit *= 4

    def _shown(self, record: Mapping[str, Any]) -> Document:
        if _ID not in record["metadata"]:
            return atom_document(record)
        return _as_added(self.memory.store.document(record["document_id"]))


def _kept(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata of scalars alone, the others as one string of JSON."""
    if reserved := sorted({_ID, _REST} & set(metadata)):
        raise ValueError(f"adding a document: its metadata uses {', '.join(reserved)}, which the store needs itself")
    scalars = {key: value for key, value in metadata.items() if isinstance(value, Scalar) and _finite(value)}
    # Whose a document is is also written by the store: the document's own word for it is told apart.
    rest = {key: value for key, value in metadata.items() if key not in scalars or key in SCOPE_KEYS}
    if rest:
        try:
            scalars[_REST] = json.dumps(rest, ensure_ascii=False)
        except TypeError as error:
            raise ValueError(
                f"adding a document: of its metadata, {', '.join(rest)} cannot be written as JSON ({error}); see "
                "langchain_community.vectorstores.utils.filter_complex_metadata"
            ) from error
    return scalars


def _finite(value: Scalar) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _as_added(document: MemoryDocument) -> Document:
    """Return a document as LangChain gave it: its own metadata and id."""
    own = dict(document.metadata)
    id_, rest = str(own.pop(_ID)), json.loads(str(own.pop(_REST, "{}")))
    for key in SCOPE_KEYS:
        own.pop(key, None)
    return Document(id=id_, page_content=document.text, metadata=own | rest)


def _memory_filters(filter: Mapping[str, Any]) -> dict[str, Any]:
    """Return a filter in Chroma's words in those of the memory.

    Raises:
        ValueError: If it asks for more than equality.
    """
    filters = {}
    for key, value in filter.items():
        if isinstance(value, Mapping) and set(value) in ({"$eq"}, {"$in"}):
            [value] = value.values()  # noqa: PLW2901
        if key.startswith("$") or isinstance(value, Mapping):
            raise ValueError(
                f"filtering by {key!r}: {value!r} is more than a value or a list of values; pass a function instead, "
                "which is called with every document"
            )
        filters[key] = value
    return filters


def _matches(metadata: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    from parametric_memory.store.filters import matches

    return matches(metadata, filters)
