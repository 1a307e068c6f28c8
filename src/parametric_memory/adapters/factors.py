"""Low-rank algebra on LoRA factors: concatenate, scale, pad, stack, truncate, measure.

Everything here is pure: tensors in, new tensors out, any device, differentiable. ΔW = B @ A is never formed, except by
`dense`. A leading batch dimension (one update per row) is carried along wherever there is one. The scale
``alpha / rank`` is already folded into B, so composing is only concatenation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from parametric_memory.errors import AdapterError
from parametric_memory.types import LoraFactors


def concat(parts: Sequence[LoraFactors], weights: Sequence[float | Tensor]) -> LoraFactors:
    """Return factors whose product is the weighted sum of the parts' products.

    Args:
        parts: Updates of one target module; ranks may differ.
        weights: One per part, may be negative: a number, or one number per rank of that part (see `scale`).

    Returns:
        Factors of rank ``sum(ranks)``: A is (rank, d_in), B is (d_out, rank).

    Raises:
        ValueError: If there are no parts, or not one weight per part.
    """
    if not parts or len(parts) != len(weights):
        raise ValueError(f"concat needs one weight per part, got {len(parts)} parts and {len(weights)} weights")
    scaled = [scale(part, weight) for part, weight in zip(parts, weights, strict=True)]
    return LoraFactors(torch.cat([part.A for part in scaled], dim=-2), torch.cat([part.B for part in scaled], dim=-1))


def scale(factors: LoraFactors, weight: float | Tensor) -> LoraFactors:
    """Return factors of ``weight * ΔW``.

    Args:
        factors: A is (..., rank, d_in), B is (..., d_out, rank).
        weight: A number, or a tensor of one per rank, (..., rank).

    Raises:
        ValueError: If there is not one weight per rank.
    """
    if isinstance(weight, Tensor):
        if weight.dim() and weight.shape[-1] != factors.rank:
            raise ValueError(f"scale needs one weight per rank, got {weight.shape[-1]} for rank {factors.rank}")
        weight = weight.to(factors.B).unsqueeze(-2) if weight.dim() else weight.to(factors.B)
    # The weight goes on B alone: on both sides it would count twice.
    return LoraFactors(factors.A, factors.B * weight)


def pad_rank(factors: LoraFactors, rank: int) -> LoraFactors:
    """Return the same update with zero rows and columns up to ``rank``.

    Raises:
        ValueError: If the factors already have a larger rank.
    """
    missing = rank - factors.rank
    if missing < 0:
        raise ValueError(f"cannot pad factors of rank {factors.rank} to the smaller rank {rank}; truncate them instead")
    return LoraFactors(pad(factors.A, (0, 0, 0, missing)), pad(factors.B, (0, missing))) if missing else factors


def stack(rows: Sequence[LoraFactors | None]) -> LoraFactors:
    """Return one update per row of a batch: A is (rows, rank, d_in), B is (rows, d_out, rank).

    Ranks may differ: smaller ones are zero-padded to the largest. None is a row without an update.

    Raises:
        ValueError: If no row has an update.
    """
    present = [row for row in rows if row is not None]
    if not present:
        raise ValueError(f"stack needs at least one update, got {len(rows)} rows without any")
    rank = max(row.rank for row in present)
    zeros = LoraFactors(torch.zeros_like(present[0].A[:0]), torch.zeros_like(present[0].B[:, :0]))
    padded = [pad_rank(row or zeros, rank) for row in rows]
    return LoraFactors(torch.stack([row.A for row in padded]), torch.stack([row.B for row in padded]))


def dense(factors: LoraFactors) -> Tensor:
    """Return ΔW = B @ A, (..., d_out, d_in): for tests and for looking, not for running."""
    return factors.B @ factors.A


def frobenius_norm(factors: LoraFactors) -> Tensor:
    """Return ‖ΔW‖, (...), from the two r × r Gram matrices; its gradient at ΔW = 0 is 0.

    Where ranks cancel one another the result is accurate to about 1e-3 of the norm of what cancels (float32).
    """
    A, B = _full_precision(factors)
    squared = ((B.mT @ B) * (A @ A.mT)).sum(dim=(-2, -1))
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)


def truncate(factors: LoraFactors, rank: int) -> tuple[LoraFactors, float]:
    """Return the best approximation of ΔW of at most this rank, and its error ‖ΔW − ΔW'‖ / ‖ΔW‖.

    QR of both factors leaves an r × r core whose singular values are those of ΔW; the largest are kept, on B. Rows of
    the new A are orthonormal. Factors that are small enough come back as they are, with error 0.

    Raises:
        ValueError: If ``rank`` is less than 1.
        AdapterError: If the factors hold NaN or infinite values.
    """
    if rank < 1:
        raise ValueError(f"truncate needs a rank of at least 1, got {rank}")
    if factors.rank <= rank:
        return factors, 0.0
    A, B = _full_precision(factors)
    if not bool(A.isfinite().all() and B.isfinite().all()):
        raise AdapterError(
            f"truncating factors to rank {rank}: they hold NaN or infinite values; compile the atom again"
        )
    q_in, r_in = torch.linalg.qr(A.mT)  # (d_in, r), (r, r)
    q_out, r_out = torch.linalg.qr(B)  # (d_out, r), (r, r)
    U, S, Vh = torch.linalg.svd(r_out @ r_in.mT, full_matrices=False)
    kept = LoraFactors(
        (Vh[..., :rank, :] @ q_in.mT).to(factors.A.dtype),
        (q_out @ (U[..., :rank] * S[..., None, :rank])).to(factors.B.dtype),
    )
    total = float(S.detach().norm())
    return kept, float(S.detach()[..., rank:].norm()) / total if total else 0.0


def _full_precision(factors: LoraFactors) -> tuple[Tensor, Tensor]:
    """Return A and B in at least float32: decompositions and squares do not survive in half precision."""
    dtype = torch.promote_types(factors.A.dtype, torch.float32)
    return factors.A.to(dtype), factors.B.to(dtype)
