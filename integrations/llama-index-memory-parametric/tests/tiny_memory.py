"""A memory of a tiny random base model: the same in every process, made in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from parametric_memory import ParametricMemory
from parametric_memory.adapters import spec_for
from parametric_memory.backends.huggingface import HuggingFaceBackend
from parametric_memory.compilers import HypernetworkCompiler
from parametric_memory.config import GenerationConfig, MemoryConfig, PromptConfig, RoutingConfig, StoreConfig
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.testing import HashingKeyEncoder, tiny_model

#: It never abstains, so that every answer comes from the base model.
CONFIG = MemoryConfig(
    routing=RoutingConfig(abstain_below=0.0),
    generation=GenerationConfig(max_new_tokens=8),
    store=StoreConfig(index="numpy"),
)
#: It says so where it holds nothing.
ABSTAINING = MemoryConfig(generation=GenerationConfig(max_new_tokens=8), store=StoreConfig(index="numpy"))


def tiny_backend() -> HuggingFaceBackend:
    """Return the base model."""
    model, tokenizer = tiny_model(layers=2)
    # Its tokens are bytes: LlamaIndex's templates are longer than its usual window. Its positions are rotations.
    model.config.max_position_embeddings = 16384
    return HuggingFaceBackend(model, tokenizer, base_model="tiny")


def tiny_parts(backend: HuggingFaceBackend) -> dict[str, Any]:
    """Return what a memory of this base model is made of."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AtomHypernetwork(config_for(backend.model, layers=1, width=16)).eval().requires_grad_(False)
    spec = spec_for(backend.model, backend.base_model, last=1)
    checkpoint = Checkpoint(network, spec, PromptConfig(), digest="tiny")
    compiler = HypernetworkCompiler(backend.model, backend.tokenizer, checkpoint, fingerprint=backend.fingerprint)
    return {"backend": backend, "compiler": compiler, "key_encoder": HashingKeyEncoder()}


def open_at(path: Path | str) -> ParametricMemory:
    """Open the memory at a path."""
    return ParametricMemory(**tiny_parts(tiny_backend()), path=path, config=CONFIG)
