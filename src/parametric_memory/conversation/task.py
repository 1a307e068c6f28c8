"""One call of a chat model: what it came to before the base model speaks, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from parametric_memory.config import GenerationConfig
from parametric_memory.conversation.tool_calls import InvalidCall, Toolbox, ToolCall, ToolReply
from parametric_memory.protocols import Backend
from parametric_memory.types import Answer, ComposedAdapter, Conversation, Generation, Message, Usage


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


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a task: the answer, whole, and the calls of tools that were read out of it."""

    answer: Answer
    calls: tuple[ToolCall, ...] = ()
    invalid: tuple[InvalidCall, ...] = ()
    finish_reason: str = "stop"


def run(backend: Backend, task: Task) -> Reply:
    """Return a task's reply.

    Raises:
        GenerationError: If the base model fails.
    """
    [reply] = run_all(backend, [task])
    if isinstance(reply, Exception):
        raise reply
    return reply


def run_all(backend: Backend, tasks: Sequence[Task | Exception]) -> list[Reply | Exception]:
    """Return every task's reply, or what went wrong with it.

    One pass of the base model serves all that can share it; they are of one batch, so their settings are the same.
    """
    began = perf_counter()
    shared = {number: task for number, task in enumerate(tasks) if isinstance(task, Task) and task.shared}
    spoken = dict(zip(shared, _speak(backend, list(shared.values())), strict=True))
    replies: list[Reply | Exception] = []
    for number, task in enumerate(tasks):
        made = spoken.get(number)
        if isinstance(task, Exception):
            replies.append(task)
        elif isinstance(made, Exception):
            replies.append(made)
        else:
            replies.append(_finished(backend, task, made, began))
    return replies


def stream(backend: Backend, task: Task) -> Iterator[str | Reply]:
    """Yield the answer piece by piece, and the reply as a whole at the end.

    Words before a call of a tool come as they are written; a call must be read whole, and comes with the reply. The
    backend injects the adapter in a copy of the context: between two pieces, or if no more are asked for, the base
    model is as it was.

    Raises:
        GenerationError: If the base model fails.
    """
    if not task.shared:
        reply = run(backend, task)
        if reply.answer.text:
            yield reply.answer.text
        yield reply
        return
    began, text, told = perf_counter(), "", ""
    for piece in backend.stream(task.conversation, adapter=task.adapter, config=task.config):
        text += piece
        # An answer ends where its last word does: spaces wait for what follows them.
        words = (task.tools.words(text) if task.tools else text).rstrip()
        if new := words[len(told) :]:
            told = words
            yield new
    # A stream does not say what it cost: it is counted afterwards, from the text.
    written = backend.count_tokens(text)
    reason = "length" if written >= task.config.max_new_tokens else "stop"
    made = Generation(text, Usage(count(backend, task.conversation), written), reason)
    read = task.tools.read(text) if task.tools else ToolReply(text.rstrip())
    if rest := read.text[len(told) :]:
        yield rest
    yield _reply(task, made, read, began)


def count(backend: Backend, turns: Conversation) -> int:
    """Return how many tokens the base model reads for these turns, its chat template included if it shows it."""
    tokenizer = getattr(backend, "tokenizer", None)
    if tokenizer is None:
        return sum(backend.count_tokens(turn["content"]) for turn in turns)
    from parametric_memory.hypernetwork.chat import prompt_ids

    return len(prompt_ids(tokenizer, turns)) if turns else 0


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


def _finished(backend: Backend, task: Task, made: Generation | None, began: float) -> Reply | Exception:
    try:
        if made is not None:
            read = task.tools.read(made.text) if task.tools else ToolReply(made.text.strip())
        elif task.said is not None:
            made, read = Generation(task.said, Usage(0, 0)), ToolReply(task.said)
        else:
            made, read = _forced(backend, task)
    except Exception as error:
        return error
    return _reply(task, made, read, began)


def _forced(backend: Backend, task: Task) -> tuple[Generation, ToolReply]:
    """Have a tool called; the tokens are those of the prompt and of the call, whatever it took to get it."""
    assert task.tools is not None
    read = task.tools.force(backend, task.conversation, adapter=task.adapter, config=task.config)
    written = [str(call.arguments) for call in read.calls] + [call.written for call in read.invalid]
    usage = Usage(count(backend, task.conversation), backend.count_tokens("".join(written)))
    return Generation("", usage), read


def _reply(task: Task, made: Generation, read: ToolReply, began: float) -> Reply:
    timings = dict(task.answer.timings)
    if task.said is None:
        timings["generate"] = (perf_counter() - began) * 1000
    usage = replace(made.usage, knowledge_tokens=task.answer.usage.knowledge_tokens if task.said is None else 0)
    answer = replace(task.answer, text=read.text, usage=usage, timings=timings)
    return Reply(answer, read.calls, read.invalid, "tool_calls" if read.calls else made.finish_reason)
