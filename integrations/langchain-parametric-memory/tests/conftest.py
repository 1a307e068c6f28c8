"""Memories to test with: a tiny random base model by default, the real one for tests that are marked ``model``."""

from __future__ import annotations

import os

import pytest
import torch

from parametric_memory import ParametricMemory
from parametric_memory.adapters import spec_for
from parametric_memory.backends.huggingface import HuggingFaceBackend
from parametric_memory.compilers import HypernetworkCompiler
from parametric_memory.config import GenerationConfig, MemoryConfig, PromptConfig, RoutingConfig, StoreConfig
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.testing import HashingKeyEncoder, tiny_model

os.environ.setdefault("HF_HUB_OFFLINE", "1")

#: It never abstains, so that every answer comes from the base model.
CONFIG = MemoryConfig(
    routing=RoutingConfig(abstain_below=0.0),
    generation=GenerationConfig(max_new_tokens=8),
    store=StoreConfig(index="numpy"),
)


@pytest.fixture(scope="session")
def backend() -> HuggingFaceBackend:
    model, tokenizer = tiny_model(layers=2)
    # Its tokens are bytes: instructions for tools are longer than its usual window. Its positions are rotations.
    model.config.max_position_embeddings = 8192
    return HuggingFaceBackend(model, tokenizer, base_model="tiny")


@pytest.fixture(scope="session")
def parts(backend):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AtomHypernetwork(config_for(backend.model, layers=1, width=16)).eval().requires_grad_(False)
    spec = spec_for(backend.model, backend.base_model, last=1)
    checkpoint = Checkpoint(network, spec, PromptConfig(), digest="tiny")
    compiler = HypernetworkCompiler(backend.model, backend.tokenizer, checkpoint, fingerprint=backend.fingerprint)
    return {"backend": backend, "compiler": compiler, "key_encoder": HashingKeyEncoder()}


@pytest.fixture(scope="session")
def make_memory(parts, tmp_path_factory):
    """Return a function that opens a new memory, whatever `from_pretrained` would be told."""
    opened = []

    def make(*_, path=None, config=CONFIG, **__) -> ParametricMemory:
        opened.append(ParametricMemory(**parts, path=path or tmp_path_factory.mktemp("memory"), config=config))
        return opened[-1]

    yield make
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(make_memory) -> ParametricMemory:
    return make_memory()


@pytest.fixture(scope="session")
def real_memory(tmp_path_factory):
    with ParametricMemory.from_pretrained(path=tmp_path_factory.mktemp("real")) as memory:
        memory.add("The keeper of the north gate is Bastian Orme. Vera Holm repairs the looms on Tuesday.")
        memory.add("The door of the dye lab opens with a copper key.")
        yield memory
