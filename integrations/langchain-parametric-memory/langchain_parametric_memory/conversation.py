"""LangChain's messages as the turns that chat templates take: system first, neighbours of one role joined.

Calls of tools and their results are written as text, since most templates of small base models know no other way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from parametric_memory.types import Message

#: Content blocks that a model of text cannot read and that must not be dropped unseen.
_UNREADABLE = frozenset({"image", "image_url", "audio", "input_audio", "video", "file", "document"})


def turns_of(
    messages: Sequence[BaseMessage], *, asked: str | None = None, history: bool = True, instructions: str = ""
) -> list[Message]:
    """Return the conversation as turns of alternating roles.

    Args:
        messages: As LangChain has them.
        asked: What the last human turn is to say instead.
        history: Whether the turns before the last human one are kept; system messages always are.
        instructions: Put behind the system messages, or in their place if there are none.

    Raises:
        ValueError: If a message holds something that is not text.
    """
    last = last_human(messages)
    system = [text_of(message) for message in messages if isinstance(message, SystemMessage)]
    turns: list[Message] = []
    if joined := "\n\n".join(part for part in [*system, instructions] if part):
        turns.append({"role": "system", "content": joined})
    for place, message in enumerate(messages):
        if isinstance(message, SystemMessage) or (not history and last is not None and place < last):
            continue
        text = asked if place == last and asked is not None else _written(message)
        _append(turns, _role(message), text)
    return turns


def last_human(messages: Sequence[BaseMessage]) -> int | None:
    """Return the place of the last human turn, if there is one."""
    return next((n for n in reversed(range(len(messages))) if isinstance(messages[n], HumanMessage)), None)


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


def _append(turns: list[Message], role: str, text: str) -> None:
    if turns and turns[-1]["role"] == role != "system":
        turns[-1] = {"role": role, "content": f"{turns[-1]['content']}\n{text}"}
    else:
        turns.append({"role": role, "content": text})


def _role(message: BaseMessage) -> str:
    if isinstance(message, AIMessage):
        return "assistant"
    return message.role if isinstance(message, ChatMessage) else "user"


def _written(message: BaseMessage) -> str:
    text = text_of(message)
    if isinstance(message, ToolMessage):
        failed = ' status="error"' if message.status == "error" else ""
        return f"<tool_response{failed}>{text}</tool_response>"
    if isinstance(message, AIMessage):
        calls = [written_call(call["name"], call["args"]) for call in message.tool_calls]
        return "\n".join(part for part in [text, *calls] if part)
    return text


def written_call(name: str, arguments: object) -> str:
    """Return a call of a tool as the base model is asked to write it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}</tool_call>"
