"""A causal language model of transformers as a backend: conversations and adapters in, text out.

The base model is frozen and stays bit for bit as it was loaded: adapters are injected for the length of a forward pass,
in the calling context only, so threads and half-read streams never meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch

from parametric_memory.adapters.inject import inject
from parametric_memory.adapters.spec import fingerprint
from parametric_memory.backends.decoding import Decoding, Sampler
from parametric_memory.backends.loading import first_line, load
from parametric_memory.backends.models import BUILTIN_BASE
from parametric_memory.backends.text import TextStream
from parametric_memory.config import GenerationConfig
from parametric_memory.errors import AdapterMismatchError, GenerationError
from parametric_memory.hypernetwork.chat import answer_ids, prompt_ids, turn_ends
from parametric_memory.types import ComposedAdapter, Conversation, Generation, Usage

Item = TypeVar("Item")
_OneOrRows: TypeAlias = ComposedAdapter | Sequence[ComposedAdapter | None] | None


@dataclass(slots=True)
class _Row:
    """One generation on its way."""

    prompt: list[int]
    adapter: ComposedAdapter | None
    stream: TextStream
    limit: int
    answer: Sequence[int] = ()
    loglikelihood: float = 0.0
    text: str = ""
    tokens: int = 0
    finish_reason: str = ""

    def take(self, token: int, ends: frozenset[int]) -> str:
        """Return the text that this token completes, and note whether it was the last."""
        self.tokens += 1
        piece = "" if token in ends else self.stream.push(token)
        if token in ends or self.stream.stopped:
            self.finish_reason = "stop"
        elif self.tokens >= self.limit:
            self.finish_reason = "length"
        if self.finish_reason:
            piece += self.stream.close()
        # The text that is held back at the end may complete a stop string.
        self.finish_reason = "stop" if self.stream.stopped else self.finish_reason
        self.text += piece
        return piece

    def generation(self) -> Generation:
        """Return the row, now that it is done."""
        return Generation(self.text, Usage(len(self.prompt), self.tokens), self.finish_reason)


class HuggingFaceBackend:
    """Runs a causal LM of transformers; see `parametric_memory.protocols.Backend`.

    Args:
        model: It is set to evaluation mode and its weights are frozen.
        tokenizer: The model's own.
        base_model: The name that adapters and stores are to know it by.
        batch_size: Rows that are generated at once, their keys and values in memory together; longer lists are sorted
            by length and run in batches. By default 64 on a CPU, 16 elsewhere.
    """

    def __init__(self, model: Any, tokenizer: Any, *, base_model: str, batch_size: int | None = None) -> None:
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._base_model = base_model
        self._batch_size = batch_size or (64 if model.device.type == "cpu" else 16)
        self._ends = _end_tokens(model, tokenizer)
        self._window: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = BUILTIN_BASE,
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        device_map: str | dict[str, Any] | None = None,
        cache_dir: str | Path | None = None,
        batch_size: int | None = None,
    ) -> HuggingFaceBackend:
        """Load a base model; a copy on this machine is taken before the hub is asked.

        Args:
            name: The built-in alias, a local folder, or a hub id (see `parametric_memory.backends.resolve`).
            device: "cpu", "cuda", "mps" …; the best there is, if None.
            dtype: By device if None: bfloat16 on a GPU, float32 elsewhere.
            device_map: For models larger than one device ("auto"), instead of ``device``; needs accelerate.
            cache_dir: Where the built-in model is unpacked. Models of the hub stay in the hub's own cache.
            batch_size: Rows that are generated at once.

        Raises:
            BackendError: If the model is neither here nor reachable, or cannot be loaded.
            MissingDependencyError: If ``device_map`` is given and accelerate is not installed.
        """
        model, tokenizer = load(name, device=device, dtype=dtype, device_map=device_map, cache_dir=cache_dir)
        return cls(model, tokenizer, base_model=str(name), batch_size=batch_size)

    @property
    def model(self) -> Any:
        """The frozen base model."""
        return self._model

    @property
    def tokenizer(self) -> Any:
        """The base model's tokenizer."""
        return self._tokenizer

    @property
    def base_model(self) -> str:
        """Name or path the base model was loaded from."""
        return self._base_model

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the base model's weights; taken on first use."""
        return fingerprint(self._model)

    def count_tokens(self, text: str) -> int:
        """Return the number of the base model's tokens in ``text``."""
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        adapters: Sequence[ComposedAdapter | None] | None = None,
        config: GenerationConfig | None = None,
    ) -> list[Generation]:
        """Return one generation per conversation, in order, each under its own adapter.

        The text has no leading whitespace; ``finish_reason`` is "stop" (end token or stop string) or "length" (of
        ``max_new_tokens`` or of the model's window); completion tokens count the end token too. A conversation that
        ends in an assistant's message has that message continued.

        Raises:
            ValueError: If there is not one adapter (or None) per conversation, or a setting makes no sense.
            AdapterMismatchError: If an adapter belongs to another base model.
            GenerationError: If a prompt is longer than the model's window, or the model fails.
        """
        config = config or GenerationConfig()
        rows = self._rows(conversations, adapters, config)
        self._generate(rows, config)
        return [row.generation() for row in rows]

    def generate_and_score(
        self,
        conversations: Sequence[Conversation],
        answers: Sequence[str],
        *,
        adapters: Sequence[ComposedAdapter | None] | None = None,
        config: GenerationConfig | None = None,
    ) -> list[tuple[Generation, tuple[float, int]]]:
        """Return what `generate` and `loglikelihood` return, in pairs, reading every prompt only once.

        Raises:
            ValueError: If there is not one answer and one adapter (or None) per conversation.
            AdapterMismatchError: If an adapter belongs to another base model.
            GenerationError: If a prompt with its answer is longer than the model's window, or the model fails.
        """
        _check_answers(answers, conversations)
        config = config or GenerationConfig()
        rows = self._rows(conversations, adapters, config)
        for row, conversation, answer in zip(rows, conversations, answers, strict=True):
            row.answer = answer_ids(self._tokenizer, conversation, answer)
            self._check_window(len(row.prompt) + len(row.answer), "prompt and answer", room=0)
        self._generate(rows, config)
        return [(row.generation(), (row.loglikelihood, len(row.answer))) for row in rows]

    def stream(
        self,
        conversation: Conversation,
        *,
        adapter: ComposedAdapter | None = None,
        config: GenerationConfig | None = None,
    ) -> Iterator[str]:
        """Return an iterator over the text that `generate` would return, each piece as soon as it is certain.

        The model runs only while a piece is being asked for; the iterator may be dropped at any time. Errors in what
        is asked for are raised at once, those of the model by the iterator.

        Raises:
            ValueError: If a setting makes no sense.
            AdapterMismatchError: If the adapter belongs to another base model.
            GenerationError: If the prompt is longer than the model's window, or the model fails.
        """
        config = config or GenerationConfig()
        (row,) = self._rows([conversation], [adapter], config)
        return self._pieces(row, config)

    def loglikelihood(
        self,
        conversations: Sequence[Conversation],
        answers: Sequence[str],
        *,
        adapters: Sequence[ComposedAdapter | None] | None = None,
    ) -> list[tuple[float, int]]:
        """Return, per conversation, the answer's summed log-probability (nats) and its number of tokens.

        The answer is scored as the assistant's turn, behind a space if that turn is already open. The end token does
        not count. An empty answer is (0.0, 0).

        Raises:
            ValueError: If there is not one answer and one adapter (or None) per conversation.
            AdapterMismatchError: If an adapter belongs to another base model.
            GenerationError: If prompt and answer are longer than the model's window, or the model fails.
        """
        _check_answers(answers, conversations)
        chosen = self._checked(adapters, len(conversations))
        scores: dict[int, tuple[float, int]] = {}
        items = []
        for number, (conversation, answer) in enumerate(zip(conversations, answers, strict=True)):
            prompt = prompt_ids(self._tokenizer, conversation)
            tokens = answer_ids(self._tokenizer, conversation, answer)
            self._check_window(len(prompt) + len(tokens), "prompt and answer", room=0)
            if tokens:
                items.append((number, prompt, tokens))
            else:
                scores[number] = 0.0, 0
        for batch in self._batches(items, size=lambda item: len(item[1]) + len(item[2])):
            adapter = _one_or_rows([chosen[number] for number, _, _ in batch])
            with _failing_as(f"scoring {len(batch)} answers"), inject(self._model, adapter):
                decoding = self._decoding([prompt for _, prompt, _ in batch], GenerationConfig(), adapter)
                decoding.read()
                sums = decoding.score([tokens for _, _, tokens in batch])
            scores |= {item[0]: (total, len(item[2])) for item, total in zip(batch, sums, strict=True)}
        return [scores[number] for number in range(len(conversations))]

    def _generate(self, rows: Sequence[_Row], config: GenerationConfig) -> None:
        for batch in self._batches(rows, size=lambda row: len(row.prompt)):
            with _failing_as(f"generating for {len(batch)} prompts of up to {len(batch[-1].prompt)} tokens"):
                self._run(batch, config)

    def _run(self, batch: Sequence[_Row], config: GenerationConfig) -> None:
        """Generate until every row is done; rows that are done leave once half of the batch is."""
        adapter = _one_or_rows([row.adapter for row in batch])
        decoding = self._decoding([row.prompt for row in batch], config, adapter)
        with inject(self._model, adapter):
            decoding.read()
            for row, likelihood in zip(batch, decoding.score([row.answer for row in batch]), strict=True):
                row.loglikelihood = likelihood
        alive = list(batch)
        while alive:
            enough = len(alive) // 2
            with inject(self._model, _one_or_rows([row.adapter for row in alive])):
                while sum(not row.finish_reason for row in alive) > enough:
                    for row, token in zip(alive, decoding.step(), strict=True):
                        if not row.finish_reason:
                            row.take(token, self._ends)
            unfinished = [place for place, row in enumerate(alive) if not row.finish_reason]
            if unfinished:
                decoding.keep(unfinished)
            alive = [alive[place] for place in unfinished]

    def _decoding(self, prompts: Sequence[list[int]], config: GenerationConfig, adapter: _OneOrRows) -> Decoding:
        one = not isinstance(adapter, Sequence)
        return Decoding(self._model, prompts, Sampler(config, len(prompts)), alike=one)

    def _pieces(self, row: _Row, config: GenerationConfig) -> Iterator[str]:
        with inject(self._model, row.adapter):
            # Each step runs in this copy of the context, so the adapter is never active where the caller is.
            context = copy_context()
        decoding = Decoding(self._model, [row.prompt], Sampler(config, 1))
        while not row.finish_reason:
            with _failing_as(f"streaming after a prompt of {len(row.prompt)} tokens"):
                (token,) = context.run(decoding.step)
            if piece := row.take(token, self._ends):
                yield piece

    def _rows(
        self,
        conversations: Sequence[Conversation],
        adapters: Sequence[ComposedAdapter | None] | None,
        config: GenerationConfig,
    ) -> list[_Row]:
        _check_config(config)
        chosen = self._checked(adapters, len(conversations))
        stops = (*config.stop, *turn_ends(self._tokenizer))
        rows = []
        for conversation, adapter in zip(conversations, chosen, strict=True):
            prompt = prompt_ids(self._tokenizer, conversation)
            self._check_window(len(prompt), "prompt", room=1)
            room = config.max_new_tokens if self._window is None else self._window - len(prompt)
            limit = min(config.max_new_tokens, room)
            rows.append(_Row(prompt, adapter, TextStream(self._tokenizer, stops), limit))
        return rows

    def _batches(self, items: Sequence[Item], *, size: Callable[[Item], int]) -> Iterator[list[Item]]:
        """Yield batches of items of similar size, smallest first."""
        ordered = sorted(items, key=size)
        for begin in range(0, len(ordered), self._batch_size):
            yield ordered[begin : begin + self._batch_size]

    def _checked(
        self, adapters: Sequence[ComposedAdapter | None] | None, rows: int
    ) -> Sequence[ComposedAdapter | None]:
        """Return one adapter or None per row, all of this base model."""
        adapters = [None] * rows if adapters is None else adapters
        if len(adapters) != rows:
            raise ValueError(f"one adapter (or None) per conversation is needed, got {len(adapters)} for {rows}")
        for adapter in adapters:
            if adapter is not None and adapter.spec.base_fingerprint != self.fingerprint:
                raise AdapterMismatchError(
                    f"running {self._base_model} ({self.fingerprint}) with an adapter of {adapter.spec.base_model} "
                    f"({adapter.spec.base_fingerprint}); compile the atoms for this base model, or load the other one",
                    expected=self.fingerprint,
                    actual=adapter.spec.base_fingerprint,
                )
        return adapters

    def _check_window(self, tokens: int, what: str, *, room: int) -> None:
        if self._window is not None and tokens + room > self._window:
            raise GenerationError(
                f"running {self._base_model}: {what} of {tokens} tokens, but its window holds {self._window}"
                f"{' with the answer' if room else ''}; shorten the conversation"
            )


