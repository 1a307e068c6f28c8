from dataclasses import replace

import pytest
import torch

from parametric_memory.adapters import compose, dense, export_peft, import_peft, inject, spec_for
from parametric_memory.compilers import DocumentCompiler, HypernetworkCompiler
from parametric_memory.config import IngestConfig, PromptConfig
from parametric_memory.errors import AdapterMismatchError, CheckpointError, CompilationError, CorruptAdapterError
from parametric_memory.hypernetwork.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from parametric_memory.hypernetwork.document import DocumentHypernetwork, document_config_for
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.ingest import PassageExtractor, extract_document
from parametric_memory.testing import tiny_model
from parametric_memory.types import Document, LoraFactors

RANK = 4


def speaking(model, **options):
    """A random hypernetwork whose scales are not the zeros it begins with."""
    sizes = document_config_for(model, layers=2, rank=RANK, width=20, blocks=2)
    network = DocumentHypernetwork(replace(sizes, max_tokens=64)).eval().requires_grad_(False)
    network.scale_b.normal_(std=0.1)
    network.bias_b.normal_(std=0.1)
    return network


@pytest.fixture(scope="module")
def compiler():
    torch.manual_seed(0)
    model, tokenizer = tiny_model(layers=4)
    spec = spec_for(model, "tiny", last=2)
    checkpoint = Checkpoint(speaking(model), spec, PromptConfig(), digest="d1")
    return DocumentCompiler(model, tokenizer, checkpoint, fingerprint=spec.base_fingerprint)


def chunks(text, title="", **options):
    return extract_document(Document.of(text, title=title), PassageExtractor(), IngestConfig(**options))


def updates(adapter):
    return {target: dense(factors) for target, factors in adapter.factors.items()}


def assert_same(found, expected, **close):
    for target, update in expected.items():
        torch.testing.assert_close(found[target], update, **close)


SHORT = "Ada keeps the key.\n\nBob has the lamp.\n\nCleo sold the boat."


def test_a_chunk_is_an_atom_that_cites_its_passage():
    text = "Lorn opened in **1894**.\n\n" + "Skerry is small. " * 8
    document = Document.of(text, title="Guide")
    made = extract_document(document, PassageExtractor(), IngestConfig(passage_chars=90))
    assert len(made) == 3 and made[0].statement.startswith("Guide: Lorn opened")
    assert all(atom.text in " ".join(text.replace("*", "").split()) for atom in made)
    assert [atom.position for atom in made] == [0, 1, 2]
    assert "**1894**" in made[0].span.of(text) and "1894." in made[0].text


def test_a_composed_memory_is_the_sum_of_its_chunks_and_one_bias(compiler):
    atoms = chunks(SHORT, passage_chars=25)
    codes = compiler.compile(atoms)
    gates = compiler.gate("Who has the lamp?", codes).ranks
    found = updates(compose(compiler.materialise(codes), rank_gates=gates))
    bias = dict(zip(compiler.spec.targets, map(dense, compiler._network.bias()), strict=True))
    expected = {}
    for target in compiler.spec.targets:
        alone = [dense_of_chunk(compiler, atom)[target] for atom in atoms]
        expected[target] = sum(alone) + bias[target]
    assert len(atoms) == 3
    assert_same(found, expected, rtol=1e-3, atol=1e-4)


def dense_of_chunk(compiler, atom):
    """The update of a chunk read by itself, without the bias."""
    [adapter] = compiler.materialise(compiler.compile([atom]))
    own = {target: LoraFactors(f.A[:-RANK], f.B[:, :-RANK]) for target, f in adapter.factors.items()}
    return {target: dense(factors) for target, factors in own.items()}


def test_the_order_of_chunks_changes_no_update(compiler):
    atoms = chunks(SHORT, passage_chars=25)
    codes = compiler.compile(atoms)
    back = compiler.compile(atoms[::-1])
    one, other = (compose(compiler.materialise(c), rank_gates=compiler.gate("?", c).ranks) for c in (codes, back))
    assert_same(updates(one), updates(other), rtol=1e-3, atol=1e-4)


