"""Compiling a long document takes about the memory of a short one: it is read, compiled and stored part by part."""

from __future__ import annotations

import pytest
import torch

from parametric_memory.adapters import spec_for
from parametric_memory.compilers import DocumentCompiler
from parametric_memory.config import MemoryConfig, PromptConfig, StoreConfig
from parametric_memory.evaluation.bench.isolation import in_child, resident_bytes
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.document import DocumentHypernetwork, document_config_for
from parametric_memory.memory import ParametricMemory, adding
from parametric_memory.testing.doubles import HashingKeyEncoder, TinyBackend

#: The tiny base model's tokens are bytes, a quarter of what others' are, and so are the parts that are added at once.
SHORT, LONG, PART = 10_000, 100_000, 2**13
MOST = 12 * 2**20


def add(tokens, folder):
    """Add a document of so many tokens in this process; return what was held before, and how many atoms there are."""
    torch.set_num_threads(1)
    adding.PART = PART
    backend = TinyBackend()
    spec = spec_for(backend.model, backend.base_model, last=2)
    network = DocumentHypernetwork(document_config_for(backend.model, layers=2, rank=8, width=40, blocks=2))
    checkpoint = Checkpoint(network.eval().requires_grad_(False), spec, PromptConfig(), digest="tiny")
    made = DocumentCompiler(backend.model, backend.tokenizer, checkpoint, fingerprint=backend.fingerprint)
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
def test_compiling_a_document_in_chunks_takes_no_more_memory_the_longer_it_is(tmp_path):
    short, long = (in_child(add, tokens, tmp_path / str(tokens)) for tokens in (SHORT, LONG))
    if short.peak_bytes is None:
        pytest.skip("this system does not tell the peak")
    assert long.value[1] > 8 * short.value[1]
    extra = [one.peak_bytes - one.value[0] for one in (short, long)]
    assert extra[1] - extra[0] < MOST, f"{extra} bytes for {SHORT} and {LONG} tokens"
