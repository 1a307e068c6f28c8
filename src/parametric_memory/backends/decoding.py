"""The one loop of generation, a step at a time: prompts in, one more token per row with every step.

Rows of different lengths are padded on the left, with positions that count only what is there, so that a row's tokens
do not depend on its neighbours. Prompts are read a few at a time, those of like lengths together, and generated after
all at once: what is read costs by the token, padding included, and what is generated costs little more for many rows
than for few. Keys and values of what was read are kept; rows that are done can be let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from parametric_memory.config import GenerationConfig
from parametric_memory.errors import GenerationError
from parametric_memory.hypernetwork.states import batches


class Sampler:
    """Chooses each row's next token: the likeliest at temperature 0, else one drawn from the nucleus.

    Every row draws from a generator of its own, so torch's is untouched, and the same seed gives a row the same
    numbers alone and in a batch.
    """

    def __init__(self, config: GenerationConfig, rows: int) -> None:
        self._temperature, self._top_p = config.temperature, config.top_p
        self._generators = [torch.Generator() for _ in range(rows if config.temperature > 0 else 0)]
        for generator in self._generators:
            if config.seed is None:
                generator.seed()
            else:
                generator.manual_seed(config.seed)

    def __call__(self, logits: Tensor) -> Tensor:
        """Return (rows,) token ids for (rows, vocabulary) logits.

        Raises:
            GenerationError: If a row's logits are not finite.
        """
        best = logits.max(dim=-1)
        if not bool(best.values.isfinite().all()):
            raise GenerationError("choosing the next token: the logits are not finite; load the base model in float32")
        if not self._generators:
            return best.indices
        scaled = (logits - best.values[:, None]) / self._temperature
        probabilities, order = scaled.softmax(dim=-1).sort(dim=-1, descending=True)
        total = probabilities.cumsum(dim=-1)
        # The nucleus: the likeliest tokens, up to and with the one that reaches top_p.
        nucleus = (total - probabilities < self._top_p).sum(dim=-1, keepdim=True)
        mass = total.gather(-1, nucleus - 1)
        drawn = torch.cat([torch.rand(1, 1, generator=generator) for generator in self._generators]).to(mass)
        place = torch.searchsorted(total, drawn * mass, right=True).minimum(nucleus - 1)
        return order.gather(-1, place).squeeze(-1)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        self._generators = [self._generators[row] for row in rows] if self._generators else []


@dataclass(frozen=True, slots=True)
class _Read:
    """Prompts that were read: their keys and values, the mask of these, (rows, length), and the logits after each."""

    cache: DynamicCache
    mask: Tensor
    logits: Tensor


class Decoding:
    """A batch of prompts and what has been generated after them.

    Args:
        model: A causal LM of transformers.
        prompts: Token ids, one list per row.
        sampler: Chooses the next tokens.
        alike: All rows run under one adapter, or none. A beginning that all prompts have in common (a system message,
            worked examples) is then read only once, and the prompts a few at a time. With an adapter per row the
            beginnings differ.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], sampler: Sampler, *, alike: bool = False) -> None:
        self._model, self._sampler, self._alike = model, sampler, alike
        self._shared = prompts[0][: _common(prompts)] if alike and len(prompts) > 1 else ()
        self._prompts = [prompt[len(self._shared) :] for prompt in prompts]
        self._ids = torch.zeros(len(prompts), 1, dtype=torch.long, device=model.device)
        self._mask: Tensor | None = None
        self._cache = DynamicCache(config=model.config)
        self._logits: Tensor | None = None  # of the next tokens, if they are known already

    @torch.no_grad()
    def read(self) -> None:
        """Read the prompts; the first `step` does it too, if it was not done before."""
        if self._shared:
            begin = torch.tensor([self._shared], device=self._ids.device)
            forward(self._model, begin, None, keep=1, cache=self._cache)
        parts = self._parts()
        # Each part goes on from a beginning of its own; one part alone needs no copy.
        begun = [deepcopy(self._cache) for _ in parts] if len(parts) > 1 else [self._cache]
        read = [self._read(rows, cache) for rows, cache in zip(parts, begun, strict=True)]
        whole = read[0] if len(read) == 1 else _joined(read, [row for rows in parts for row in rows])
        self._cache, self._logits = whole.cache, whole.logits
        # Without padding neither mask nor positions are needed, and a step costs less.
        self._mask = None if bool(whole.mask.all()) else whole.mask

    def _parts(self) -> list[list[int]]:
        """Return which rows are read together."""
        parts = list(batches([len(prompt) for prompt in self._prompts], self._ids.device))
        # With an adapter per row what is injected is for all rows at once.
        if len(parts) > 1 and self._alike and _can_join(self._cache):
            return parts
        return [list(range(len(self._prompts)))]

    def _read(self, rows: Sequence[int], cache: DynamicCache) -> _Read:
        ids, mask = left_padded([self._prompts[row] for row in rows], device=self._ids.device)
        mask = pad(mask, (len(self._shared), 0), value=1)
        if self._shared:
            cache.batch_repeat_interleave(len(rows))
        logits = forward(self._model, ids, None if bool(mask.all()) else mask, keep=1, cache=cache)
        return _Read(cache, mask, logits[:, -1])

    @torch.no_grad()
    def score(self, answers: Sequence[Sequence[int]]) -> list[float]:
        """Return the summed log-probability of each row's answer after its prompt; 0.0 for an empty one.

        It goes on from the prompts that `read` has read, and leaves everything as it was: generating starts there too.
        """
        assert self._logits is not None, "read the prompts first"
        longest = max(map(len, answers))
        if not longest:
            return [0.0] * len(answers)
        device = self._ids.device
        wanted = torch.tensor([[*answer, *[0] * (longest - len(answer))] for answer in answers], device=device)
        present = torch.arange(longest, device=device) < torch.tensor([[len(a)] for a in answers], device=device)
        logits = self._logits[:, None]
        if longest > 1:
            read = self._ids.new_ones(len(answers), self._cache.get_seq_length()) if self._mask is None else self._mask
            mask = torch.cat([read, present[:, 1:].long()], dim=1)
            after = forward(self._model, wanted[:, :-1], mask, keep=longest - 1, cache=self._cache)
            self._cache.crop(1 - longest)
            logits = torch.cat([logits, after], dim=1)
        chances = logits.float().log_softmax(dim=-1).gather(-1, wanted[..., None]).squeeze(-1)
        return [float(total) for total in chances.where(present, 0.0).sum(dim=-1).tolist()]

    @torch.no_grad()
    def step(self) -> list[int]:
        """Return the next token of every row, and remember it.

        Raises:
            GenerationError: If the model's output is not finite.
        """
        if self._cache.get_seq_length() == 0:
            self.read()
        if self._logits is None:
            self._logits = forward(self._model, self._ids, self._mask, keep=1, cache=self._cache)[:, -1]
        tokens = self._sampler(self._logits.float())
        self._logits = None
        self._ids = tokens[:, None]
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        return [int(token) for token in tokens.tolist()]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        chosen = torch.tensor(rows, device=self._ids.device)
        self._sampler.keep(rows)
        self._ids = self._ids[chosen]
        self._mask = None if self._mask is None else self._mask[chosen]
        self._cache.batch_select_indices(chosen)


