"""Adding a long document takes no more memory than adding a short one, but for the text itself."""

from __future__ import annotations

import pytest
import torch

from parametric_memory.adapters import spec_for
from parametric_memory.compilers import DocumentCompiler, HypernetworkCompiler
from parametric_memory.config import MemoryConfig, PromptConfig, StoreConfig
from parametric_memory.evaluation.bench.isolation import in_child, resident_bytes
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.document import DocumentHypernetwork, document_config_for
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.memory import ParametricMemory
from parametric_memory.memory import memory as rooms
from parametric_memory.testing.doubles import HashingKeyEncoder, TinyBackend

#: The tiny base model's tokens are bytes, a quarter of what others' are, and so are the parts that are added at once.
SHORT, LONG, PART = 10_000, 100_000, 2**13
MOST = 12 * 2**20


def add(kind, tokens, folder):
    """Add a document of so many tokens in this process; return what was held before, and how many atoms there are."""
    torch.set_num_threads(1)
    rooms.PART = PART
    backend = TinyBackend()
    spec = spec_for(backend.model, backend.base_model, last=2)
    if kind == "document":
        network = DocumentHypernetwork(document_config_for(backend.model, layers=2, rank=8, width=40, blocks=2))
        compiler = DocumentCompiler
    else:
        network = AtomHypernetwork(config_for(backend.model, layers=2, width=40))
        compiler = HypernetworkCompiler
    checkpoint = Checkpoint(network.eval().requires_grad_(False), spec, PromptConfig(), digest="tiny")
    made = compiler(backend.model, backend.tokenizer, checkpoint, fingerprint=backend.fingerprint)
    text = " ".join(f"Shelf number {n} holds {n * 7} boxes of salt and a lamp." for n in range(tokens // 52))
    config = MemoryConfig(store=StoreConfig(index="numpy"))
    with ParametricMemory(
        backend=backend, compiler=made, key_encoder=HashingKeyEncoder(32), path=folder, config=config
    ) as memory:
        memory.add("A short one to begin with.")
        held = resident_bytes()
        memory.add(text)
        return held, memory.stats().atoms


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["document", "hypernetwork"])
def test_the_memory_that_adding_takes_does_not_grow_with_the_document(kind, tmp_path):
    short, long = (in_child(add, kind, tokens, tmp_path / str(tokens)) for tokens in (SHORT, LONG))
    if short.peak_bytes is None:
        pytest.skip("this system does not tell the peak")
    assert long.value[1] > 8 * short.value[1]
    extra = [one.peak_bytes - one.value[0] for one in (short, long)]
    assert extra[1] - extra[0] < MOST, f"{extra} bytes for {SHORT} and {LONG} tokens"
