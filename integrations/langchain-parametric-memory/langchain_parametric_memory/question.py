"""Which question LangChain's messages end in, in words that can be looked up alone."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_parametric_memory.conversation import text_of
from parametric_memory.conversation import Resolve, last_question
from parametric_memory.types import Message


def standalone_question(messages: Sequence[BaseMessage], *, resolve: Resolve | None = None) -> str:
    """Return the last human turn with what it leans on put into it; empty if nobody has asked anything.

    Args:
        messages: As LangChain has them.
        resolve: Makes a question stand alone, given the turns before it; by default the rules of the memory.
    """
    turns: list[Message] = []
    for message in messages:
        if isinstance(message, HumanMessage):
            turns.append({"role": "user", "content": text_of(message)})
        # What the memory had no answer to is no name that a later "she" could mean.
        elif isinstance(message, AIMessage) and not message.response_metadata.get("abstained"):
            turns.append({"role": "assistant", "content": text_of(message)})
    return last_question(turns, resolve=resolve)
