"""The objective of the document compiler: windows are its chunks, and a row has those that its atoms stand in.

A row's chunks are encoded, concatenated along the rank with one bias, and injected. There are no gates: what is learned
is what the base model says, and that factors are small.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from parametric_memory.hypernetwork.document import DocumentHypernetwork
from parametric_memory.training.batches import Batch
from parametric_memory.training.curriculum import Weights
from parametric_memory.training.frozen import States
from parametric_memory.training.losses import factor_size
from parametric_memory.training.student import Student, right
from parametric_memory.training.teacher import Told
from parametric_memory.types import LoraFactors


class DocumentObjective(nn.Module):
    """The document hypernetwork as the training loop calls it: a batch in, its terms out."""

    def __init__(self, network: DocumentHypernetwork, model: nn.Module, targets: Sequence[str]) -> None:
        """Take a hypernetwork, the base model it is for, and the targets of its factors, lowest first."""
        super().__init__()
        self.network = network
        self._student = Student(model, targets, network.config.first_layer)

    def forward(self, batch: Batch, states: States, weights: Weights, told: Told | None = None) -> dict[str, Tensor]:
        """Return the terms that have a weight, and measures, as `parametric_memory.training.objective.Objective` does.

        Its terms are ``nll``, ``teacher``, ``quiet``, ``preserve``, ``consistency``, and ``sparsity``, which is here
        the size of the factors' entries (see `factor_size`).
        """
        chunks = self._chunks(batch, states)
        adapted = self._student.answer(batch, states, self._composed(chunks, batch))
        terms = self._student.terms(batch, states, weights, adapted, told)
        if weights.sparsity:
            terms["sparsity"] = factor_size(chunks)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return {"total": total, **terms, **right(adapted.logits, batch.targets)}

    def adapters(self, batch: Batch, states: States) -> list[LoraFactors]:
        """Return what would be injected: per layer, A is (rows, rank, d_in) and B is (rows, d_out, rank)."""
        return self._composed(self._chunks(batch, states), batch)

    def _chunks(self, batch: Batch, states: States) -> list[LoraFactors]:
        """Return the factors of every window, per layer: A is (W, rank, d_in) and B is (W, d_model, rank)."""
        return self.network.factors(self.network.encode(states.windows, batch.window_mask))

    def _composed(self, chunks: Sequence[LoraFactors], batch: Batch) -> list[LoraFactors]:
        """Return each row's chunks and the bias, concatenated along the rank; rows with fewer chunks have zeros."""
        rows = len(batch)
        present = (batch.chunks >= 0)[..., None, None]  # (rows, C, 1, 1)
        index = batch.chunks.clamp(min=0)
        made = []
        for each, bias in zip(chunks, self.network.bias(), strict=True):
            A = (each.A[index] * present).flatten(1, 2)  # (rows, C * rank, d_in)
            B = (each.B.mT[index] * present).flatten(1, 2)
            A = torch.cat([A, bias.A.expand(rows, -1, -1).to(A)], dim=1)
            B = torch.cat([B, bias.B.mT.expand(rows, -1, -1).to(B)], dim=1)
            made.append(LoraFactors(A, B.mT))
        return made
