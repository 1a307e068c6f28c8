"""LlamaIndex's messages as turns that chat templates take, and replies as LlamaIndex's responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms import types
from llama_index.core.llms import ChatMessage, ChatResponse, CompletionResponse, MessageRole
from llama_index.core.llms.llm import ToolSelection

from parametric_memory.conversation import Reply, written_call, written_result
from parametric_memory.types import Message

_ROLES = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
#: Blocks that carry text, and blocks that may be left out of what a base model reads.
_TEXT, _SILENT = "text", frozenset({"cache", "thinking", "tool_call"})
#: Calls of tools are blocks of a message since llama-index-core 0.14.3; before, they are among its keywords.
_CallBlock: Any = getattr(types, "ToolCallBlock", None)


def turns_of(messages: Sequence[ChatMessage]) -> list[Message]:
    """Return messages as turns; calls of tools and their results are written as text.

    Raises:
        ValueError: If a message holds something that is not text.
    """
    turns: list[Message] = []
    for message in messages:
        role, text = _ROLES.get(message.role, "user"), text_of(message)
        if role == "tool":
            text = written_result(text)
        elif role == "user" and text.startswith("Observation:"):
            role = "tool"  # a ReAct agent tells what its tools say in the user's name
        calls = [written_call(call.tool_name, call.tool_kwargs) for call in calls_of(message)]
        turns.append({"role": role, "content": "\n".join(part for part in [text, *calls] if part)})
    return turns


def text_of(message: ChatMessage) -> str:
    """Return the text of a message.

    Raises:
        ValueError: If it holds an image, a sound or a file.
    """
    kinds = {block.block_type for block in message.blocks}
    if unreadable := sorted(kinds - {_TEXT} - _SILENT):
        raise ValueError(
            f"reading a message of the {message.role.value}: it holds {', '.join(unreadable)}, and the base model "
            "reads only text"
        )
    return "\n".join(block.text for block in message.blocks if isinstance(block, types.TextBlock))


def calls_of(message: ChatMessage) -> list[ToolSelection]:
    """Return the calls of tools in a message."""
    found = [
        ToolSelection(tool_id=block.tool_call_id or "", tool_name=block.tool_name, tool_kwargs=_arguments(block))
        for block in message.blocks
        if _CallBlock is not None and isinstance(block, _CallBlock)
    ]
    return found + [
        ToolSelection.model_validate(call)
        for call in message.additional_kwargs.get("tool_calls", ())
        if isinstance(call, Mapping) and "tool_name" in call  # other LLMs' calls have other shapes
    ]


def chat_response(reply: Reply, *, model: str, delta: str | None = None) -> ChatResponse:
    """Return a reply as a chat response.

    What is known about it is in ``raw`` and ``additional_kwargs`` of the response, not of the message: a message's are
    kept, and counted as tokens, by LlamaIndex's memory.
    """
    message = ChatMessage(role=MessageRole.ASSISTANT, content=reply.answer.text)
    for call in reply.calls:
        if _CallBlock is not None:
            block = _CallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=dict(call.arguments))
            message.blocks.append(block)
        else:
            selection = ToolSelection(tool_id=call.id, tool_name=call.name, tool_kwargs=dict(call.arguments))
            message.additional_kwargs.setdefault("tool_calls", []).append(selection.model_dump())
    record = record_of(reply, model=model)
    return ChatResponse(message=message, delta=delta, raw=record, additional_kwargs=_short(record))


def chat_piece(text: str, delta: str) -> ChatResponse:
    """Return an answer as far as it is written."""
    return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text), delta=delta)


def completion_response(reply: Reply, *, model: str, delta: str | None = None) -> CompletionResponse:
    """Return a reply as a completion."""
    record = record_of(reply, model=model)
    return CompletionResponse(text=reply.answer.text, delta=delta, raw=record, additional_kwargs=_short(record))


def record_of(reply: Reply, *, model: str) -> dict[str, Any]:
    """Return all that is known about a reply, as JSON has it: route, citations, tokens, times."""
    usage = reply.answer.usage
    tokens = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    invalid = [{"name": one.name, "written": one.written, "problem": one.problem} for one in reply.invalid]
    return {
        "model": model,
        "finish_reason": reply.finish_reason,
        "usage": tokens,
        **reply.answer.record(),
        **({"invalid_tool_calls": invalid} if invalid else {}),
    }


def _short(record: dict[str, Any]) -> dict[str, Any]:
    """Return what callbacks look for in a response: tokens, by the names of OpenAI; and route and citations."""
    return {**record["usage"], **{key: record[key] for key in ("abstained", "atoms", "citations")}}


def _arguments(block: Any) -> dict[str, Any]:
    if isinstance(block.tool_kwargs, str):
        import json

        parsed = json.loads(block.tool_kwargs or "{}")
        return parsed if isinstance(parsed, dict) else {}
    return dict(block.tool_kwargs)
