"""A memory of small real parts that any process can open."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from parametric_memory.adapters import spec_for
from parametric_memory.compilers.hypernetwork import HypernetworkCompiler
from parametric_memory.config import GenerationConfig, MemoryConfig, PromptConfig, RoutingConfig, StoreConfig
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.memory import ParametricMemory
from parametric_memory.routing.span_router import SpanRouter, begin
from parametric_memory.testing.doubles import HashingKeyEncoder, TinyBackend, tiny_encoder

#: It abstains only where nothing was found.
CONFIG = MemoryConfig(
    store=StoreConfig(index="numpy"),
    routing=RoutingConfig(abstain_below=0.05),
    generation=GenerationConfig(max_new_tokens=32),
)


def tiny_parts(*, digest: str = "untrained") -> dict[str, Any]:
    """Return a tiny base model, a hypernetwork and a token router that were never trained, and keys of hashed words."""
    backend = TinyBackend(batch_size=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AtomHypernetwork(config_for(backend.model, layers=2, width=40)).eval().requires_grad_(False)
    prompt = PromptConfig(system="", reading="", prefix="A:")
    checkpoint = Checkpoint(network, spec_for(backend.model, backend.base_model, last=2), prompt, digest=digest)
    compiler = HypernetworkCompiler(backend.model, backend.tokenizer, checkpoint, fingerprint=backend.fingerprint)
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        token_router = SpanRouter(*begin(tiny_encoder(Path(folder)), frozen=0))
    return {
        "backend": backend,
        "compiler": compiler,
        "key_encoder": HashingKeyEncoder(),
        "token_router": token_router,
        "prompt": prompt,
    }


def tiny_memory(path: Path, *, digest: str = "untrained") -> ParametricMemory:
    """Open a memory of such parts."""
    return ParametricMemory(**tiny_parts(digest=digest), path=path, config=CONFIG)
