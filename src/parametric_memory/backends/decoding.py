"""The one loop of generation, a step at a time: prompts in, one more token per row with every step.

Rows of different lengths are padded on the left, with positions that count only what is there, so that a row's tokens
do not depend on its neighbours. Keys and values of what was read are kept; rows that are done can be let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from parametric_memory.config import GenerationConfig
from parametric_memory.errors import GenerationError


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


class Decoding:
    """A batch of prompts and what has been generated after them."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], sampler: Sampler) -> None:
        self._model, self._sampler = model, sampler
        self._ids, mask = left_padded(prompts, device=model.device)
        # Without padding neither mask nor positions are needed, and a step costs less.
        self._mask = None if bool(mask.all()) else mask
        self._cache = DynamicCache(config=model.config)

    @torch.no_grad()
    def step(self) -> list[int]:
        """Return the next token of every row, and remember it.

        Raises:
            GenerationError: If the model's output is not finite.
        """
        logits = forward(self._model, self._ids, self._mask, keep=1, cache=self._cache)
        tokens = self._sampler(logits[:, -1].float())
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
