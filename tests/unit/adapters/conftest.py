"""A tiny random Llama, and adapters for its last two layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from parametric_memory.adapters import spec_for
from parametric_memory.types import AdapterSpec, AtomAdapter, LoraFactors


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def model() -> LlamaForCausalLM:
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        vocab_size=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def spec(model: LlamaForCausalLM) -> AdapterSpec:
    return spec_for(model, "tiny-llama", last=2)


@pytest.fixture
def tokens(rng: torch.Generator) -> Tensor:
    return torch.randint(2, 64, (4, 6), generator=rng)


@pytest.fixture
def atom(spec: AdapterSpec, rng: torch.Generator) -> Callable[..., AtomAdapter]:
    """Return a maker of random adapters, each different, all strong enough to be seen in the logits."""

    def make(rank: int = 2, *, atom_id: str = "atom", requires_grad: bool = False) -> AtomAdapter:
        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=rng).requires_grad_(requires_grad)

        return AtomAdapter(
            atom_id, spec, {target: LoraFactors(draw(rank, 48), draw(32, rank)) for target in spec.targets}
        )

    return make
