"""A tiny real backend, and adapters that change what it writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from parametric_memory.adapters import spec_for
from parametric_memory.testing.doubles import TinyBackend
from parametric_memory.types import ComposedAdapter, LoraFactors


@pytest.fixture(scope="session")
def backend() -> TinyBackend:
    return TinyBackend(batch_size=4)


@pytest.fixture
def adapter(backend: TinyBackend) -> Callable[[int], ComposedAdapter]:
    """Return a maker of adapters, a different one for every seed."""

    def make(seed: int, rank: int = 3) -> ComposedAdapter:
        rng = torch.Generator().manual_seed(seed)
        spec = spec_for(backend.model, backend.base_model, last=2)
        factors = {
            target: LoraFactors(torch.randn(rank, 96, generator=rng), torch.randn(32, rank, generator=rng))
            for target in spec.targets
        }
        return ComposedAdapter(spec, factors, (f"atom-{seed}",))

    return make
