"""`ParametricMemoryRetriever`: a memory's atoms as documents, for chains that want text in their prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from parametric_memory.conversation import current_scope, narrowed, scope_keys

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory
else:
    # Pydantic looks at annotations at run time, and the real class would load torch.
    ParametricMemory = Any


class ParametricMemoryRetriever(BaseRetriever):
    """Returns the atoms that fit a question, best first, each a document that stands by itself.

    A document's text is the atom's statement, with title and headings resolved in. Its metadata is the atom's own, with
    ``source``, ``span`` (the characters of the document at that source), ``score`` (log-odds that it answers),
    ``kind``, ``document_id``.

    Attributes:
        memory: Where to look.
        k: Most documents.
        gated: Return only the atoms that would be composed for the answer, and none where the memory abstains.
        user_id: Only this user's memory.
        agent_id: Only this agent's.
        filters: Only atoms with this metadata.
    """

    memory: ParametricMemory
    k: int = 4
    gated: bool = False
    user_id: str | None = None
    agent_id: str | None = None
    filters: Mapping[str, Any] | None = None

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filters: Mapping[str, Any] | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
    ) -> list[Document]:
        scope = narrowed(
            self.filters or {},
            scope_keys(user_id=self.user_id, agent_id=self.agent_id),
            filters or {},
            scope_keys(user_id=user_id, agent_id=agent_id),
            current_scope(),
        )
        limit = self.k if k is None else k
        if not self.gated:
            found = self.memory.search(query, top_k=limit, filters=scope)["results"]
            return [atom_document(record) for record in found]
        route = self.memory.explain(query, filters=scope)
        return [atom_document(one.atom.record() | {"score": one.score}) for one in route.selected[:limit]]


def atom_document(record: Mapping[str, Any]) -> Document:
    """Return an atom's record, as the memory's verbs give it, as a document."""
    own = {key: value for key, value in record["metadata"].items() if not key.startswith("lc_")}
    facts = {key: record[key] for key in ("source", "span", "score", "kind", "document_id") if key in record}
    return Document(id=record["id"], page_content=record["memory"], metadata=own | facts)
