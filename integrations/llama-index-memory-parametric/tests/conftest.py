"""Memories to test with: a tiny random base model by default, the real one for tests that are marked ``model``."""

from __future__ import annotations

import os

import pytest
import torch
from llama_index.core import Settings

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
#: It says so where it holds nothing.
ABSTAINING = MemoryConfig(generation=GenerationConfig(max_new_tokens=8), store=StoreConfig(index="numpy"))


@pytest.fixture(scope="session")
def backend() -> HuggingFaceBackend:
    model, tokenizer = tiny_model(layers=2)
    # Its tokens are bytes: LlamaIndex's templates are longer than its usual window. Its positions are rotations.
    model.config.max_position_embeddings = 16384
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


@pytest.fixture
def counted(monkeypatch):
    """Return a function that starts to record the texts of the atoms which a memory compiles."""

    def count(memory) -> list[str]:
        compiled, compile_ = [], memory.compiler.compile

        def counting(atoms):
            compiled.extend(atom.text for atom in atoms)
            return compile_(atoms)

        monkeypatch.setattr(memory.compiler, "compile", counting)
        return compiled

    return count


@pytest.fixture(scope="session")
def real_memory(tmp_path_factory):
    with ParametricMemory.from_pretrained(path=tmp_path_factory.mktemp("real")) as memory:
        yield memory


@pytest.fixture(params=["tiny", pytest.param("real", marks=pytest.mark.model)])
def either_memory(request):
    """Return an empty memory of the tiny base model, and of the real one with its store."""
    if request.param == "tiny":
        yield request.getfixturevalue("memory")
        return
    memory = request.getfixturevalue("real_memory")
    memory.reset()
    yield memory
    memory.reset()


@pytest.fixture(autouse=True)
def settings_as_they_were():
    """Forget which models a test has set for LlamaIndex."""
    names = ("_llm", "_embed_model", "_callback_manager", "_tokenizer", "_node_parser", "_transformations")
    before = {name: getattr(Settings, name) for name in names}
    yield
    for name, value in before.items():
        setattr(Settings, name, value)
