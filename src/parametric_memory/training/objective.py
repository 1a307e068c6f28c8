"""The objective: one forward pass over a batch, as at inference, and the terms that are learned from it.

Atoms are encoded, gated for their row's question, composed along the rank, and injected into the frozen base model's
upper layers. A term that has no weight in the stage at hand is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from parametric_memory.hypernetwork.checkpoint import Network
from parametric_memory.hypernetwork.document import DocumentHypernetwork
from parametric_memory.hypernetwork.network import AtomHypernetwork, Gates, directions, features, question_features
from parametric_memory.training.batches import Batch
from parametric_memory.training.curriculum import Weights
from parametric_memory.training.documents import DocumentObjective
from parametric_memory.training.frozen import States
from parametric_memory.training.losses import atom_nll, gate_hits, rank_norm, span_nll
from parametric_memory.training.student import Adapted, Student, right
from parametric_memory.training.teacher import Told
from parametric_memory.types import LoraFactors

#: Atoms of a batch are encoded in so many groups of like lengths.
GROUPS = 4


class Objective(nn.Module):
    """The hypernetwork as the training loop calls it: a batch in, its terms out.

    A module, so that what wraps a module for several devices sees the whole pass.
    """

    def __init__(self, network: AtomHypernetwork, model: nn.Module, targets: Sequence[str]) -> None:
        """Take a hypernetwork, the base model it is for, and the targets of its factors, lowest first."""
        super().__init__()
        self.network = network
        self._student = Student(model, targets, network.config.first_layer)

    def forward(self, batch: Batch, states: States, weights: Weights, told: Told | None = None) -> dict[str, Tensor]:
        """Return the terms that have a weight, and measures.

        Args:
            batch: What is asked.
            states: What the frozen layers say of it.
            weights: Decide what is computed.
            told: What a teacher says at the answers' tokens; needed for `teacher` and `consistency`.

        Returns:
            ``total``, which is to be lowered; the terms by their names in `Weights`; and the measures ``first`` and
            ``token`` (shares of right tokens), and of its own gates ``hit`` and ``start`` (see `gate_hits`); NaN where
            nothing counts.
        """
        codes, present, tokens = self._encode(batch, states)
        gates = states.gates
        terms: dict[str, Tensor] = {}
        measures: dict[str, Tensor] = {}
        if self.network.config.gate_layers:
            own = self._gates(codes, present, batch, states)
            terms, measures = _found(own, batch)
            gates = gates or own
        if weights.answers:
            assert gates is not None, "a network without gates is trained on what is told or found"
            adapted = self._answer(batch, states, codes, present, tokens, gates)
            terms |= self._student.terms(batch, states, weights, adapted, told)
            if weights.sparsity:
                terms["sparsity"] = rank_norm(adapted.factors, _ranks(present))
            measures |= right(adapted.logits, batch.targets)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return {"total": total, **terms, **measures}

    def adapters(self, batch: Batch, states: States) -> list[LoraFactors]:
        """Return what would be injected: per layer, A is (rows, rank, d_in) and B is (rows, d_out, rank)."""
        codes, present, tokens = self._encode(batch, states)
        gates = states.gates or self._gates(codes, present, batch, states)
        return self._factors(batch, codes, present, tokens, gates)

    def _encode(self, batch: Batch, states: States) -> tuple[Tensor, Tensor, Tensor]:
        """Return the routes' codes (rows, R, width), which of them are there, and their tokens' directions."""
        ids = batch.window_ids.flatten()[batch.places.clamp(min=0)]  # (atoms, T)
        codes = self._codes(batch, states, ids)
        present = batch.routes >= 0  # (rows, R)
        index = batch.routes.clamp(min=0)
        tokens = directions(self._student.model, ids.flatten()[index]) * present[..., None]
        return codes.flatten(0, 1)[index] * present[..., None], present, tokens

    def _codes(self, batch: Batch, states: States, ids: Tensor) -> Tensor:
        """Return the codes of all atoms, (atoms, T, width); those of like lengths together: padding is paid for."""
        config, embed = self.network.config, self._student.model.get_input_embeddings()  # type: ignore[operator]
        present = batch.places >= 0
        lengths = present.sum(dim=1)
        codes = torch.zeros(*ids.shape, config.width, device=ids.device)
        for rows in lengths.argsort().chunk(GROUPS):
            longest = int(lengths[rows].max())
            places = batch.places[rows, :longest].clamp(min=0)
            read = {layer: windows.flatten(0, 1)[places] for layer, windows in states.windows.items()}
            read[0] = embed(ids[rows, :longest])
            made = self.network.encode(features(read, config), present[rows, :longest])
            codes[rows, :longest] = made.to(codes)
        return codes

    def _gates(self, codes: Tensor, present: Tensor, batch: Batch, states: States) -> Gates:
        prompt = torch.arange(batch.mask.shape[1], device=batch.mask.device)[None] < batch.prompt_lengths[:, None]
        model, config = self._student.model, self.network.config
        read = states.questions
        if config.question_words:
            read = {0: model.get_input_embeddings()(batch.ids), **read}  # type: ignore[operator]
        return self.network.gates(codes, present, question_features(read, config), prompt)

    def _factors(self, batch: Batch, codes: Tensor, present: Tensor, tokens: Tensor, gates: Gates) -> list[LoraFactors]:
        weights = self.network.rank_gates(gates) * present.repeat(1, self.network.config.ranks)
        ending = directions(self._student.model, torch.tensor([batch.ending], device=codes.device))[0]
        return self.network.factors(codes, tokens, weights, ending=ending)

    def _answer(
        self, batch: Batch, states: States, codes: Tensor, present: Tensor, tokens: Tensor, gates: Gates
    ) -> Adapted:
        return self._student.answer(batch, states, self._factors(batch, codes, present, tokens, gates))


def _found(gates: Gates, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the terms of a network's own gates, and how often they are right."""
    counted = batch.spanned & ~batch.unanswered
    hit, start = gate_hits(gates, batch.inside, batch.start, rows=counted)
    terms = {
        "span": span_nll(gates, batch.inside, batch.start, rows=batch.spanned),
        "atoms": atom_nll(gates, batch.evidence),
    }
    return terms, {"hit": hit, "start": start}


def _ranks(present: Tensor) -> Tensor:
    """Return which ranks are there, given which tokens are: the starting ranks have become one."""
    return torch.cat([present, torch.ones_like(present[:, :1])], dim=1)


def objective_for(network: Network, model: nn.Module, targets: Sequence[str]) -> Objective | DocumentObjective:
    """Return the objective of a hypernetwork of either kind."""
    if isinstance(network, DocumentHypernetwork):
        return DocumentObjective(network, model, targets)
    return Objective(network, model, targets)
