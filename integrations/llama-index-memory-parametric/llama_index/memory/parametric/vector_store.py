"""`ParametricVectorStore`: a memory where LlamaIndex expects a vector store.

Nodes go in and are compiled; what comes out are the same nodes, found by the best of their atoms. A node that is there
already compiles nothing, and a document that is replaced compiles only what changed. What was added to the memory
itself (files, notes) is found too: of it, single atoms are returned.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode, NodeRelationship
from llama_index.core.storage import StorageContext
from llama_index.core.vector_stores import MetadataFilters, VectorStoreQuery, VectorStoreQueryResult
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQueryMode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from llama_index.memory.parametric.filters import exact, matches
from llama_index.memory.parametric.nodes import ID, NODE, PRIVATE, REF, START, atom_node, probability
from parametric_memory.conversation import current_scope, narrowed, owner_of, scope_keys
from parametric_memory.types import Atom, AtomCode, AtomKey, Document, Scalar, stable_id

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory
else:
    # Pydantic looks at annotations at run time, and the real class would load torch.
    ParametricMemory = Any

logger = logging.getLogger(__name__)

#: Atoms by what they are compiled from.
_Compiled: TypeAlias = dict[tuple[str, ...], tuple[AtomKey, AtomCode]]
#: An atom's record and its score.
_Found: TypeAlias = list[tuple[dict[str, Any], float]]
#: Documents whose compiled atoms are kept, in this object alone, between their deletion and their return.
_RETURNING = 16
_MEANT = {
    VectorStoreQueryMode.DEFAULT,
    VectorStoreQueryMode.HYBRID,
    VectorStoreQueryMode.SEMANTIC_HYBRID,
    VectorStoreQueryMode.MMR,
}
_WORDS = {VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE}


class ParametricVectorStore(BasePydanticVectorStore):
    """A vector store whose nodes are also in weights.

    Similarities are the router's probabilities that a node answers the query. Queries are searched by their words and
    by the memory's own keys; embeddings of nodes are not used, whatever model they are from.

    Attributes:
        memory: Where nodes are kept.
        user_id: Whose nodes: only these are seen, and what is added is this user's.
        agent_id: Which agent's.
        filters: Only nodes with this metadata are seen.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    memory: ParametricMemory = Field(exclude=True)
    user_id: str | None = None
    agent_id: str | None = None
    filters: Mapping[str, Any] | None = None
    _returning: OrderedDict[str, _Compiled] = PrivateAttr(default_factory=OrderedDict)

    def __init__(self, memory: ParametricMemory | None = None, *, path: str | None = None, **settings: Any) -> None:
        """Use a memory, or open the one at `path` with the built-in base model.

        Raises:
            ValueError: If neither or both are given, or a setting does not exist.
        """
        if (memory is None) == (path is None):
            raise ValueError("making a ParametricVectorStore: pass a memory, or path= of a memory's folder")
        if unknown := set(settings) - set(type(self).model_fields):
            raise ValueError(f"making a ParametricVectorStore: it has no setting {', '.join(sorted(unknown))}")
        if memory is None:
            from parametric_memory import ParametricMemory

            memory = ParametricMemory.from_pretrained(path=str(path))
        super().__init__(memory=memory, **settings)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that it is serialised under."""
        return "ParametricVectorStore"

    @property
    def client(self) -> ParametricMemory:
        """The memory."""
        return self.memory

    @property
    def storage_context(self) -> StorageContext:
        """A storage context with this store, for `VectorStoreIndex.from_documents`."""
        return StorageContext.from_defaults(vector_store=self)

    # ---------------------------------------------------------------- adding and removing

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Compile nodes into the memory and return their ids; one that is there already is left alone.

        Raises:
            ValueError: If a node's metadata cannot be written as JSON.
            CompilationError: If a node cannot be compiled; those before it are stored.
        """
        for node in nodes:
            self._add(node)
        for node in nodes:
            self._returning.pop(node.ref_doc_id or "", None)
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove the nodes of a document.

        LlamaIndex replaces a document by deleting and adding it. So what was compiled of the latest few is kept in this
        object, never on disk, until they come again: their unchanged sentences are not compiled anew.
        """
        documents = self._documents_where({REF: ref_doc_id})
        compiled: _Compiled = {}
        for document_id, _ in documents:
            atoms = self.memory.store.atoms_of(document_id)
            ids = [atom.id for atom in atoms]
            rows = zip(atoms, self.memory.store.keys(ids), self.memory.store.codes(ids), strict=True)
            compiled |= {_content(atom): (key, code) for atom, key, code in rows}
        for document_id, _ in documents:
            self.memory.store.delete_document(document_id)
        if compiled:
            self._returning[ref_doc_id] = compiled
            while len(self._returning) > _RETURNING:
                self._returning.popitem(last=False)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Remove nodes by their ids, by their metadata, or by both; unknown ids are ignored.

        Raises:
            ValueError: If neither is given: to remove everything, use `clear`.
        """
        if not node_ids and filters is None:
            raise ValueError("deleting nodes: give node_ids or filters; to remove everything, use clear()")
        for document_id, _ in self._documents_where({ID: node_ids} if node_ids else {}, filters):
            self.memory.store.delete_document(document_id)

    def clear(self) -> None:
        """Remove all nodes that this store sees; what was added to the memory itself stays."""
        for document_id, _ in self._documents_where({}):
            self.memory.store.delete_document(document_id)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes: in the order of the ids, or as they were added."""
        wanted: dict[str, Any] = {} if node_ids is None else {ID: node_ids}
        found = [self._node(document_id) for document_id, _ in self._documents_where(wanted, filters)]
        if node_ids is None:
            return found
        by_id = {node.node_id: node for node in found}
        return [by_id[id_] for id_ in node_ids if id_ in by_id]

    # ---------------------------------------------------------------- finding

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes that fit a query, best first.

        Modes ``default``, ``hybrid`` and ``semantic_hybrid`` are one: keys and words together. ``text_search`` and
        ``sparse`` go by words alone, ``mmr`` leaves out what says the same. A query without words is a vector of the
        memory's own encoder (`ParametricKeyEmbedding`).

        Raises:
            ValueError: If the mode is another, or there are neither words nor a vector.
        """
        if query.mode not in _MEANT | _WORDS:
            raise ValueError(
                f"querying a memory in mode {query.mode.value!r}: it knows "
                f"{', '.join(sorted(mode.value for mode in _MEANT | _WORDS))}"
            )
        if query.mode == VectorStoreQueryMode.MMR:
            wider = max(4 * query.similarity_top_k, int(kwargs.get("mmr_prefetch_k") or 20))
            found = self._diverse(query, self._nodes_of(query, wider))
        else:
            found = self._nodes_of(query, query.similarity_top_k)
        return VectorStoreQueryResult(
            nodes=[node for node, _, _ in found],
            similarities=[score for _, score, _ in found],
            ids=[node.node_id for node, _, _ in found],
        )

    def _nodes_of(self, query: VectorStoreQuery, k: int) -> list[tuple[BaseNode, float, str]]:
        """Return up to `k` nodes by the best of their atoms, with its score and statement.

        Several atoms may be of one node, and a filter may refuse some: more are asked for until there are enough.
        """
        scope = self._scope(
            exact(query.filters),
            {REF: query.doc_ids} if query.doc_ids else {},
            {ID: query.node_ids} if query.node_ids else {},
        )
        search, limit = self._search(query, scope), max(16, 4 * k)
        while True:
            found = search(limit)
            best: dict[str, tuple[dict[str, Any], float]] = {}
            for record, score in found:
                best.setdefault(record["document_id"] if ID in record["metadata"] else record["id"], (record, score))
            nodes = [(self._shown(record), score, record["memory"]) for record, score in best.values()]
            wanted = [one for one in nodes if matches(one[0].metadata, query.filters)]
            if len(wanted) >= k or len(found) < limit:
                return wanted[:k]
            limit *= 4

    def _search(self, query: VectorStoreQuery, scope: dict[str, Any]) -> Callable[[int], _Found]:
        """Return a function that finds up to so many atoms, best first."""
        if query.query_str and query.mode in _WORDS:
            encoded = self.memory.encode_query(query.query_str)

            def by_words(limit: int) -> _Found:
                found = self.memory.store.search(encoded.text, encoded.vector, limit, filters=scope or None)
                ranked = sorted((one for one in found if one.lexical), key=lambda one: -one.lexical)
                return [(one.atom.record(), one.lexical) for one in ranked[:limit]]

            return by_words
        if query.query_str:
            question = query.query_str

            def by_router(limit: int) -> _Found:
                found = self.memory.search(question, top_k=limit, filters=scope)["results"]
                return [(record, probability(record["score"])) for record in found]

            return by_router
        if query.query_embedding is None:
            raise ValueError("querying a memory: there are neither words (query_str) nor a vector (query_embedding)")
        import numpy as np

        vector = np.asarray(query.query_embedding, dtype=np.float32)
        vector /= np.linalg.norm(vector) or 1.0

        def by_vector(limit: int) -> _Found:
            found = self.memory.store.search("", vector, limit, filters=scope or None)[:limit]
            return [(one.atom.record(), one.dense) for one in found]

        return by_vector

    def _diverse(
        self, query: VectorStoreQuery, found: list[tuple[BaseNode, float, str]]
    ) -> list[tuple[BaseNode, float, str]]:
        """Return the nodes that are as good and as unlike one another as ``mmr_threshold`` asks."""
        from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings

        if not found:
            return []
        encoder = self.memory.key_encoder
        keys = [key.tolist() for key in encoder.encode_atoms([statement for _, _, statement in found])]
        asked = encoder.encode_query(query.query_str).tolist() if query.query_str else list(query.query_embedding or ())
        _, places = get_top_k_mmr_embeddings(
            query_embedding=asked,
            embeddings=keys,
            similarity_top_k=query.similarity_top_k,
            mmr_threshold=query.mmr_threshold,
        )
        return [found[int(place)] for place in places]

    # ---------------------------------------------------------------- without holding up the event loop

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove the nodes of a document."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Remove nodes."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """Remove all nodes that this store sees."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return nodes."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes that fit a query."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    # ---------------------------------------------------------------- inside

    def _scope(self, *asked: Mapping[str, Any]) -> dict[str, Any]:
        own = scope_keys(user_id=self.user_id, agent_id=self.agent_id)
        return narrowed(self.filters or {}, own, *asked, current_scope())

    def _owner(self) -> dict[str, Any]:
        """Return whose the nodes are that are added."""
        return {key: value for key, value in owner_of(self._scope()).items() if isinstance(value, Scalar)}

    def _add(self, node: BaseNode) -> None:
        document = self._document(node)
        if self.memory.store.unchanged(document):
            return
        from parametric_memory.ingest.extraction import whole

        atoms = self.memory.extract(document) or whole(document)
        if not atoms:
            logger.warning("the node %s is blank: it is kept, and no search finds it", node.node_id)
        # The node itself is kept once, with its document, not with every sentence.
        bare = {key: value for key, value in document.metadata.items() if key != NODE}
        atoms = [replace(atom, metadata=bare) for atom in atoms]
        missing = set(self.memory.store.missing(document, atoms))
        known = self._returning.get(node.ref_doc_id or "", {})
        wanted = [atom for atom in atoms if atom.id in missing]
        again = [(atom, *known[_content(atom)]) for atom in wanted if _content(atom) in known]
        new = [atom for atom in wanted if _content(atom) not in known]
        keys = [AtomKey(atom.id, key.vector) for atom, key, _ in again] + self.memory.encode_keys(new)
        codes = [replace(code, atom_id=atom.id) for atom, _, code in again] + self.memory.compile(new)
        self.memory.store.put(document, atoms, keys, codes)

    def _document(self, node: BaseNode) -> Document:
        """Return a node as a document of the memory."""
        text = node.get_content(MetadataMode.NONE)
        content = node.model_dump(mode="json", exclude={"embedding"})
        for key in ("text", "text_resource"):
            content.pop(key, None)
        try:
            written = json.dumps({"type": node.class_name(), "content": content}, ensure_ascii=False, sort_keys=True)
        except TypeError as error:
            raise ValueError(f"adding the node {node.node_id}: it cannot be written as JSON ({error})") from error
        scalars = {key: value for key, value in node.metadata.items() if _is_kept(value) and key not in PRIVATE}
        metadata = {**scalars, **self._owner(), ID: node.node_id, REF: node.ref_doc_id or node.node_id, NODE: written}
        if start := getattr(node, "start_char_idx", None):
            metadata[START] = start
        source = next((str(scalars[key]) for key in ("source", "file_path", "file_name", "url") if key in scalars), "")
        return Document(self._document_id(node), text, source=source or node.ref_doc_id or "", metadata=metadata)

    def _document_id(self, node: BaseNode) -> str:
        """Return an id that a node keeps.

        Splitters give their nodes new ids every time. A piece is the same piece if it is of the same document and
        stands at the same place there; what is of no document goes by its own id.
        """
        start, source = getattr(node, "start_char_idx", None), node.relationships.get(NodeRelationship.SOURCE)
        identity = [node.node_id]
        if start is not None and not isinstance(source, list) and source is not None and source.hash:
            identity = [source.node_id, str(start), node.get_content(MetadataMode.NONE)]
        # Two users may call two nodes the same.
        return stable_id("llama-index", *identity, *(f"{key}={value}" for key, value in sorted(self._owner().items())))

    def _documents_where(
        self, wanted: Mapping[str, Any], filters: MetadataFilters | None = None
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """Return ids and metadata of the documents that are nodes, oldest first."""
        found = self.memory.store.documents(self._scope(wanted, exact(filters)) or None)
        kept = ((one.id, one.metadata) for one in found if NODE in one.metadata)
        return [(id_, metadata) for id_, metadata in kept if matches(_own_metadata(metadata), filters)]

    def _node(self, document_id: str) -> BaseNode:
        document = self.memory.store.document(document_id)
        kept = json.loads(str(document.metadata[NODE]))
        return metadata_dict_to_node(
            {"_node_content": json.dumps(kept["content"]), "_node_type": kept["type"]}, text=document.text
        )

    def _shown(self, record: Mapping[str, Any]) -> BaseNode:
        if ID not in record["metadata"]:
            return atom_node(record, None).node
        return self._node(record["document_id"])


def _content(atom: Atom) -> tuple[str, ...]:
    """Return what an atom is compiled from."""
    return (str(atom.kind), atom.statement, atom.text, atom.context)


def _own_metadata(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node's own metadata, of what is kept."""
    own: dict[str, Any] = json.loads(str(kept[NODE]))["content"].get("metadata", {})
    return own


def _is_kept(value: object) -> bool:
    """Whether a value can be looked for in the database."""
    return isinstance(value, Scalar) and not (isinstance(value, float) and not math.isfinite(value))
