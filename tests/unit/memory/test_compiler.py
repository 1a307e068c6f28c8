"""Choosing a compiler; the base model and the key encoder are tiny, everything else is real."""

from dataclasses import replace

import pytest
import torch

from parametric_memory.adapters import dense, spec_for
from parametric_memory.adapters.spec import fingerprint
from parametric_memory.backends import BUILTIN_KEY_ENCODER, HuggingFaceBackend
from parametric_memory.compilers import DistillationCompiler, DocumentCompiler, HypernetworkCompiler
from parametric_memory.config import (
    DistillationConfig,
    GenerationConfig,
    MemoryConfig,
    PromptConfig,
    RoutingConfig,
    StoreConfig,
)
from parametric_memory.errors import AdapterMismatchError, CheckpointError, ConfigError
from parametric_memory.hypernetwork.checkpoint import Checkpoint, save_checkpoint
from parametric_memory.hypernetwork.document import DocumentHypernetwork, document_config_for
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.memory import ParametricMemory
from parametric_memory.memory import compiler as choosing
from parametric_memory.memory import memory as rooms
from parametric_memory.memory.compiler import compiler_kind, token_router_for
from parametric_memory.routing import span_router
from parametric_memory.routing.span_router import (
    Provenance,
    begin,
    load_token_router,
    save_token_router,
)
from parametric_memory.testing import HashingKeyEncoder, TinyBackend
from parametric_memory.testing.doubles import tiny_encoder

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


