"""LangChain's messages as turns of a role and a text.

Calls of tools and their results are written as text, since most templates of small base models know no other way.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    SystemMessage,
    ToolMessage,
)

from parametric_memory.conversation import written_call, written_result
from parametric_memory.types import Message

#: Content blocks that a model of text cannot read and that must not be dropped unseen.
_UNREADABLE = frozenset({"image", "image_url", "audio", "input_audio", "video", "file", "document"})


def turns_of(messages: Sequence[BaseMessage]) -> list[Message]:
    """Return messages as turns, one each.

    Raises:
        ValueError: If a message holds something that is not text.
    """
    return [{"role": _role(message), "content": _written(message)} for message in messages]


def text_of(message: BaseMessage) -> str:
    """Return the text of a message.

    Raises:
        ValueError: If it holds an image, a sound or a file.
    """
    if isinstance(message.content, str):
        return message.content
    kinds = {str(block.get("type")) for block in message.content if isinstance(block, dict)}
    if unreadable := sorted(kinds & _UNREADABLE):
        raise ValueError(
            f"reading a {type(message).__name__}: it holds {', '.join(unreadable)}, and the base model reads only text"
        )
    return str(message.text)


def _role(message: BaseMessage) -> str:
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, AIMessage):
        return "assistant"
    if isinstance(message, ToolMessage):
        return "tool"
    return message.role if isinstance(message, ChatMessage) else "user"


def _written(message: BaseMessage) -> str:
    text = text_of(message)
    if isinstance(message, ToolMessage):
        return written_result(text, failed=message.status == "error")
    if isinstance(message, AIMessage):
        calls = [written_call(call["name"], call["args"]) for call in message.tool_calls]
        return "\n".join(part for part in [text, *calls] if part)
    return text
