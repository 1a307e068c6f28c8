"""`ParametricQueryEngine`: questions in, answers from weights out, with the sentences they stand on as source nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import AsyncStreamingResponse, Response, StreamingResponse
from llama_index.core.callbacks import CallbackManager
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index.memory.parametric.events import tell_generated, tell_prepared
from llama_index.memory.parametric.llm import stepwise
from llama_index.memory.parametric.messages import record_of
from llama_index.memory.parametric.nodes import cited_nodes
from llama_index.memory.parametric.retriever import ParametricMemoryRetriever
from parametric_memory.config import Fallback, Mode
from parametric_memory.conversation import Reply, Talk, Task, current_scope, narrowed, run, scope_keys, stream
from parametric_memory.types import Message

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory


class ParametricQueryEngine(BaseQueryEngine):
    """Routes a question, answers it from the adapters of its atoms, and names the atoms.

    No text of the documents enters the prompt, and no LLM but the memory's base model is asked. ``source_nodes`` are
    the atoms that the answer stands on, ``metadata`` is the route and what it cost (see `Answer.record`).

    Args:
        memory: What to ask.
        mode: ``atoms``: from weights. ``hybrid``: from weights and a snippet of the best atom's source;
            ``hybrid_unsure``: only where the memory is not sure. ``in_context``: the sentences in the prompt, as RAG
            does. ``closed_book``: the bare base model.
        streaming: Whether answers come piece by piece.
        fallback: What answers if the memory holds nothing that does: ``unknown``: the words that the memory has for it
            ("I don't know."); ``base``: the bare base model; ``raise``: an `AbstainedError`.
        user_id: Only this user's memory.
        agent_id: Only this agent's.
        filters: Only atoms with this metadata.
        settings: Of the generation, by the names of `GenerationConfig`.
        callback_manager: LlamaIndex's.
    """

    def __init__(
        self,
        memory: ParametricMemory,
        *,
        mode: Mode = "atoms",
        streaming: bool = False,
        fallback: Fallback = "unknown",
        user_id: str | None = None,
        agent_id: str | None = None,
        filters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        self.memory, self._streaming = memory, streaming
        self._talk = Talk(backend=memory.backend, memory=memory, mode=mode, fallback=fallback)
        self._filters = narrowed(filters or {}, scope_keys(user_id=user_id, agent_id=agent_id))
        self._settings = dict(settings or {})
        super().__init__(callback_manager=callback_manager)

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return the atoms that an answer would stand on; none where the memory abstains."""
        limit = self.memory.config.routing.candidates
        retriever = ParametricMemoryRetriever(
            self.memory,
            similarity_top_k=limit,
            gated=True,
            filters=self._filters,
            callback_manager=self.callback_manager,
        )
        return retriever.retrieve(query_bundle)

    def _query(self, query_bundle: QueryBundle) -> Response | StreamingResponse:
        task = self._task(query_bundle.query_str)
        if not self._streaming:
            return self._response(task)
        known = task.answer.record()
        return StreamingResponse(self._pieces(task, known), cited_nodes(task.answer), known)

    async def _aquery(self, query_bundle: QueryBundle) -> Response | AsyncStreamingResponse:
        task = await asyncio.to_thread(self._task, query_bundle.query_str)
        if not self._streaming:
            return await asyncio.to_thread(self._response, task)
        known = task.answer.record()
        return AsyncStreamingResponse(stepwise(self._pieces(task, known)), cited_nodes(task.answer), known)

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}

    def _task(self, question: str) -> Task:
        scope = narrowed(self._filters, current_scope())
        turns: list[Message] = [{"role": "user", "content": question}]
        task = self._talk.task(turns, question, filters=scope, settings=self._settings)
        tell_prepared(task)
        return task

    def _response(self, task: Task) -> Response:
        reply = run(self.memory.backend, task)
        return Response(reply.answer.text, cited_nodes(reply.answer), self._told(reply))

    def _pieces(self, task: Task, known: dict[str, Any]) -> Generator[str, None, None]:
        """Yield the answer; when it is whole, what is known about it grows by what it cost."""
        for piece in stream(self.memory.backend, task):
            if isinstance(piece, Reply):
                known.update(self._told(piece))
            else:
                yield piece

    def _told(self, reply: Reply) -> dict[str, Any]:
        model = self.memory.backend.base_model
        tell_generated(reply, model=model)
        return record_of(reply, model=model)
