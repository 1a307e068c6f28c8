"""Choosing a compiler; the base model and the key encoder are tiny, everything else is real."""

import pytest

from parametric_memory.backends import HuggingFaceBackend
from parametric_memory.compilers import DistillationCompiler
from parametric_memory.config import DistillationConfig, GenerationConfig, MemoryConfig, RoutingConfig, StoreConfig
from parametric_memory.errors import AdapterMismatchError, CheckpointError, ConfigError
from parametric_memory.memory import ParametricMemory
from parametric_memory.memory import memory as rooms
from parametric_memory.memory.compiler import compiler_kind
from parametric_memory.testing import HashingKeyEncoder, TinyBackend

CONFIG = MemoryConfig(
    distillation=DistillationConfig(rank=2, layers=1, templates=2, questions=1, steps=2),
    routing=RoutingConfig(abstain_below=0.0),
    generation=GenerationConfig(max_new_tokens=4),
    store=StoreConfig(index="numpy"),
)


@pytest.fixture
def tiny_parts(monkeypatch):
    """Let `from_pretrained` load a tiny base model, which no checkpoint was trained for, and keys of hashed words."""
    backend = TinyBackend()
    monkeypatch.setattr(HuggingFaceBackend, "from_pretrained", lambda *_, **__: backend)
    monkeypatch.setattr(rooms, "SentenceTransformerEncoder", lambda *_, **__: HashingKeyEncoder())
    monkeypatch.setattr(rooms, "resolve_key_encoder", lambda name, **_: name)


def test_a_base_model_without_a_checkpoint_is_told_of_distillation(tiny_parts, tmp_path):
    with pytest.raises(CheckpointError, match='compiler="distillation"'):
        ParametricMemory.from_pretrained(path=tmp_path, config=CONFIG)


def test_a_memory_is_filled_and_asked_without_a_checkpoint(tiny_parts, tmp_path):
    with ParametricMemory.from_pretrained(path=tmp_path, compiler="distillation", config=CONFIG) as memory:
        assert isinstance(memory.compiler, DistillationCompiler)
        memory.add("The keeper of Hall 4B is Bastian Orme.")
        answer = memory.ask("Who is the keeper of Hall 4B?")
    assert len(answer.citations) == 1


def test_a_memory_remembers_that_it_was_distilled(tiny_parts, tmp_path):
    with ParametricMemory.from_pretrained(path=tmp_path, compiler="distillation", config=CONFIG) as memory:
        memory.add("The keeper of Hall 4B is Bastian Orme.")
    assert compiler_kind(tmp_path, None) == "distillation"
    with ParametricMemory.from_pretrained(path=tmp_path, config=CONFIG) as memory:
        assert memory.stats().atoms == 1 and isinstance(memory.compiler, DistillationCompiler)


def test_a_memory_opened_with_other_settings_says_so(tiny_parts, tmp_path):
    ParametricMemory.from_pretrained(path=tmp_path, compiler="distillation", config=CONFIG).close()
    with pytest.raises(AdapterMismatchError, match="its compiler is distillation:"):
        ParametricMemory.from_pretrained(path=tmp_path, config=MemoryConfig(store=StoreConfig(index="numpy")))


def test_an_unknown_compiler_and_a_useless_checkpoint_are_refused(tiny_parts, tmp_path):
    with pytest.raises(ConfigError, match="expected one of hypernetwork, distillation"):
        ParametricMemory.from_pretrained(path=tmp_path, compiler="magic", config=CONFIG)
    with pytest.raises(ConfigError, match="distillation has none"):
        ParametricMemory.from_pretrained(path=tmp_path, compiler="distillation", checkpoint="folder", config=CONFIG)


def test_a_new_memory_is_compiled_by_the_hypernetwork(tmp_path):
    assert compiler_kind(tmp_path / "new", None) == "hypernetwork"
