"""The objective: one forward pass over a batch, as at inference, and the terms that are learned from it.

Atoms are encoded, gated for their row's question, composed along the rank, and injected into the frozen base model's
upper layers. A term that has no weight in the stage at hand is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from parametric_memory.adapters.inject import inject
from parametric_memory.hypernetwork.network import AtomHypernetwork, Gates, directions, features
from parametric_memory.hypernetwork.states import continue_from, inputs_kept, logits_of
from parametric_memory.training.batches import Batch
from parametric_memory.training.curriculum import Weights
from parametric_memory.training.frozen import States
from parametric_memory.training.losses import (
    answer_nll,
    atom_nll,
    gate_hits,
    injected_norm,
    preservation_kl,
    rank_norm,
    span_nll,
    symmetric_kl,
    teacher_kl,
)
from parametric_memory.training.teacher import Told
from parametric_memory.types import LoraFactors

#: The base model's own words are preserved at so many positions of a row, counted from its end.
WATCHED = 8


class Objective(nn.Module):
    """The hypernetwork as the training loop calls it: a batch in, its terms out.

    A module, so that what wraps a module for several devices sees the whole pass.
    """

    def __init__(self, network: AtomHypernetwork, model: nn.Module, targets: Sequence[str]) -> None:
        """Take a hypernetwork, the base model it is for, and the targets of its factors, lowest first."""
        super().__init__()
        self.network = network
        self.targets = tuple(targets)
        # In a tuple, the base model is no part of this module: it is not trained, copied or saved.
        self._model = (model,)

    def forward(self, batch: Batch, states: States, weights: Weights, told: Told | None = None) -> dict[str, Tensor]:
        """Return the terms that have a weight, and measures.

        Args:
            batch: What is asked.
            states: What the frozen layers say of it.
            weights: Decide what is computed.
            told: What a teacher says at the answers' tokens; needed for `teacher` and `consistency`.

        Returns:
            ``total``, which is to be lowered; the terms by their names in `Weights`; and the measures ``first`` and
            ``token`` (shares of right tokens), ``hit`` and ``start`` (see `gate_hits`); NaN where nothing counts.
        """
        codes, present, tokens = self._encode(batch, states)
        gates = self._gates(codes, present, batch, states)
        counted = batch.spanned & ~batch.unanswered
        hit, start = gate_hits(gates, batch.inside, batch.start, rows=counted)
        terms = {
            "span": span_nll(gates, batch.inside, batch.start, rows=batch.spanned),
            "atoms": atom_nll(gates, batch.evidence),
        }
        measures = {"hit": hit, "start": start}
        if weights.answers:
            adapted = self._answer(batch, states, codes, present, tokens, gates)
            terms |= self._learned(batch, states, weights, adapted, told)
            measures |= _right(adapted.logits, batch)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return {"total": total, **terms, **measures}

    def adapters(self, batch: Batch, states: States) -> list[LoraFactors]:
        """Return what would be injected: per layer, A is (rows, rank, d_in) and B is (rows, d_out, rank)."""
        codes, present, tokens = self._encode(batch, states)
        return self._factors(codes, present, tokens, self._gates(codes, present, batch, states))

    def _encode(self, batch: Batch, states: States) -> tuple[Tensor, Tensor, Tensor]:
        """Return the routes' codes (rows, R, width), which of them are there, and their tokens' directions."""
        config, model = self.network.config, self._model[0]
        present_in_atoms = batch.places >= 0  # (atoms, T)
        places = batch.places.clamp(min=0)
        ids = batch.window_ids.flatten()[places]
        embedding = model.get_input_embeddings()(ids)  # type: ignore[operator]
        read = {layer: states.windows[layer].flatten(0, 1)[places] for layer in states.windows}
        codes = self.network.encode(features({0: embedding, **read}, config), present_in_atoms)
        present = batch.routes >= 0  # (rows, R)
        index = batch.routes.clamp(min=0)
        tokens = directions(model, ids.flatten()[index]) * present[..., None]
        return codes.flatten(0, 1)[index] * present[..., None], present, tokens

    def _gates(self, codes: Tensor, present: Tensor, batch: Batch, states: States) -> Gates:
        prompt = torch.arange(batch.mask.shape[1], device=batch.mask.device)[None] < batch.prompt_lengths[:, None]
        return self.network.gates(codes, present, states.questions, prompt)

    def _factors(self, codes: Tensor, present: Tensor, tokens: Tensor, gates: Gates) -> list[LoraFactors]:
        return self.network.factors(codes, tokens, self.network.rank_gates(gates) * present.repeat(1, 2))

    def _answer(
        self, batch: Batch, states: States, codes: Tensor, present: Tensor, tokens: Tensor, gates: Gates
    ) -> _Adapted:
        factors = self._factors(codes, present, tokens, gates)
        model, first = self._model[0], self.network.config.first_layer
        modules = [model.get_submodule(target) for target in self.targets]
        with inject(model, dict(zip(self.targets, factors, strict=True))), inputs_kept(modules) as kept:
            hidden = continue_from(model, states.questions, batch.mask, first)
        # The starting ranks have become one.
        ranks = torch.cat([present, torch.ones_like(present[:, :1])], dim=1)
        return _Adapted(self._head(hidden[batch.targets >= 0]), hidden, factors, ranks, [kept[m] for m in modules])

    def _learned(
        self, batch: Batch, states: States, weights: Weights, adapted: _Adapted, told: Told | None
    ) -> dict[str, Tensor]:
        """Return the terms beyond the gates' that have a weight."""
        answered = batch.targets >= 0
        terms = {"nll": answer_nll(adapted.logits, batch.targets[answered])}
        if told is not None and weights.teacher:
            terms["teacher"] = teacher_kl(adapted.logits, told.top, told.shares)
        if told is not None and weights.consistency:
            several = (answered & batch.several[:, None])[answered]
            terms["consistency"] = symmetric_kl(adapted.logits[several], told.top[several], told.shares[several])
        if weights.quiet:
            # Position 0 is the attention sink, which factors leave alone.
            where = (batch.mask & batch.unanswered[:, None])[:, 1:]
            spoken = zip(adapted.factors, adapted.inputs, strict=True)
            norms = [injected_norm(f, x[:, 1:], states.questions[:, 1:], where) for f, x in spoken]
            terms["quiet"] = torch.stack(norms).mean()
        if weights.preserve:
            terms["preserve"] = self._preserved(batch, states, adapted.hidden)
        if weights.sparsity:
            terms["sparsity"] = rank_norm(adapted.factors, adapted.ranks)
        return terms

    def _preserved(self, batch: Batch, states: States, hidden: Tensor) -> Tensor:
        """Return how far the last words of rows that nothing answers are from the bare base model's."""
        rows = batch.unanswered
        if not bool(rows.any()):
            return hidden.sum() * 0.0
        left = batch.mask.flip(1).cumsum(dim=1).flip(1)  # tokens from here to the row's end
        watched = (batch.mask & (left <= WATCHED))[rows]
        with torch.no_grad():
            bare = continue_from(
                self._model[0], states.questions[rows], batch.mask[rows], self.network.config.first_layer
            )
        return preservation_kl(self._head(hidden[rows][watched]), self._head(bare[watched]))

    def _head(self, hidden: Tensor) -> Tensor:
        return logits_of(self._model[0], hidden).float()


@dataclass(frozen=True, slots=True)
class _Adapted:
    """The base model with a batch's adapters.

    Attributes:
        logits: (answered positions, vocabulary).
        hidden: (rows, Tq, d_model), what the LM head is given.
        factors: Per layer, what was injected.
        ranks: (rows, rank) bool, the ranks that are there.
        inputs: Per layer, (rows, Tq, d_in), what its target module was given.
    """

    logits: Tensor
    hidden: Tensor
    factors: list[LoraFactors]
    ranks: Tensor
    inputs: list[Tensor]


def _right(logits: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Return the shares of right first tokens and of right tokens."""
    answered = batch.targets >= 0
    firsts = answered & ~pad(answered[:, :-1], (1, 0))
    right = (logits.argmax(dim=-1) == batch.targets[answered]).float()
    return {"first": right[firsts[answered]].mean(), "token": right.mean()}
