import pytest
import torch

from parametric_memory.adapters import spec_for
from parametric_memory.compilers import HypernetworkCompiler
from parametric_memory.config import GenerationConfig, MemoryConfig, PromptConfig, RoutingConfig, StoreConfig
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.memory import ParametricMemory
from parametric_memory.testing import HashingKeyEncoder, TinyBackend

CONFIG = MemoryConfig(
    routing=RoutingConfig(abstain_below=0.0),
    generation=GenerationConfig(max_new_tokens=8),
    store=StoreConfig(index="numpy"),
)


@pytest.fixture(scope="session")
def parts():
    backend = TinyBackend(layers=4)
    torch.manual_seed(0)
    network = AtomHypernetwork(config_for(backend.model, layers=2, width=16)).eval()
    spec = spec_for(backend.model, backend.base_model, last=2)
    checkpoint = Checkpoint(network, spec, PromptConfig(), digest="tiny")
    compiler = HypernetworkCompiler(backend.model, backend.tokenizer, checkpoint, fingerprint=backend.fingerprint)
    return {"backend": backend, "compiler": compiler, "key_encoder": HashingKeyEncoder()}


@pytest.fixture
def open_memory(parts, tmp_path):
    opened = []

    def open_it(name="memory", config=CONFIG):
        opened.append(ParametricMemory(**parts, path=tmp_path / name, config=config))
        return opened[-1]

    yield open_it
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(open_memory):
    return open_memory()
