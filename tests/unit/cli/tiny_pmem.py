"""`pmem` with a tiny random base model in place of the real one: everything else is the command as people run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from parametric_memory import ParametricMemory
from parametric_memory.adapters.spec import spec_for
from parametric_memory.cli import main
from parametric_memory.compilers.hypernetwork import HypernetworkCompiler
from parametric_memory.config import MemoryConfig, PromptConfig
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.testing.doubles import HashingKeyEncoder, TinyBackend


def tiny_memory(_base: object = None, *, path: Path, config: MemoryConfig | None = None, **_: Any) -> ParametricMemory:
    """Open a memory: stands in for `ParametricMemory.from_pretrained`."""
    backend = TinyBackend()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AtomHypernetwork(config_for(backend.model, layers=1, width=16)).eval().requires_grad_(False)
    checkpoint = Checkpoint(network, spec_for(backend.model, backend.base_model, last=1), PromptConfig(), digest="tiny")
    compiler = HypernetworkCompiler(backend.model, backend.tokenizer, checkpoint, fingerprint=backend.fingerprint)
    return ParametricMemory(
        backend=backend, compiler=compiler, key_encoder=HashingKeyEncoder(), path=path, config=config
    )


if __name__ == "__main__":
    ParametricMemory.from_pretrained = staticmethod(tiny_memory)
    main()