def _one_or_rows(adapters: Sequence[ComposedAdapter | None]) -> _OneOrRows:
    """Return what to inject: one adapter if all rows share it, which saves a copy of its factors per row."""
    return adapters[0] if all(adapter is adapters[0] for adapter in adapters) else adapters


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    named = getattr(model, "generation_config", None)
    ends = getattr(named, "eos_token_id", None)
    ends = ends if isinstance(ends, list) else [ends]
    return frozenset(token for token in (*ends, tokenizer.eos_token_id) if token is not None)


def _check_answers(answers: Sequence[str], conversations: Sequence[Conversation]) -> None:
    if len(answers) != len(conversations):
        raise ValueError(f"one answer per conversation is needed, got {len(answers)} for {len(conversations)}")


def _check_config(config: GenerationConfig) -> None:
    problems = []
    if config.max_new_tokens < 1:
        problems.append(f"max_new_tokens is {config.max_new_tokens}, expected 1 or more")
    if not 0.0 <= config.temperature < float("inf"):
        problems.append(f"temperature is {config.temperature}, expected 0 (greedy) or more")
    if not 0.0 < config.top_p <= 1.0:
        problems.append(f"top_p is {config.top_p}, expected more than 0 and at most 1")
    if "" in config.stop:
        problems.append("stop has an empty string, which is everywhere")
    if problems:
        raise ValueError(f"generating: {'; '.join(problems)}")


@contextmanager
def _failing_as(task: str) -> Iterator[None]:
    """Turn what torch and transformers raise into `GenerationError`."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        advice = "; use a smaller batch_size" if isinstance(error, torch.OutOfMemoryError) else ""
        raise GenerationError(f"{task}: {type(error).__name__}: {first_line(error)}{advice}") from error
