"""`ParametricMemoryLLM`: an LLM of LlamaIndex whose knowledge is in weights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from llama_index.core.base.llms.types import (
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
)
from llama_index.core.bridge.pydantic import Field, model_validator
from llama_index.core.llms import ChatMessage, ChatResponse, CompletionResponse, CustomLLM, LLMMetadata, MessageRole
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool

from llama_index.memory.parametric.asked import Asked, WhatIsAsked, asked_of
from llama_index.memory.parametric.events import tell_generated, tell_prepared
from llama_index.memory.parametric.messages import (
    calls_of,
    chat_piece,
    chat_response,
    completion_response,
    turns_of,
)
from parametric_memory.config import Fallback, Mode
from parametric_memory.conversation import (
    Reply,
    Talk,
    Task,
    Toolbox,
    current_scope,
    narrowed,
    run,
    scope_keys,
    stream,
)

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory
    from parametric_memory.protocols import Backend
else:
    # Pydantic looks at annotations at run time, and the real classes would load torch.
    ParametricMemory = Backend = Any

T = TypeVar("T")
_SETTINGS = {"temperature": "temperature", "max_tokens": "max_new_tokens", "top_p": "top_p", "seed": "seed"}
_SCOPES = ("user_id", "agent_id")
_CALLED = frozenset({*_SETTINGS, *_SCOPES, "stop", "filters", "mode", "tools", "tool_choice", "one_call"})
#: What LlamaIndex passes along, and means nothing to a model that runs here.
_PASSED = frozenset({"formatted", "verbose"})


class ParametricMemoryLLM(FunctionCallingLLM, CustomLLM):
    """An LLM that answers from a memory's weights, with nothing about its documents in the prompt.

    It reads prompts as LlamaIndex writes them: what is asked is looked up, the adapter of its atoms is injected for the
    length of the call, and text that the prompt holds (of another index, say) is read as by any LLM. Safe to share
    between threads, tasks and users: everything that a call depends on is the call's own.

    Attributes:
        memory: Where knowledge comes from; None for the bare base model.
        backend: Runs the base model if there is no memory; by default `model` is loaded.
        model: The base model's name: which to load if there is neither a memory nor a backend.
        mode: ``atoms``: from weights. ``hybrid``: from weights and a snippet of the best atom's source;
            ``hybrid_unsure``: only where the memory is not sure. ``in_context``: the sentences in the prompt, as RAG
            does. ``closed_book``: the bare base model.
        user_id: Only this user's memory.
        agent_id: Only this agent's.
        filters: Only atoms with this metadata.
        fallback: What answers if the memory holds nothing that does: ``base``: the bare base model, since LlamaIndex
            asks an LLM for more than facts; ``unknown``: the words that the memory has for it ("I don't know.").
        history: Whether the base model reads the turns before the last question. The route is found with them anyway.
        question: Says what is asked, from all messages; by default the query of LlamaIndex's templates, else the last
            user turn.
        temperature: 0 is greedy. What is None here and below is taken from the memory's configuration.
        max_tokens: Longest answer.
        top_p: Share of the likeliest tokens that are drawn from.
        seed: Makes drawing repeatable.
        stop: Strings that end an answer.
    """

    memory: ParametricMemory | None = Field(default=None, exclude=True)
    backend: Backend | None = Field(default=None, exclude=True)
    model: str | None = None
    mode: Mode = "atoms"
    user_id: str | None = None
    agent_id: str | None = None
    filters: Mapping[str, Any] | None = None
    fallback: Fallback = "base"
    history: bool = True
    question: Callable[[Sequence[ChatMessage]], str] | None = Field(default=None, exclude=True)
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = None

    def __init__(self, memory: ParametricMemory | None = None, **settings: Any) -> None:
        super().__init__(memory=memory, **settings)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_settings(cls, values: Any) -> Any:
        # Ignoring them, as pydantic would, turns a misspelt user_id into everybody's memory.
        known = {*cls.model_fields, "class_name"}
        if isinstance(values, Mapping) and (unknown := set(values) - known):
            raise ValueError(f"making a {cls.__name__}: it has no setting {', '.join(sorted(map(repr, unknown)))}")
        return values

    @model_validator(mode="after")
    def _find_base_model(self) -> Self:
        if self.memory is not None:
            if not hasattr(self.memory, "prepare"):
                raise ValueError(f"memory= is a {type(self.memory).__name__}, expected a ParametricMemory")
            self.backend = self.memory.backend
        elif self.backend is None:
            from parametric_memory.backends import BUILTIN_BASE, HuggingFaceBackend

            self.backend = HuggingFaceBackend.from_pretrained(self.model or BUILTIN_BASE)
        name = self._base.base_model
        if self.model not in (None, name):
            raise ValueError(f"model= is {self.model!r}, but the base model is {name!r}; leave it out")
        self.model = name
        return self

    # ---------------------------------------------------------------- what it is

    @classmethod
    def class_name(cls) -> str:
        """Return the name that it is serialised under."""
        return "ParametricMemoryLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """Window, longest answer, name; it takes messages, and tools (see the README about a small base's choices)."""
        config = getattr(getattr(self._base, "model", None), "config", None)
        window = getattr(config.get_text_config(), "max_position_embeddings", None) if config is not None else None
        facts: dict[str, Any] = {"context_window": window} if window else {}
        return LLMMetadata(
            num_output=self._settings({}).get("max_new_tokens", 256),
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=str(self.model),
            **facts,
        )

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """The base model's own tokenizer, for ``Settings.tokenizer`` or ``Memory.from_defaults(tokenizer_fn=...)``.

        Raises:
            NotImplementedError: If the backend shows none.
        """
        tokenizer = getattr(self._base, "tokenizer", None)
        if tokenizer is None:
            raise NotImplementedError(f"{type(self._base).__name__} shows no tokenizer")

        def ids(text: str) -> list[int]:
            found: list[int] = tokenizer(text, add_special_tokens=False).input_ids
            return found

        return ids

    # ---------------------------------------------------------------- answering

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt, which is read as one user turn."""
        return self._complete(prompt, kwargs)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Answer a prompt piece by piece; the last piece carries what is known about the answer."""
        return self._stream_complete(prompt, kwargs)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        return self._chat(messages, kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece; the last piece carries what is known about the answer."""
        return self._stream_chat(messages, kwargs)

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt without holding up the event loop."""
        return await asyncio.to_thread(self._complete, prompt, kwargs)

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Answer a prompt piece by piece without holding up the event loop."""
        return stepwise(self._stream_complete(prompt, kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation without holding up the event loop."""
        return await asyncio.to_thread(self._chat, messages, kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Answer a conversation piece by piece without holding up the event loop."""
        return stepwise(self._stream_chat(messages, kwargs))

    # ---------------------------------------------------------------- tools

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if isinstance(user_msg, str):
            user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
        return {
            "messages": [*(chat_history or []), *([user_msg] if user_msg else [])],
            "tools": [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools],
            "tool_choice": tool_choice or ("required" if tool_required else "auto"),
            "one_call": not allow_parallel_tool_calls,
            **kwargs,
        }

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the calls of tools in a response.

        Raises:
            ValueError: If there are none and that is an error; it says what was wrong with what was meant as one.
        """
        calls = calls_of(response.message)
        if not calls and error_on_no_tool_call:
            invalid = (response.raw or {}).get("invalid_tool_calls", []) if isinstance(response.raw, dict) else []
            said = "; ".join(f"{one['name']}: {one['problem']}" for one in invalid) or repr(response.message.content)
            raise ValueError(f"reading the calls of tools in a response: there are none, but {said}")
        return calls

    # ---------------------------------------------------------------- inside

    @property
    def _base(self) -> Backend:
        assert self.backend is not None, "the validator finds one"
        return self.backend

    def _complete(self, prompt: str, kwargs: Mapping[str, Any]) -> CompletionResponse:
        return completion_response(self._reply(_as_messages(prompt), kwargs), model=str(self.model))

    def _chat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponse:
        return chat_response(self._reply(messages, kwargs), model=str(self.model))

    def _stream_complete(self, prompt: str, kwargs: Mapping[str, Any]) -> CompletionResponseGen:
        text = ""
        for piece in self._pieces(_as_messages(prompt), kwargs):
            if isinstance(piece, Reply):
                yield completion_response(piece, model=str(self.model), delta="")
            else:
                text += piece
                yield CompletionResponse(text=text, delta=piece)

    def _stream_chat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponseGen:
        text = ""
        for piece in self._pieces(messages, kwargs):
            if isinstance(piece, Reply):
                yield chat_response(piece, model=str(self.model), delta="")
            else:
                text += piece
                yield chat_piece(text, piece)

    def _reply(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Reply:
        reply = _one_call(run(self._base, self._task(messages, kwargs)), kwargs)
        tell_generated(reply, model=str(self.model))
        return reply

    def _pieces(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Generator[str | Reply, None, None]:
        for piece in stream(self._base, self._task(messages, kwargs)):
            if isinstance(piece, Reply):
                reply = _one_call(piece, kwargs)
                tell_generated(reply, model=str(self.model))
                yield reply
            else:
                yield piece

    def _task(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Task:
        """Route the question and write the prompt."""
        if unknown := set(kwargs) - _CALLED - _PASSED:
            raise TypeError(f"calling {type(self).__name__}: it has no setting {', '.join(sorted(map(repr, unknown)))}")
        turns = turns_of(messages)
        resolve = self.memory.resolve if self.memory is not None else None
        asked = asked_of(turns, resolve=resolve) if self.question is None else _said(self.question, messages, turns)
        talk = Talk(
            backend=self._base,
            memory=self.memory,
            mode=kwargs.get("mode") or self.mode,
            fallback=self.fallback,
            history=self.history,
        )
        task = talk.task(
            turns,
            asked.text,
            filters=self._scope(kwargs),
            tools=Toolbox.of(kwargs.get("tools"), kwargs.get("tool_choice")),
            settings=self._settings(kwargs),
            verbatim=asked.verbatim,
        )
        tell_prepared(task)
        return task

    def _scope(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the filters of a call: what was set here, what the call says, and the scope that it is made in."""
        own = scope_keys(**{key: getattr(self, key) for key in _SCOPES})
        called = scope_keys(**{key: kwargs.get(key) for key in _SCOPES})
        return narrowed(self.filters or {}, own, kwargs.get("filters") or {}, called, current_scope())

    def _settings(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a call: its own, else the model's."""
        chosen = {theirs: kwargs.get(ours, getattr(self, ours)) for ours, theirs in _SETTINGS.items()}
        given = {name: value for name, value in chosen.items() if value is not None}
        stop = kwargs.get("stop", self.stop)
        return given if stop is None else {**given, "stop": (stop,) if isinstance(stop, str) else tuple(stop)}


async def stepwise(pieces: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """Yield what a generator yields, each step of it taken in a thread, under the caller's context variables."""
    end = object()
    try:
        while (piece := await asyncio.to_thread(next, pieces, end)) is not end:
            yield piece  # type: ignore[misc]
    finally:
        # A step that was cancelled is still running in its thread: it is its last, the generator goes with it.
        with suppress(ValueError):
            pieces.close()


def _as_messages(prompt: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=prompt)]


def _said(question: WhatIsAsked, messages: Sequence[ChatMessage], turns: Sequence[Mapping[str, Any]]) -> Asked:
    asked = question(messages).strip()
    last = next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), "")
    return Asked(asked, verbatim=str(last).strip() != asked)


def _one_call(reply: Reply, kwargs: Mapping[str, Any]) -> Reply:
    """Return the reply with its first call alone, if the caller runs no calls beside one another."""
    return replace(reply, calls=reply.calls[:1]) if kwargs.get("one_call") else reply
