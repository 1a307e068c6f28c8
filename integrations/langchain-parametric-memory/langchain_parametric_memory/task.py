"""Replies of the base model as LangChain's results and chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_parametric_memory.replies import metadata_of, usage_of
from parametric_memory.conversation import Reply, Task, stream
from parametric_memory.protocols import Backend

P = ParamSpec("P")
Made = TypeVar("Made")


def result_of(reply: Reply, *, model_name: str) -> ChatResult:
    """Return a reply with everything that is known about how it came about."""
    message = AIMessage(
        content=reply.answer.text,
        tool_calls=[
            ToolCall(type="tool_call", id=call.id, name=call.name, args=dict(call.arguments)) for call in reply.calls
        ],
        invalid_tool_calls=[
            InvalidToolCall(type="invalid_tool_call", id=one.id, name=one.name, args=one.written, error=one.problem)
            for one in reply.invalid
        ],
        usage_metadata=usage_of(reply.answer.usage),
        response_metadata=metadata_of(reply.answer, model_name=model_name, finish_reason=reply.finish_reason),
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def chunks_of(backend: Backend, task: Task) -> Iterator[ChatGenerationChunk]:
    """Yield the answer piece by piece; the last chunk carries what is known about it.

    Raises:
        GenerationError: If the base model fails.
    """
    for piece in stream(backend, task):
        if isinstance(piece, Reply):
            yield _last(result_of(piece, model_name=backend.base_model))
        else:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))


def caught(make: Callable[P, Made], *args: P.args, **kwargs: P.kwargs) -> Made | Exception:
    """Return what comes out, or the error that is raised."""
    try:
        return make(*args, **kwargs)
    except Exception as error:
        return error


def _last(result: ChatResult) -> ChatGenerationChunk:
    """Return what a result says beside its text, which was said already."""
    message = result.generations[0].message
    assert isinstance(message, AIMessage)
    calls = [
        tool_call_chunk(name=call["name"], args=_json(call["args"]), id=call["id"], index=number)
        for number, call in enumerate([*message.tool_calls, *message.invalid_tool_calls])
    ]
    chunk = AIMessageChunk(
        content="",
        tool_call_chunks=calls,
        usage_metadata=message.usage_metadata,
        response_metadata=message.response_metadata,
        chunk_position="last",
    )
    return ChatGenerationChunk(message=chunk)


def _json(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
