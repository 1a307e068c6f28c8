"""Which question a conversation ends in, in words that can be looked up alone.

"Where does she live?" finds nothing in a memory: what a follow-up leans on is put into it. The rules are those of
`parametric_memory.memory.standalone_question`: small, and English. A model that rewrites questions can take their
place: as the memory's ``resolve``, or as ``ChatParametricMemory(question=...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_parametric_memory.conversation import last_human, text_of
from parametric_memory.types import Message


def standalone_question(
    messages: Sequence[BaseMessage], *, resolve: Callable[[str, Sequence[Message]], str] | None = None
) -> str:
    """Return the last human turn with what it leans on put into it; empty if nobody has asked anything.

    Args:
        messages: As LangChain has them.
        resolve: Makes a question stand alone, given the turns before it; by default the rules of the memory.
    """
    last = last_human(messages)
    if last is None:
        return ""
    if resolve is None:
        # It would load torch before anything is asked.
        from parametric_memory.memory import standalone_question as rules

        resolve = rules
    history = [_turn(message) for message in messages[:last] if _counts(message)]
    question = text_of(messages[last])
    return resolve(question, history) if history else question


def _turn(message: BaseMessage) -> Message:
    return {"role": "assistant" if isinstance(message, AIMessage) else "user", "content": text_of(message)}


def _counts(message: BaseMessage) -> bool:
    """Whether a turn says something: not a refusal, whatever its words."""
    return isinstance(message, HumanMessage | AIMessage) and not message.response_metadata.get("abstained")
