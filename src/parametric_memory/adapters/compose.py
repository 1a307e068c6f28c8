"""Turn a route's adapters into one: concatenated along the rank, weights folded into B.

The composed update of every target is exactly the weighted sum of the adapters' updates, unless its rank would pass the
budget: then it is the best approximation within the budget, and ``truncated`` says how far off it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from parametric_memory.adapters.factors import concat, scale, truncate
from parametric_memory.errors import AdapterError, AdapterMismatchError
from parametric_memory.types import AdapterSpec, AtomAdapter, ComposedAdapter, LoraFactors


def compose(
    adapters: Sequence[AtomAdapter],
    *,
    weights: Sequence[float] | None = None,
    rank_gates: Sequence[Sequence[float] | Tensor | None] | None = None,
    max_rank: int | None = None,
) -> ComposedAdapter:
    """Return one adapter whose update is ``Σ weight · ΔW`` over the adapters, on every target.

    Args:
        adapters: At least one, all of one spec. Ranks may differ; an adapter may leave targets out.
        weights: One per adapter; 1.0 each if None.
        rank_gates: Per adapter one weight for each of its ranks, the same on all targets, or None for no gates.
        max_rank: Rank budget of each target; above it the update is truncated. None for no limit.

    Raises:
        ValueError: If there are no adapters, not one finite weight and gate entry for each, or ``max_rank`` is below 1.
        AdapterMismatchError: If two adapters have different specs.
        AdapterError: If gates and ranks differ in number, or an adapter has a target that its spec does not name.
    """
    if not adapters:
        raise ValueError(
            "compose needs at least one adapter, got none; an empty route is the bare base model: inject None"
        )
    weights = [1.0] * len(adapters) if weights is None else weights
    gates = [None] * len(adapters) if rank_gates is None else rank_gates
    if not len(adapters) == len(weights) == len(gates) or not all(math.isfinite(weight) for weight in weights):
        raise ValueError(
            f"compose needs one finite weight and one rank gate entry per adapter, got {len(adapters)} adapters, "
            f"{len(gates)} gate entries and the weights {list(weights)}"
        )
    if max_rank is not None and max_rank < 1:
        raise ValueError(f"compose needs a max_rank of at least 1, got {max_rank}")
    spec = _common_spec(adapters)
    gated = [_gated(adapter, gate) for adapter, gate in zip(adapters, gates, strict=True)]
    factors: dict[str, LoraFactors] = {}
    truncated: dict[str, float] = {}
    for target in spec.targets:
        parts = [(part[target], weight) for part, weight in zip(gated, weights, strict=True) if target in part]
        if parts:
            joined = concat([part for part, _ in parts], [weight for _, weight in parts])
            factors[target], truncated[target] = truncate(joined, max_rank or joined.rank)
    return ComposedAdapter(spec, factors, tuple(adapter.atom_id for adapter in adapters), truncated)


def _common_spec(adapters: Sequence[AtomAdapter]) -> AdapterSpec:
    spec = adapters[0].spec
    for adapter in adapters:
        if adapter.spec != spec:
            raise AdapterMismatchError(
                f"composing {len(adapters)} adapters: that of atom {adapters[0].atom_id} fits {_describe(spec)}, "
                f"that of atom {adapter.atom_id} fits {_describe(adapter.spec)}; compile them for one base model",
                expected=spec,
                actual=adapter.spec,
            )
        if strangers := set(adapter.factors) - set(spec.targets):
            raise AdapterError(
                f"composing the adapter of atom {adapter.atom_id}: it changes {sorted(strangers)}, "
                f"but its spec names only {list(spec.targets)}; compile it again"
            )
    return spec


def _describe(spec: AdapterSpec) -> str:
    return f"{spec.base_model} ({spec.base_fingerprint}, {len(spec.targets)} targets)"


def _gated(adapter: AtomAdapter, gates: Sequence[float] | Tensor | None) -> Mapping[str, LoraFactors]:
    """Return the adapter's factors with each rank weighed by its gate."""
    if gates is None:
        return adapter.factors
    gate = torch.as_tensor(gates, dtype=torch.float32) if not isinstance(gates, Tensor) else gates
    for target, factors in adapter.factors.items():
        if gate.shape != (factors.rank,):
            raise AdapterError(
                f"composing the adapter of atom {adapter.atom_id}: {target} has rank {factors.rank}, but the route "
                f"gives gates of shape {tuple(gate.shape)}; was it routed with another compiler's codes?"
            )
    return {target: scale(factors, gate) for target, factors in adapter.factors.items()}
