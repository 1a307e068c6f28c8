"""The student: the frozen base model with a batch's adapters injected, and the terms that are learned from it.

Which adapters, is for a compiler's objective to say (`parametric_memory.training.objective` for atoms,
`parametric_memory.training.documents` for documents). A term that has no weight is not computed, but for the
likelihood, which every log shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from parametric_memory.adapters.inject import inject
from parametric_memory.hypernetwork.states import continue_from, inputs_kept, logits_of
from parametric_memory.training.batches import Batch
from parametric_memory.training.curriculum import Weights
from parametric_memory.training.frozen import States
from parametric_memory.training.losses import answer_nll, injected_norm, preservation_kl, symmetric_kl, teacher_kl
from parametric_memory.training.teacher import Told
from parametric_memory.types import LoraFactors

#: The base model's own words are preserved at so many positions of a row, counted from its end.
WATCHED = 8


@dataclass(frozen=True, slots=True)
class Adapted:
    """The base model with a batch's adapters.

    Attributes:
        logits: (answered positions, vocabulary).
        hidden: (rows, Tq, d_model), what the LM head is given.
        factors: Per layer, what was injected.
        inputs: Per layer, (rows, Tq, d_in), what its target module was given.
    """

    logits: Tensor
    hidden: Tensor
    factors: Sequence[LoraFactors]
    inputs: list[Tensor]


class Student:
    """Runs the layers from the lowest adapted one on.

    Not a module: the base model is not trained, copied or saved with what is.
    """

    def __init__(self, model: nn.Module, targets: Sequence[str], first_layer: int) -> None:
        """Take the base model, the targets of the factors to come, lowest first, and the lowest one's layer."""
        self.model, self.targets, self._first = model, tuple(targets), first_layer

    def answer(self, batch: Batch, states: States, factors: Sequence[LoraFactors]) -> Adapted:
        """Answer a batch under one adapter a row: per layer, A is (rows, rank, d_in) and B is (rows, d_out, rank)."""
        modules = [self.model.get_submodule(target) for target in self.targets]
        adapter = dict(zip(self.targets, factors, strict=True))
        with inject(self.model, adapter), inputs_kept(modules) as kept:
            hidden = continue_from(self.model, states.questions[self._first], batch.mask, self._first)
        return Adapted(self._head(hidden[batch.targets >= 0]), hidden, factors, [kept[m] for m in modules])

    def terms(
        self, batch: Batch, states: States, weights: Weights, adapted: Adapted, told: Told | None
    ) -> dict[str, Tensor]:
        """Return the terms of what the base model says, the likelihood of answers always."""
        answered = batch.targets >= 0
        terms = {"nll": answer_nll(adapted.logits, batch.targets[answered])}
        if told is not None and weights.teacher:
            terms["teacher"] = teacher_kl(adapted.logits, told.top, told.shares)
        if told is not None and weights.consistency:
            several = (answered & batch.several[:, None])[answered]
            terms["consistency"] = symmetric_kl(adapted.logits[several], told.top[several], told.shares[several])
        if weights.quiet:
            terms["quiet"] = self._loudness(batch, states, adapted)
        if weights.preserve:
            terms["preserve"] = self._preserved(batch, states, adapted.hidden)
        return terms

    def _loudness(self, batch: Batch, states: States, adapted: Adapted) -> Tensor:
        """Return how loudly the adapters of rows that nothing answers speak."""
        rows = batch.unanswered
        if not bool(rows.any()):
            return adapted.hidden.sum() * 0.0
        # Position 0 is the attention sink, which factors leave alone.
        read, where = states.questions[self._first][rows, 1:], batch.mask[rows, 1:]
        own = [replace(factors, A=factors.A[rows], B=factors.B[rows]) for factors in adapted.factors]
        norms = [injected_norm(f, x[rows, 1:], read, where) for f, x in zip(own, adapted.inputs, strict=True)]
        return torch.stack(norms).mean()

    def _preserved(self, batch: Batch, states: States, hidden: Tensor) -> Tensor:
        """Return how far the last words of rows that nothing answers are from the bare base model's."""
        rows = batch.unanswered
        if not bool(rows.any()):
            return hidden.sum() * 0.0
        left = batch.mask.flip(1).cumsum(dim=1).flip(1)  # tokens from here to the row's end
        watched = (batch.mask & (left <= WATCHED))[rows]
        with torch.no_grad():
            bare = continue_from(self.model, states.questions[self._first][rows], batch.mask[rows], self._first)
        return preservation_kl(self._head(hidden[rows][watched]), self._head(bare[watched]))

    def _head(self, hidden: Tensor) -> Tensor:
        return logits_of(self.model, hidden).float()


def right(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return the shares of right ``first`` tokens and of right ``token`` s.

    Args:
        logits: (answered positions, vocabulary).
        targets: (rows, tokens), the token to predict at each position; negative where none is.
    """
    answered = targets >= 0
    firsts = answered & ~pad(answered[:, :-1], (1, 0))
    found = (logits.argmax(dim=-1) == targets[answered]).float()
    return {"first": found[firsts[answered]].mean(), "token": found.mean()}