def _can_join(cache: DynamicCache) -> bool:
    """Return whether every layer keeps all that it was given, so that rows of different caches may be padded alike."""
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _joined(parts: Sequence[_Read], rows: Sequence[int]) -> _Read:
    """Return prompts that were read apart as one batch, padded on the left; the parts are spent.

    Args:
        parts: All by the same layers.
        rows: The row of the batch for each row of the parts, one part after the other.
    """
    back = torch.tensor(rows, device=parts[0].mask.device).argsort()
    longest = max(part.mask.shape[1] for part in parts)
    for layers in zip(*(part.cache.layers for part in parts), strict=True):
        layers[0].keys = torch.cat([_left(layer.keys, longest) for layer in layers])[back]
        layers[0].values = torch.cat([_left(layer.values, longest) for layer in layers])[back]
    mask = torch.cat([pad(part.mask, (longest - part.mask.shape[1], 0)) for part in parts])[back]
    return _Read(parts[0].cache, mask, torch.cat([part.logits for part in parts])[back])


def _left(states: Tensor, length: int) -> Tensor:
    """Return keys or values (rows, heads, tokens, dim), padded on the left to this many tokens."""
    return pad(states, (0, 0, length - states.shape[-2], 0))


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, leaving each at least one of its own."""
    longest = min(map(len, prompts)) - 1
    return next((n for n in range(longest) if any(p[n] != prompts[0][n] for p in prompts)), max(0, longest))


def left_padded(rows: Sequence[Sequence[int]], *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (rows, longest) ids with padding on the left, and their mask: 1 where there is a token."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids.to(device), mask.to(device)


def forward(model: Any, ids: Tensor, mask: Tensor | None, *, keep: int, cache: DynamicCache | None = None) -> Tensor:
    """Return the logits of the last ``keep`` positions, (rows, keep, vocabulary).

    Args:
        model: A causal LM of transformers.
        ids: (rows, new) tokens that the cache does not hold yet.
        mask: (rows, cached + new), 1 where there is a token; None if there is no padding.
        keep: Number of positions, counted from the end.
        cache: Keys and values so far; it grows by the new tokens.
    """
    given: dict[str, object] = {"use_cache": cache is not None, "past_key_values": cache, "logits_to_keep": keep}
    if mask is not None:
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        given |= {"attention_mask": mask, "position_ids": positions}
    # Not every architecture knows all of them: ALiBi models take no positions, some always return all logits.
    known = signature(model.forward).parameters
    logits: Tensor = model(input_ids=ids, **{name: value for name, value in given.items() if name in known}).logits
    return logits[:, -keep:]
