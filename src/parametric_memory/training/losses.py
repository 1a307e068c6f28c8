"""The terms of the training objective, each a function of one batch's outputs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from parametric_memory.hypernetwork.network import Gates


def answer_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of the answers' tokens, in nats.

    Args:
        logits: (positions, vocabulary), at positions that predict an answer's token.
        targets: (positions,) those tokens.
    """
    if not len(targets):
        return logits.sum() * 0.0
    return cross_entropy(logits.float(), targets)


def span_nll(gates: Gates, inside: Tensor, start: Tensor) -> Tensor:
    """Return how badly the gates find the answer: ``-mean_t∈span log p_inside(t) + log(1/|span|) - log p_start``.

    The first two terms are the KL divergence from the uniform distribution over the answer's tokens, so that all is 0
    for perfect gates. Rows that nothing answers have "none of these" as their span.

    Args:
        gates: Log-probabilities, (rows, R + 1).
        inside: (rows, R + 1) bool.
        start: (rows, R + 1) bool, one True per row.
    """
    length = inside.sum(dim=1).clamp(min=1)
    spread = -(gates.inside * inside).sum(dim=1) / length - length.log()
    first = -(gates.start * start).sum(dim=1)
    return (spread + first).mean()


def gate_hits(gates: Gates, inside: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of rows whose most probable token is in the answer, and whose most probable start is right."""
    rows = torch.arange(len(inside), device=inside.device)
    token = inside[rows, gates.inside.argmax(dim=1)].float().mean()
    first = start[rows, gates.start.argmax(dim=1)].float().mean()
    return token, first
