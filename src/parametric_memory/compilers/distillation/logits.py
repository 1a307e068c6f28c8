"""The base model's logits where an answer is predicted, and nowhere else.

`answer_logits` runs all of the model and works for any causal LM of transformers. `Shortcut` starts at the first
adapted layer, from states that were read once: exact for Llama-like models, which is checked before it is trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from parametric_memory.errors import UnsupportedModelError
from parametric_memory.hypernetwork.states import continue_from, logits_of, pad, states_at

#: Tokens of one forward pass, padding included.
MAX_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids of a prompt and of the answer behind it, which has at least one."""

    prompt: list[int]
    answer: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer) - 1

    @property
    def read(self) -> list[int]:
        """What the model is given: the last token of the answer predicts nothing."""
        return [*self.prompt, *self.answer[:-1]]


class Sized(Protocol):
    """Something with a length in tokens."""

    def __len__(self) -> int: ...


Item = TypeVar("Item", bound=Sized)


def batches(items: Sequence[Item], *, max_tokens: int = MAX_TOKENS) -> Iterator[list[int]]:
    """Yield the numbers of all items, longest first, as many together as fit into a pass when padded."""
    order = sorted(range(len(items)), key=lambda number: -len(items[number]))
    while order:
        count = max(1, max_tokens // max(1, len(items[order[0]])))
        yield order[:count]
        order = order[count:]


def answer_logits(model: Any, texts: Sequence[Text]) -> Tensor:
    """Return the logits that predict the answers' tokens, all answers one after the other: (tokens, vocabulary)."""
    device = next(model.parameters()).device
    # Padding on the left: every answer ends where the rows end.
    rows = [torch.tensor(text.read).flip(0) for text in texts]
    ids, mask = (side.flip(1).to(device) for side in pad(rows))
    longest = max(len(text.answer) for text in texts)
    given = {
        "attention_mask": mask.long(),
        "position_ids": (mask.long().cumsum(dim=1) - 1).clamp(min=0),
        "use_cache": False,
        "logits_to_keep": longest,
    }
    # Not every architecture knows all of them: some take no positions, some always return all logits.
    known = signature(model.forward).parameters
    logits = model(input_ids=ids, **{name: value for name, value in given.items() if name in known}).logits
    return torch.cat([row[-len(text.answer) :] for row, text in zip(logits, texts, strict=True)])


@torch.no_grad()
def likeliest(model: Any, texts: Sequence[Text], k: int) -> list[tuple[Tensor, Tensor]]:
    """Return, for every text, what the model would say at each token of its answer: (tokens, k) each.

    First the likeliest tokens, then their log-probabilities, best first.
    """
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for numbers in batches(texts):
        some = [texts[number] for number in numbers]
        shares = answer_logits(model, some).float().log_softmax(dim=-1)
        best = shares.topk(min(k, shares.shape[-1]), dim=-1)
        lengths = [len(text.answer) for text in some]
        parts = zip(best.indices.split_with_sizes(lengths), best.values.split_with_sizes(lengths), strict=True)
        # Copies: a part alone would keep its whole batch in memory.
        found |= {number: (top.clone(), share.clone()) for number, (top, share) in zip(numbers, parts, strict=True)}
    return [found[number] for number in range(len(texts))]


def with_rest(shares: Tensor) -> Tensor:
    """Return log-probabilities of some outcomes, (..., k), with a last one for all the others: (..., k + 1)."""
    rest = torch.log1p(-shares.exp().sum(dim=-1, keepdim=True).clamp(max=1 - 1e-6))
    return torch.cat([shares, rest], dim=-1)


def divergence(predicted: Tensor, top: Tensor, shares: Tensor) -> Tensor:
    """Return KL(teacher ‖ student) at each place, (tokens,), where all tokens outside the teacher's top count as one.

    It is a lower bound of the divergence over the whole vocabulary.

    Args:
        predicted: (tokens, vocabulary), the student's log-probabilities.
        top: (tokens, k) the teacher's likeliest tokens.
        shares: (tokens, k) their log-probabilities.
    """
    told, found = with_rest(shares), with_rest(predicted.gather(-1, top))
    return (told.exp() * (told - found)).sum(dim=-1)


class Shortcut:
    """The layers from ``first`` on, over states of texts that were read once and are kept in memory."""

    def __init__(self, model: Any, first: int, texts: Sequence[Text]) -> None:
        self._model, self._first, self._texts = model, first, texts
        self._states: dict[int, Tensor] = {}
        device = next(model.parameters()).device
        for numbers in batches(texts):
            ids, mask = pad([torch.tensor(texts[number].read, device=device) for number in numbers])
            states = states_at(model, ids, mask, [first])[first]
            # Copies: a row alone would keep its whole batch in memory.
            self._states |= {n: row[: len(texts[n])].clone() for n, row in zip(numbers, states, strict=True)}

    def answer_logits(self, numbers: Sequence[int]) -> Tensor:
        """Return what `logits.answer_logits` does for these texts; differentiable in what is injected above."""
        states, mask = pad([self._states[number] for number in numbers])
        hidden = continue_from(self._model, states, mask, self._first)
        answers = [self._texts[n] for n in numbers]
        kept = [row[len(t.prompt) - 1 : len(t)] for row, t in zip(hidden, answers, strict=True)]
        return logits_of(self._model, torch.cat(kept))


@torch.no_grad()
def shortcut_is_exact(model: nn.Module, first: int, text: Text) -> bool:
    """Return whether continuing from states gives the model's own logits, up to its precision, on this text.

    Where it does not (other layer signatures, scaled logits, several rotary embeddings), the whole model has
    to be run.
    """
    expected = answer_logits(model, [text]).float()
    try:
        found = Shortcut(model, first, [text]).answer_logits([0]).float()
    except (UnsupportedModelError, AttributeError, TypeError, ValueError, RuntimeError, KeyError):
        return False
    coarse = torch.finfo(next(model.parameters()).dtype).eps > 1e-4
    limit = (0.1 if coarse else 1e-3) * float(expected.std())
    return found.shape == expected.shape and float((found - expected).abs().max()) <= limit
