"""One call of the chat model, from the prompt that it leads to, to the message that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import ParamSpec, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_parametric_memory.replies import metadata_of, usage_of
from langchain_parametric_memory.tool_calls import Toolbox, ToolReply
from parametric_memory.config import GenerationConfig
from parametric_memory.protocols import Backend
from parametric_memory.types import Answer, ComposedAdapter, Generation, Message, Usage

P = ParamSpec("P")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Task:
    """One call, up to where the base model speaks.

    ``said`` is the answer if the base model is not asked, because the memory holds none.
    """

    answer: Answer
    conversation: list[Message]
    adapter: ComposedAdapter | None
    config: GenerationConfig
    tools: Toolbox | None = None
    said: str | None = None

    @property
    def shared(self) -> bool:
        """Whether it is one generation, which can be had in a pass with others."""
        return self.said is None and not (self.tools and self.tools.forced)


def run_all(backend: Backend, tasks: Sequence[Task | Exception]) -> list[ChatResult | Exception]:
    """Return every task's result, or what went wrong with it.

    One pass of the base model serves all that can share it; they are of one batch, so their settings are the same.
    """
    began = perf_counter()
    shared = [number for number, task in enumerate(tasks) if isinstance(task, Task) and task.shared]
    spoken = dict(zip(shared, _speak(backend, [tasks[number] for number in shared]), strict=True))  # type: ignore[misc]
    results: list[ChatResult | Exception] = []
    for number, task in enumerate(tasks):
        made = spoken.get(number)
        if isinstance(task, Exception) or isinstance(made, Exception):
            results.append(task if isinstance(task, Exception) else made)  # type: ignore[arg-type]
        else:
            results.append(_finished(backend, task, made, began))
    return results


def _speak(backend: Backend, tasks: Sequence[Task]) -> list[Generation | Exception]:
    if not tasks:
        return []
    conversations, adapters = [task.conversation for task in tasks], [task.adapter for task in tasks]
    try:
        return list(backend.generate(conversations, adapters=adapters, config=tasks[0].config))
    except Exception as error:
        if len(tasks) == 1:
            return [error]
        # One prompt that is too long is not the others' trouble.
        return [made for task in tasks for made in _speak(backend, [task])]


def _finished(backend: Backend, task: Task, made: Generation | None, began: float) -> ChatResult | Exception:
    try:
        if made is not None:
            reply = task.tools.read(made.text) if task.tools else ToolReply(made.text.strip())
        elif task.said is not None:
            made, reply = Generation(task.said, Usage(0, 0)), ToolReply(task.said)
        else:
            made, reply = _forced(backend, task)
    except Exception as error:
        return error
    return result_of(task, made, reply, model_name=backend.base_model, began=began)


def _forced(backend: Backend, task: Task) -> tuple[Generation, ToolReply]:
    """Have a tool called; the tokens are those of the prompt and of the call, whatever it took to get it."""
    assert task.tools is not None
    reply = task.tools.force(backend, task.conversation, adapter=task.adapter, config=task.config)
    written = "".join(str(call["args"]) for call in [*reply.calls, *reply.invalid])
    usage = Usage(count(backend, task.conversation), backend.count_tokens(written))
    return Generation("", usage), reply


def result_of(task: Task, made: Generation, reply: ToolReply, *, model_name: str, began: float) -> ChatResult:
    """Return a result with everything that is known about how it came about.

    Args:
        task: What was asked for.
        made: What the base model generated.
        reply: The same, read for calls of tools.
        model_name: Of the base model.
        began: When the base model was first asked, by `perf_counter`.
    """
    timings = dict(task.answer.timings)
    if task.said is None:
        timings["generate"] = (perf_counter() - began) * 1000
    usage = replace(made.usage, knowledge_tokens=task.answer.usage.knowledge_tokens if task.said is None else 0)
    answer = replace(task.answer, timings=timings, usage=usage)
    reason = "tool_calls" if reply.calls else made.finish_reason
    message = AIMessage(
        content=reply.text,
        tool_calls=list(reply.calls),
        invalid_tool_calls=list(reply.invalid),
        usage_metadata=usage_of(usage),
        response_metadata=metadata_of(answer, model_name=model_name, finish_reason=reason),
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def stream(backend: Backend, task: Task) -> Iterator[ChatGenerationChunk]:
    """Yield the answer piece by piece; the last chunk carries what is known about it, and its calls of tools.

    Words before a call come as they are written; a call must be read whole. The backend injects the adapter in a copy
    of the context: between two pieces, or if no more are asked for, the base model is as it was.

    Raises:
        Exception: What went wrong with the task.
    """
    if not task.shared:
        [result] = run_all(backend, [task])
        if isinstance(result, Exception):
            raise result
        yield _last(result)
        return
    began, text, told = perf_counter(), "", ""
    for piece in backend.stream(task.conversation, adapter=task.adapter, config=task.config):
        text += piece
        # An answer ends where its last word does: spaces wait for what follows them.
        words = (task.tools.words(text) if task.tools else text).rstrip()
        if new := words[len(told) :]:
            told = words
            yield ChatGenerationChunk(message=AIMessageChunk(content=new))
    # A stream does not say what it cost: it is counted afterwards, from the text.
    written = backend.count_tokens(text)
    reason = "length" if written >= task.config.max_new_tokens else "stop"
    made = Generation(text, Usage(count(backend, task.conversation), written), reason)
    reply = task.tools.read(text) if task.tools else ToolReply(text.rstrip())
    rest = replace(reply, text=reply.text[len(told) :])
    yield _last(result_of(task, made, rest, model_name=backend.base_model, began=began))


def count(backend: Backend, turns: Sequence[Message]) -> int:
    """Return how many tokens the base model reads for these turns, its chat template included if it shows it."""
    tokenizer = getattr(backend, "tokenizer", None)
    if tokenizer is None:
        return sum(backend.count_tokens(turn["content"]) for turn in turns)
    from parametric_memory.hypernetwork.chat import prompt_ids

    return len(prompt_ids(tokenizer, turns)) if turns else 0


def caught(make: Callable[P, Made], *args: P.args, **kwargs: P.kwargs) -> Made | Exception:
    """Return what comes out, or the error that is raised."""
    try:
        return make(*args, **kwargs)
    except Exception as error:
        return error


def _last(result: ChatResult) -> ChatGenerationChunk:
    message = result.generations[0].message
    assert isinstance(message, AIMessage)
    calls = [
        tool_call_chunk(name=call["name"], args=_json(call["args"]), id=call["id"], index=number)
        for number, call in enumerate([*message.tool_calls, *message.invalid_tool_calls])
    ]
    chunk = AIMessageChunk(
        content=message.content,
        tool_call_chunks=calls,
        usage_metadata=message.usage_metadata,
        response_metadata=message.response_metadata,
        chunk_position="last",
    )
    return ChatGenerationChunk(message=chunk)


def _json(arguments: object) -> str:
    import json

    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