def test_a_chunk_longer_than_the_network_takes_is_read_in_several(compiler):
    [atom] = chunks("word " * 60, title="A long one")
    [adapter] = compiler.materialise(compiler.compile([atom]))
    tokens = len(atom.text) + 1  # one a byte, behind a space
    pieces = -(-tokens // 48)
    assert {f.rank for f in adapter.factors.values()} == {pieces * RANK + RANK}


def test_a_single_chunk_carries_the_bias_and_exports_as_it_is(compiler, tmp_path):
    [code] = compiler.compile(chunks("Ada keeps the key."))
    [adapter] = compiler.materialise([code])
    assert set(compiler.gate("Who?", [code]).ranks[0]) == {1.0}
    export_peft(adapter, tmp_path)
    back = import_peft(tmp_path, spec=compiler.spec)
    assert_same(updates(back), updates(adapter))


def test_what_is_injected_changes_the_base_and_leaves_it_as_it_was(compiler):
    adapter = compose(compiler.materialise(compiler.compile(chunks("Ada keeps the key."))))
    model, ids = compiler._model, torch.arange(3, 20)[None]
    before = model(ids).logits
    with inject(model, adapter):
        assert not torch.equal(model(ids).logits, before)
    assert torch.equal(model(ids).logits, before)


def test_a_compiler_that_reads_layer_by_layer_makes_the_same_adapters(compiler):
    lean = DocumentCompiler(
        compiler._model, compiler._tokenizer, compiler.checkpoint,
        fingerprint=compiler.spec.base_fingerprint, layerwise=True,
    )  # fmt: skip
    atoms = chunks(SHORT, passage_chars=25)
    # The codes are stored in half precision.
    for one, other in zip(
        lean.materialise(lean.compile(atoms)), compiler.materialise(compiler.compile(atoms)), strict=True
    ):
        assert_same(updates(one), updates(other), rtol=1e-2, atol=1e-3)


def test_a_checkpoint_comes_back_as_the_compiler_it_was(compiler, tmp_path):
    save_checkpoint(compiler.checkpoint, tmp_path)
    loaded = load_checkpoint(tmp_path)
    assert loaded.compiler == "document" and loaded.network.config == compiler.checkpoint.network.config
    for name, tensor in compiler.checkpoint.network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[name], tensor.half().float())


def test_a_checkpoint_of_the_other_compiler_is_refused(compiler):
    model, tokenizer, spec = compiler._model, compiler._tokenizer, compiler.spec
    atoms = Checkpoint(AtomHypernetwork(config_for(model, layers=2, width=16)), spec, PromptConfig())
    with pytest.raises(CheckpointError, match="of an atom compiler"):
        DocumentCompiler(model, tokenizer, atoms, fingerprint=spec.base_fingerprint)
    with pytest.raises(CheckpointError, match="of a document compiler"):
        HypernetworkCompiler(model, tokenizer, compiler.checkpoint, fingerprint=spec.base_fingerprint)
    with pytest.raises(AdapterMismatchError, match="trained on tiny"):
        DocumentCompiler(model, tokenizer, compiler.checkpoint, fingerprint="another")


def test_what_cannot_be_read_is_refused(compiler):
    [atom] = chunks("Ada keeps the key.")
    [code] = compiler.compile([atom])
    for error, wrong in (
        (AdapterMismatchError, replace(code, compiler="document:other")),
        (CorruptAdapterError, replace(code, payload=code.payload[:40])),
    ):
        for read in (compiler.materialise, lambda codes: compiler.gate("Who?", codes)):
            with pytest.raises(error):
                read([wrong])
    with pytest.raises(CompilationError, match="empty"):
        compiler.compile([replace(atom, text=" ")])
