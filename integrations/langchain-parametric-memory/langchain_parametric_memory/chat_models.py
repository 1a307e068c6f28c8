"""`ChatParametricMemory`: a chat model of LangChain whose knowledge is in weights.

Messages in, an answer out: the last human turn is routed to atoms, their adapter is injected for the length of this
call, and the base model reads the conversation as it was given, nothing about the documents in it. Without a memory it
is the bare base model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import isfunction
from typing import TYPE_CHECKING, Any, Self, cast, get_type_hints

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import model_validator

from langchain_parametric_memory.batch import Row, current_batch, together
from langchain_parametric_memory.conversation import turns_of
from langchain_parametric_memory.question import standalone_question
from langchain_parametric_memory.replies import PROVIDER
from langchain_parametric_memory.task import caught, chunks_of, result_of
from parametric_memory import __version__ as core_version
from parametric_memory.config import Fallback, Mode
from parametric_memory.conversation import (
    Reply,
    Talk,
    Task,
    Toolbox,
    count,
    current_scope,
    joined,
    narrowed,
    run_all,
    scope_keys,
)
from parametric_memory.types import stable_id

if TYPE_CHECKING:
    from langchain_core.language_models.base import LangSmithParams

    from parametric_memory import ParametricMemory
    from parametric_memory.protocols import Backend
else:
    # Pydantic looks at annotations at run time, and the real classes would load torch.
    ParametricMemory = Backend = Any

#: What LangChain passes to every chat model, and means nothing to one that runs here.
_STANDARD = frozenset({"api_key", "base_url", "max_retries", "timeout"})
_PASSED = frozenset(
    {
        "ls_structured_output_format",
        "parallel_tool_calls",
        "strict",
        "stream",
        "stream_usage",
        "structured_output_format",
    }
)
#: What a call may set for itself.
_SETTINGS = ("temperature", "max_tokens", "top_p", "seed")
_SCOPES = ("user_id", "agent_id")
_CALLED = frozenset({*_SETTINGS, *_SCOPES, "filters", "mode", "model", "tools", "tool_choice"})


class ChatParametricMemory(BaseChatModel):
    """A chat model that answers from a memory's weights, with nothing about its documents in the prompt.

    Safe to share between threads, tasks and users: everything that a call depends on is the call's own.

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
        fallback: What happens if the memory holds nothing that answers: ``unknown``: the words that the memory has for
            it ("I don't know."); ``base``: the bare base model answers; ``raise``: an `AbstainedError`. None for what
            the memory is configured for.
        history: Whether the base model reads the conversation as it is; else it reads the question alone. The route is
            found with the turns that it leans on anyway.
        question: Says what is asked, from all messages; `standalone_question`, with the memory's own rule for
            follow-ups, unless it is given.
        temperature: 0 is greedy. What is None here and below is taken from the memory's configuration.
        max_tokens: Longest answer.
        top_p: Share of the likeliest tokens that are drawn from.
        seed: Makes drawing repeatable.
        stop: Strings that end an answer.
        streaming: Whether `invoke` streams too, for callbacks that listen.
    """

    memory: ParametricMemory | None = None
    backend: Backend | None = None
    model: str | None = None
    mode: Mode = "atoms"
    user_id: str | None = None
    agent_id: str | None = None
    filters: Mapping[str, Any] | None = None
    fallback: Fallback | None = None
    history: bool = True
    question: Callable[[Sequence[BaseMessage]], str] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    streaming: bool = False

    # ---------------------------------------------------------------- what it is

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_settings(cls, values: Any) -> Any:
        # Ignoring them, as pydantic would, turns a misspelt user_id into everybody's memory.
        if isinstance(values, Mapping) and (unknown := set(values) - set(cls.model_fields) - _STANDARD):
            raise ValueError(f"making a {cls.__name__}: it has no setting {', '.join(sorted(map(repr, unknown)))}")
        return values

    @model_validator(mode="after")
    def _set_base_model(self) -> Self:
        self._find_base_model()
        return self

    def _find_base_model(self) -> None:
        if self.memory is not None:
            if not hasattr(self.memory, "prepare"):
                raise ValueError(f"memory= is a {type(self.memory).__name__}, expected a ParametricMemory")
            self.backend = self.memory.backend
        elif self.backend is None:
            from parametric_memory.backends import BUILTIN_BASE, HuggingFaceBackend

            self.backend = HuggingFaceBackend.from_pretrained(self.model or BUILTIN_BASE)
        if self.backend is not None:
            if self.model not in (None, self.backend.base_model):
                raise ValueError(
                    f"model= is {self.model!r}, but the base model is {self.backend.base_model!r}; leave it out"
                )
            self.model = self.backend.base_model

    @model_validator(mode="after")
    def _set_parametric_memory_version(self) -> Self:
        if hasattr(self, "_add_version"):  # langchain-core 1.4 does not trace versions yet
            self._add_version("parametric-memory", core_version)
        return self

    @property
    def _llm_type(self) -> str:
        return "parametric-memory"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What an answer depends on: a cache that goes by it never serves what was true before a change of memory."""
        own = ("model", "mode", "fallback", "history", *_SETTINGS)
        params: dict[str, Any] = {name: getattr(self, name) for name in own}
        params |= {"own_stop": self.stop, "filters": self._scope({}), "question": _name(self.question)}
        if self.memory is not None:
            params |= {
                "memory": self.memory.store.manifest.id,
                "memory_version": self.memory.store.version,
                "memory_disabled": self.memory.is_disabled,
                "memory_resolve": _name(self.memory.resolve),
                "memory_settings": stable_id(repr(self.memory.config), repr(self.memory.prompt)),
            }
        return params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = PROVIDER
        params["ls_model_name"] = str(kwargs.get("model") or self.model)
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        self._find_base_model()  # LangChain asks for the profile before it runs the validators of this class
        facts: dict[str, Any] = {
            "name": self.model,
            "open_weights": True,
            "text_inputs": True,
            "text_outputs": True,
            "image_inputs": False,
            "audio_inputs": False,
            "video_inputs": False,
            "pdf_inputs": False,
            "reasoning_output": False,
            "tool_calling": True,
            "tool_choice": True,
            "tool_call_streaming": False,
            # By a call of a tool, never by the base model's own doing.
            "structured_output": False,
        }
        if window := _window(self.backend):
            facts["max_input_tokens"] = window
        known = get_type_hints(ModelProfile)
        return cast("ModelProfile", {key: value for key, value in facts.items() if key in known})

    # ---------------------------------------------------------------- counting tokens

    def get_token_ids(self, text: str) -> list[int]:
        """Return the base model's own token ids."""
        tokenizer = getattr(self._base, "tokenizer", None)
        if tokenizer is None:
            raise NotImplementedError(f"{type(self._base).__name__} shows no tokenizer; count with get_num_tokens")
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    def get_num_tokens(self, text: str) -> int:
        """Return the number of the base model's tokens; nothing is downloaded for it."""
        return self._base.count_tokens(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return how many tokens the base model reads for these messages, its chat template included."""
        toolbox = Toolbox.of([convert_to_openai_tool(tool) for tool in tools or ()])
        return count(self._base, joined(turns_of(messages), instructions=toolbox.instructions if toolbox else ""))

    # ---------------------------------------------------------------- tools

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools that it may call, or with `tool_choice` has to.

        Tools are told in the prompt and read out of the text, so every base model takes them. A small one chooses
        badly: it seldom calls a tool that it is free not to call, and fills a call that is forced with values that fit
        the schema and may be wrong. Count on tools with a base model that was trained for them.

        Args:
            tools: Functions, pydantic classes, LangChain tools, or schemas in OpenAI's shape.
            tool_choice: A tool's name, ``any`` (one of them), ``auto`` (as it likes), or ``none``.
            kwargs: Other settings of the calls.
        """
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        Toolbox.of(formatted, tool_choice)  # a wrong choice is an error here, not in the middle of a run
        return self.bind(tools=formatted, tool_choice=tool_choice, **kwargs)

    # ---------------------------------------------------------------- answering

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        def answer_all(rows: Sequence[Row]) -> list[ChatResult | Exception]:
            replies = run_all(self._base, [caught(self._task, row, stop, kwargs) for row in rows])
            return [
                result_of(one, model_name=self._base.base_model) if isinstance(one, Reply) else one for one in replies
            ]

        if batch := current_batch(self):
            return batch.take(messages, answer_all)
        [result] = answer_all([messages])
        if isinstance(result, Exception):
            raise result
        return result

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        # LangChain itself tells its callbacks of every token.
        return chunks_of(self._base, self._task(messages, stop, kwargs))

    def generate(
        self, messages: list[list[BaseMessage]], stop: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> LLMResult:
        """Answer several conversations; the base model reads all of them at once."""
        with together(self, messages):
            return super().generate(messages, stop, *args, **kwargs)

    async def agenerate(
        self, messages: list[list[BaseMessage]], stop: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> LLMResult:
        """Answer several conversations; the base model reads all of them at once."""
        with together(self, messages):
            return await super().agenerate(messages, stop, *args, **kwargs)

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer several inputs, each under its own adapter; the base model reads all of them at once."""
        with together(self, [self._convert_input(one).to_messages() for one in inputs]):
            return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer several inputs, each under its own adapter; the base model reads all of them at once."""
        with together(self, [self._convert_input(one).to_messages() for one in inputs]):
            return await super().abatch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    # ---------------------------------------------------------------- what a call comes down to

    @property
    def _base(self) -> Backend:
        assert self.backend is not None, "the validator finds one"
        return self.backend

    def _task(self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]) -> Task:
        """Route the question and write the prompt."""
        if unknown := set(kwargs) - _CALLED - _PASSED:
            raise TypeError(f"calling {type(self).__name__}: it has no setting {', '.join(sorted(map(repr, unknown)))}")
        if kwargs.get("model") not in (None, self.model):
            raise ValueError(
                f"calling {self.model!r} with model={kwargs['model']!r}: a memory belongs to one base model"
            )
        talk = Talk(
            backend=self._base,
            memory=self.memory,
            mode=kwargs.get("mode") or self.mode,
            fallback=self.fallback,
            history=self.history,
        )
        return talk.task(
            turns_of(messages),
            self._asked(messages).strip(),
            filters=self._scope(kwargs),
            tools=Toolbox.of(kwargs.get("tools"), kwargs.get("tool_choice")),
            settings=self._settings(stop, kwargs),
        )

    def _asked(self, messages: Sequence[BaseMessage]) -> str:
        if self.question is not None:
            return self.question(messages)
        return standalone_question(messages, resolve=self.memory.resolve if self.memory is not None else None)

    def _scope(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the filters of a call: what was set here, what the call says, and the scope that it is made in."""
        own = scope_keys(**{key: getattr(self, key) for key in _SCOPES})
        called = scope_keys(**{key: kwargs.get(key) for key in _SCOPES})
        return narrowed(self.filters or {}, own, kwargs.get("filters") or {}, called, current_scope())

    def _settings(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a call: its own, else the model's."""
        chosen = {name: kwargs.get(name, getattr(self, name)) for name in _SETTINGS}
        given = {("max_new_tokens" if name == "max_tokens" else name): v for name, v in chosen.items() if v is not None}
        stops = self.stop if stop is None else stop
        return given if stops is None else {**given, "stop": tuple(stops)}


def _window(backend: object) -> int | None:
    config = getattr(getattr(backend, "model", None), "config", None)
    return getattr(config.get_text_config(), "max_position_embeddings", None) if config is not None else None


def _name(function: object) -> str | None:
    # Two lambdas of a module have the same name: only where they are in memory tells them apart, and `repr` says it.
    if isfunction(function) and "<" not in function.__qualname__:
        return f"{function.__module__}.{function.__qualname__}"
    return None if function is None else repr(function)
