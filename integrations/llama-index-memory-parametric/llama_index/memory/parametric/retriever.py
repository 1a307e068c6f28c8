"""`ParametricMemoryRetriever`: a memory's atoms as nodes, for engines that want text in their prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores import MetadataFilters

from llama_index.memory.parametric.filters import exact, matches
from llama_index.memory.parametric.nodes import atom_node, probability
from parametric_memory.conversation import current_scope, narrowed, scope_keys

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory


class ParametricMemoryRetriever(BaseRetriever):
    """Returns the atoms that fit a question, best first, each a node that stands by itself (see `nodes.atom_node`).

    Args:
        memory: Where to look.
        similarity_top_k: Most nodes.
        gated: Return only the atoms that would be composed for the answer, and none where the memory abstains.
        user_id: Only this user's memory.
        agent_id: Only this agent's.
        filters: Only atoms with this metadata.
        callback_manager: LlamaIndex's.
    """

    def __init__(
        self,
        memory: ParametricMemory,
        *,
        similarity_top_k: int = 4,
        gated: bool = False,
        user_id: str | None = None,
        agent_id: str | None = None,
        filters: MetadataFilters | Mapping[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        self.memory, self.similarity_top_k, self.gated = memory, similarity_top_k, gated
        self._keys = scope_keys(user_id=user_id, agent_id=agent_id)
        self._filters = filters
        super().__init__(callback_manager=callback_manager)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        scope = narrowed(exact(self._filters), self._keys, current_scope())
        question, k = query_bundle.query_str, self.similarity_top_k
        if self.gated:
            route = self.memory.explain(question, filters=scope)
            found = [one.atom.record() | {"score": one.score} for one in route.selected]
            return self._nodes([record for record in found if self._wanted(record)][:k])
        limit = max(16, 4 * k)
        while True:
            found = self.memory.search(question, top_k=limit, filters=scope)["results"]
            wanted = [record for record in found if self._wanted(record)]
            if len(wanted) >= k or len(found) < limit:
                return self._nodes(wanted[:k])
            limit *= 4

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _wanted(self, record: Mapping[str, Any]) -> bool:
        return matches(record["metadata"], self._filters)

    @staticmethod
    def _nodes(records: list[dict[str, Any]]) -> list[NodeWithScore]:
        return [atom_node(record, probability(record["score"])) for record in records]
