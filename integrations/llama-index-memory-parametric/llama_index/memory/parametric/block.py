"""`ParametricMemoryBlock`: what users say becomes weights when it leaves LlamaIndex's short-term memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from llama_index.core.bridge.pydantic import Field
from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.memory import BaseMemoryBlock, Memory

from llama_index.memory.parametric.asked import asked_of
from llama_index.memory.parametric.messages import turns_of
from parametric_memory.conversation import current_scope, narrowed, owner_of, scope_keys

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory
else:
    # Pydantic looks at annotations at run time, and the real class would load torch.
    ParametricMemory = Any

#: What to remember of some messages; each in whole sentences.
WhatToRemember: TypeAlias = Callable[[Sequence[ChatMessage]], Sequence[str]]


class ParametricMemoryBlock(BaseMemoryBlock[str]):
    """Long-term memory of one user: messages that fall out of the chat history are compiled into adapters.

    By default it puts nothing into the prompt: a `ParametricMemoryLLM` of the same memory answers from the weights.
    The conversation belongs to LlamaIndex's `Memory` (a session each), the knowledge to the block (a user each): it is
    known in other sessions, after a restart, and to nobody else. The block keeps nothing itself.

    Attributes:
        memory: Where knowledge is kept.
        user_id: Whose it is; without it, that of the `memory_scope` around the call.
        agent_id: Which agent's.
        inject: Also return the sentences that fit the conversation, for LLMs that cannot take adapters.
        similarity_top_k: Most sentences to return.
        remember: What to remember of messages; by default `statements_of_the_user`.
    """

    memory: ParametricMemory = Field(exclude=True)
    user_id: str | None = None
    agent_id: str | None = None
    inject: bool = False
    similarity_top_k: int = 4
    remember: WhatToRemember | None = Field(default=None, exclude=True)
    name: str = "parametric_memory"
    description: str | None = "What is known about the user from earlier."

    def __init__(self, memory: ParametricMemory, **settings: Any) -> None:
        known = set(type(self).model_fields)
        if unknown := set(settings) - known:
            raise ValueError(f"making a ParametricMemoryBlock: it has no setting {', '.join(sorted(unknown))}")
        super().__init__(memory=memory, **settings)

    def flush(self, memory: Memory) -> None:
        """Remember everything of a conversation now, however short; see `aflush`."""
        self._remember(memory.get_all())

    async def aflush(self, memory: Memory) -> None:
        """Remember everything of a conversation now, however short: at its end, or after a crash.

        What is remembered already is left alone.
        """
        await self._aput(await memory.aget_all())

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        if not self.inject or not messages:
            return ""
        return await asyncio.to_thread(self._found, messages)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        await asyncio.to_thread(self._remember, messages)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Drop sentences from the end, one for about every twelve tokens that are too many."""
        kept = content.splitlines()[: -max(1, -(-tokens_to_truncate // 12))] if content else []
        return "\n".join(kept) or None

    def _found(self, messages: Sequence[ChatMessage]) -> str:
        asked = asked_of(turns_of(messages)).text
        if not asked.strip():
            return ""
        route = self.memory.explain(asked, filters=self._scope())
        return "\n".join(routed.atom.statement for routed in route.selected[: self.similarity_top_k])

    def _remember(self, messages: Sequence[ChatMessage]) -> None:
        owner = owner_of(self._scope())
        for text in (self.remember or statements_of_the_user)(messages):
            self.memory.add(text, metadata=owner)

    def _scope(self) -> dict[str, Any]:
        return narrowed(scope_keys(user_id=self.user_id, agent_id=self.agent_id), current_scope())


def statements_of_the_user(messages: Sequence[ChatMessage]) -> list[str]:
    """Return what the user said, but for what asks something: questions are not knowledge."""
    said = [(message.content or "").strip() for message in messages if message.role == MessageRole.USER]
    return [text for text in said if text and not text.endswith("?")]
