"""The terms of the training objective, each a function of one batch's outputs; all are 0 when nothing is to be learned.

Doc-to-Atom (arXiv 2606.12400) names them: likelihood and divergence from the in-context teacher, routing, norm of
irrelevant adapters, preservation of the base model's knowledge, sparsity, compositional consistency. What is weighed
is a micro-LoRA's ranks, so that routing is a choice among tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from parametric_memory.compilers.distillation.logits import divergence, with_rest
from parametric_memory.hypernetwork.network import Gates
from parametric_memory.types import LoraFactors


def answer_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of the answers' tokens, in nats.

    Args:
        logits: (positions, vocabulary), at positions that predict an answer's token.
        targets: (positions,) those tokens.
    """
    if not len(targets):
        return logits.sum() * 0.0
    return cross_entropy(logits.float(), targets)


def span_nll(gates: Gates, inside: Tensor, start: Tensor, *, rows: Tensor | None = None) -> Tensor:
    """Return how badly the gates find the answer: ``-mean_t∈span log p_inside(t) + log(1/|span|) - log p_start``.

    The first two terms are the KL divergence from the uniform distribution over the answer's tokens, so that all is 0
    for perfect gates. Rows that nothing answers have "none of these" as their span.

    Args:
        gates: Log-probabilities, (rows, R + 1).
        inside: (rows, R + 1) bool.
        start: (rows, R + 1) bool, one True per row for each atom that says the answer.
        rows: (rows,) bool, those whose span is known; all by default.
    """
    per_row = _spread(gates.inside, inside) + _spread(gates.start, start)
    return per_row.mean() if rows is None else _mean(per_row, rows)


def atom_nll(gates: Gates, evidence: Tensor) -> Tensor:
    """Return how badly the gates find the atoms that answer: ``-log Σ_t∈atoms p_inside(t)``, the mean over rows.

    Args:
        gates: Log-probabilities, (rows, R + 1).
        evidence: (rows, R + 1) bool, all tokens of the atoms that answer, or "none of these".
    """
    return -gates.inside.masked_fill(~evidence, -1e4).logsumexp(dim=1).mean()


def teacher_kl(logits: Tensor, top: Tensor, shares: Tensor) -> Tensor:
    """Return ``Σ_i q_i (log q_i - log p_i)``, the divergence from the teacher, the mean over positions.

    Over the teacher's likeliest tokens, and over all the others as one.

    Args:
        logits: (positions, vocabulary) of the student.
        top: (positions, k) the teacher's likeliest tokens.
        shares: (positions, k) their log-probabilities.
    """
    if not len(top):
        return logits.sum() * 0.0
    return divergence(logits.float().log_softmax(dim=-1), top, shares.float()).mean()


def symmetric_kl(logits: Tensor, top: Tensor, shares: Tensor) -> Tensor:
    """Return the mean of both divergences between student and teacher, over the same outcomes as `teacher_kl`.

    Doc-to-Atom's compositional consistency: composed atoms should answer as their joint text does.
    """
    if not len(top):
        return logits.sum() * 0.0
    q, p = with_rest(shares.float()), with_rest(logits.float().log_softmax(dim=-1).gather(1, top))
    return 0.5 * ((q.exp() - p.exp()) * (q - p)).sum(dim=1).mean()


def preservation_kl(logits: Tensor, bare: Tensor) -> Tensor:
    """Return ``KL(bare ‖ injected)``, the mean over positions.

    Args:
        logits: (positions, vocabulary) with something injected that does not answer.
        bare: (positions, vocabulary) of the base model as it is.
    """
    if not len(logits):
        return logits.sum() * 0.0
    p, q = logits.float().log_softmax(dim=-1), bare.float().log_softmax(dim=-1)
    return (q.exp() * (q - p)).sum(dim=-1).mean()


def injected_norm(factors: LoraFactors, inputs: Tensor, states: Tensor, where: Tensor) -> Tensor:
    """Return the mean of ``‖ΔW x‖² / ‖h‖²``: how loudly an adapter speaks, as a share of the residual stream.

    Args:
        factors: A is (rows, rank, d_in), B is (rows, d_out, rank).
        inputs: (rows, T, d_in), what the module is given: x.
        states: (rows, T, d_model), the residual stream: h.
        where: (rows, T) bool, the positions that count.
    """
    update = inputs.float() @ factors.A.float().mT @ factors.B.float().mT
    loudness = update.pow(2).sum(dim=-1) / states.float().pow(2).sum(dim=-1).clamp(min=1e-6)
    return _mean(loudness.flatten(), where.flatten())


def rank_norm(factors: Sequence[LoraFactors], present: Tensor) -> Tensor:
    """Return the mean of ``‖A_r‖ ‖B_r‖`` over present ranks and layers: an L1 norm, which silences ranks one by one.

    Args:
        factors: Per layer, A is (rows, rank, d_in), B is (rows, d_out, rank).
        present: (rows, rank) bool.
    """
    norms = [each.A.float().norm(dim=-1) * each.B.float().norm(dim=-2) for each in factors]
    return _mean(torch.stack(norms).mean(dim=0).flatten(), present.flatten())


def factor_size(factors: Sequence[LoraFactors]) -> Tensor:
    """Return ``mean |A| + mean |B|`` over all entries, the mean over layers: Doc-to-LoRA's L1 norm (arXiv 2602.15902).

    Args:
        factors: Per layer, A is (chunks, rank, d_in), B is (chunks, d_out, rank).
    """
    return torch.stack([each.A.float().abs().mean() + each.B.float().abs().mean() for each in factors]).mean()


def gate_hits(gates: Gates, inside: Tensor, start: Tensor, *, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the shares of rows whose most probable token is in the answer, and whose most probable start is right.

    NaN if no row counts.

    Args:
        gates: Log-probabilities, (rows, R + 1).
        inside: (rows, R + 1) bool.
        start: (rows, R + 1) bool.
        rows: (rows,) bool, those that count; all by default.
    """
    counted = torch.ones(len(inside), dtype=torch.bool, device=inside.device) if rows is None else rows
    numbers = torch.arange(len(inside), device=inside.device)
    token = inside[numbers, gates.inside.argmax(dim=1)].float()
    first = start[numbers, gates.start.argmax(dim=1)].float()
    return token[counted].mean(), first[counted].mean()


def _spread(log_p: Tensor, wanted: Tensor) -> Tensor:
    """Return the KL divergence of p from the uniform distribution over what is wanted, per row."""
    count = wanted.sum(dim=1).clamp(min=1)
    return -(log_p * wanted).sum(dim=1) / count - count.log()


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Return the mean of some values, 0 if there are none."""
    return (values * where).sum() / where.sum().clamp(min=1)