@pytest.fixture
def document_checkpoint(tiny_parts, tmp_path):
    """A checkpoint of a document compiler that was never trained, for the tiny base model."""
    backend = HuggingFaceBackend.from_pretrained()
    torch.manual_seed(0)
    network = DocumentHypernetwork(document_config_for(backend.model, layers=2, rank=2, width=20, blocks=1))
    network.scale_b.data.normal_()
    network.bias_b.data.normal_()
    spec = spec_for(backend.model, backend.base_model, last=2)
    save_checkpoint(Checkpoint(network, spec, PromptConfig(prefix="A:")), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_a_memory_of_documents_is_filled_asked_changed_and_opened_again(document_checkpoint, tmp_path):
    given = {"path": tmp_path / "memory", "checkpoint": document_checkpoint, "config": CONFIG}
    text = "The keeper of Hall 4B is Bastian Orme. Hall 4B was built in 1911."
    with ParametricMemory.from_pretrained(compiler="document", **given) as memory:
        assert isinstance(memory.compiler, DocumentCompiler) and memory.prompt.prefix == "A:"
        [added] = memory.add(text)["results"]
        assert added["memory"] == text, "a chunk is an atom"
        answer = memory.ask("Who is the keeper of Hall 4B?")
        assert [citation.text for citation in answer.citations] == [text]
        memory.add("The ferry to Skerry leaves on Tuesday.")
        memory.update(added["id"], "The keeper of Hall 4B is Ada Moss.")
    assert compiler_kind(tmp_path / "memory", None) == "document"
    with ParametricMemory.from_pretrained(**given) as memory:
        assert memory.stats().atoms == 2 and isinstance(memory.compiler, DocumentCompiler)
        folder = memory.export(tmp_path / "exported", question="Who is the keeper of Hall 4B?")
    assert (folder / "adapter_model.safetensors").exists()


def test_two_documents_are_composed_with_one_bias(document_checkpoint, tmp_path):
    config = replace(
        CONFIG, routing=RoutingConfig(abstain_below=0.0, margin=100.0), document_checkpoint=str(document_checkpoint)
    )
    with ParametricMemory.from_pretrained(path=tmp_path / "memory", compiler="document", config=config) as memory:
        memory.add(["The keeper of Hall 4B is Bastian Orme.", "The keeper of Hall 48 is Joanna Veck."])
        route = memory.explain("Who is the keeper of Hall 48?")
        assert [routed.rank_gates for routed in route.selected] == [(1.0, 1.0, 0.5, 0.5)] * 2
        composed = memory.compose(route)
        bias = memory.compiler.checkpoint.network.bias()
        chunks = [memory.compiler.materialise(memory.store.codes([routed.atom.id]))[0] for routed in route.selected]
    for target, base in zip(composed.spec.targets, bias, strict=True):
        alone = [dense(adapter.factors[target]) - dense(base) for adapter in chunks]
        torch.testing.assert_close(dense(composed.factors[target]), sum(alone) + dense(base), rtol=1e-3, atol=1e-4)


def test_a_document_compiler_without_a_checkpoint_says_how_to_get_one(tiny_parts, tmp_path):
    with pytest.raises(CheckpointError, match="pmem train hypernetwork --compiler document"):
        ParametricMemory.from_pretrained(path=tmp_path, compiler="document", config=CONFIG)


def test_an_unknown_compiler_and_a_useless_checkpoint_are_refused(tiny_parts, tmp_path):
    with pytest.raises(ConfigError, match="expected one of hypernetwork, distillation, document"):
        ParametricMemory.from_pretrained(path=tmp_path, compiler="magic", config=CONFIG)
    with pytest.raises(ConfigError, match="distillation has none"):
        ParametricMemory.from_pretrained(path=tmp_path, compiler="distillation", checkpoint="folder", config=CONFIG)


def test_a_new_memory_is_compiled_by_the_hypernetwork(tmp_path):
    assert compiler_kind(tmp_path / "new", None) == "hypernetwork"


@pytest.fixture
def token_router(tmp_path, monkeypatch):
    """A token router that comes with the package for an encoder of this name, and the encoder's folder."""
    encoder = tiny_encoder(tmp_path / "encoder")
    network, _ = begin(encoder, frozen=1)
    save_token_router(network, tmp_path / "routers" / "tiny", Provenance("tiny keys", fingerprint(network.encoder)))
    monkeypatch.setattr(span_router, "SHIPPED", tmp_path / "routers")
    return tmp_path / "routers" / "tiny", str(encoder)


def test_a_memory_of_atoms_has_the_token_router_of_its_key_encoder_or_the_one_it_is_told(token_router, parts):
    folder, encoder = token_router

    def found(compiler=parts["compiler"], name="tiny keys", **settings):
        return token_router_for(compiler, name, encoder, config=MemoryConfig(**settings), device="cpu")

    assert found().name == load_token_router(folder, encoder).name
    assert found(token_router="none") is None
    assert found(name="other keys", token_router=str(folder)).name == found().name
    assert found(compiler=object()) is None
    with pytest.raises(CheckpointError, match="pmem train router"):
        found(token_router=str(folder.parent / "nowhere"))


def test_the_built_in_token_router_serves_every_key_encoder(token_router, parts, tmp_path, monkeypatch):
    folder, encoder = token_router
    folder.rename(folder.parent / BUILTIN_KEY_ENCODER)
    config = folder.parent / BUILTIN_KEY_ENCODER / "config.json"
    config.write_text(config.read_text().replace("tiny keys", BUILTIN_KEY_ENCODER))
    monkeypatch.setattr(choosing, "resolve_key_encoder", lambda name, **_: {BUILTIN_KEY_ENCODER: encoder}[name])
    found = token_router_for(parts["compiler"], "other keys", "elsewhere", config=MemoryConfig(), device="cpu")
    assert found.read("Who?", []).nothing == 1.0


def test_a_compiler_without_gates_takes_a_token_router(parts):
    backend = parts["backend"]
    network = AtomHypernetwork(config_for(backend.model, layers=2, width=16, gate_layers=0))
    checkpoint = Checkpoint(network, parts["compiler"].spec, PromptConfig(), digest="gateless")
    compiler = HypernetworkCompiler(backend.model, backend.tokenizer, checkpoint, fingerprint=backend.fingerprint)
    with pytest.raises(CheckpointError, match="no gates of its own"):
        token_router_for(compiler, "tiny keys", "", config=MemoryConfig(token_router="none"), device="cpu")
