from __future__ import annotations

import json

import pytest
import torch

from parametric_memory.adapters.spec import fingerprint
from parametric_memory.errors import CheckpointError
from parametric_memory.hypernetwork.checkpoint import save_reranking
from parametric_memory.protocols import TokenRouter
from parametric_memory.routing import span_router
from parametric_memory.routing.span_router import (
    Provenance,
    begin,
    load_token_router,
    save_token_router,
    shipped_token_router,
)
from parametric_memory.testing.doubles import tiny_encoder
from parametric_memory.types import Atom, AtomKind, Span, stated


def atom(text, context=""):
    statement = f"{context}: {text}" if context else text
    return Atom(text, AtomKind.FACT, statement, text, "d", Span(0, len(text)), context=context)


@pytest.fixture
def encoder(tmp_path):
    return tiny_encoder(tmp_path / "encoder")


@pytest.fixture
def saved(encoder, tmp_path):
    """A folder of a token router whose trained weights differ from the encoder's, and the network."""
    network, _ = begin(encoder, frozen=1)
    provenance = Provenance("tiny", fingerprint(network.encoder), {"steps": 3})
    torch.manual_seed(3)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = (parameter + torch.randn_like(parameter) * 0.3).half().float()
    save_token_router(network, tmp_path / "router", provenance, card="# A card\n")
    return tmp_path / "router", network


def test_a_saved_router_reads_as_the_network_did_and_holds_only_what_was_trained(saved, encoder):
    folder, network = saved
    router = load_token_router(folder, encoder)
    assert isinstance(router, TokenRouter)
    for name, tensor in router._network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
    trained = span_router.safetensors.torch.load_file(folder / "model.safetensors")
    assert not any("embeddings" in name or "layer.0." in name for name in trained)
    assert any("layer.1." in name for name in trained)
    assert router.name == load_token_router(folder, encoder).name
    assert router.reranking is None


def test_probabilities_are_of_tokens_of_the_text_and_sum_to_one(saved, encoder):
    router = load_token_router(saved[0], encoder)
    atoms = [atom("The router is red.", "Devices"), atom("The office opens at nine.")]
    found = router.read("Which router is red?", atoms)
    assert found.ranks == ()
    assert sum(found.shares) + found.nothing == pytest.approx(1.0, abs=1e-5)
    for one, tokens, share in zip(atoms, found.tokens, found.shares, strict=True):
        assert "".join(token.span.of(one.text) for token in tokens) == one.text.replace(" ", "")
        assert sum(token.start for token in tokens) == pytest.approx(share, abs=1e-5)
        assert all(token.start - 1e-6 <= token.share <= share + 1e-6 for token in tokens)
    assert router.read("Which?", []).nothing == 1.0


def test_an_extract_is_the_most_probable_span_word_for_word(saved, encoder):
    router = load_token_router(saved[0], encoder)
    atoms = [atom("The router is red."), atom("The office opens at nine, or so it is said.", "Hours")]
    said = router.extract("When does the office open?", atoms)
    assert said and any(said in one.text for one in atoms)
    pairs = router._pairs("When does the office open?", atoms)
    probabilities, _ = router._network(pairs).probabilities()
    best = (probabilities == probabilities.max()).nonzero()[0].tolist()
    number, first, last = best
    spans = pairs[number].spans
    assert said == atoms[number].text[spans[first].start : spans[last].end]
    assert router.extract("When?", []) == ""


def test_the_order_of_atoms_changes_nothing(saved, encoder):
    router = load_token_router(saved[0], encoder)
    atoms = [atom("The router is red."), atom("The office opens at nine."), atom("A new router is blue.")]
    forth, back = (router.read("Which router?", some) for some in (atoms, atoms[::-1]))
    assert forth.shares == pytest.approx(back.shares[::-1], abs=1e-5)


def test_how_far_it_is_to_be_believed_stands_beside_its_weights(saved, encoder):
    folder = saved[0]
    digest = load_token_router(folder, encoder).name.partition(":")[2]
    weights = {"similarity": 1.0, "share": 0.5, "answered": 0.0, "bias": -1.0}
    save_reranking(folder, digest, weights, fitted={})
    assert load_token_router(folder, encoder).reranking == weights


def test_another_encoder_is_refused(saved, tmp_path):
    other = tiny_encoder(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="pmem train router"):
        load_token_router(saved[0], other)


@pytest.mark.parametrize("damage", ["weights", "config", "gone", "newer"])
def test_a_damaged_folder_says_so(saved, encoder, damage):
    folder = saved[0]
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "weights":
        weights.write_bytes(weights.read_bytes()[:-9])
    elif damage == "config":
        config.write_text("{")
    elif damage == "gone":
        weights.unlink()
    else:
        config.write_text(json.dumps({**json.loads(config.read_text()), "format": 99}))
    with pytest.raises(CheckpointError, match="router"):
        load_token_router(folder, encoder)


def test_what_comes_with_the_package_is_found_by_its_encoder(saved, monkeypatch):
    folder = saved[0]
    shipped = folder.parent / "shipped"
    shipped.mkdir()
    monkeypatch.setattr(span_router, "SHIPPED", shipped)
    assert shipped_token_router("tiny") is None
    folder.rename(shipped / "tiny")
    assert shipped_token_router("tiny") == shipped / "tiny"
    assert shipped_token_router("another") is None


def test_a_heading_that_asks_is_read_before_the_text_that_answers():
    context, text = "When does the cafeteria open?", "At nine."
    atom = Atom("a", AtomKind.FACT, stated(text, context), text, "d", Span(0, 8), context)
    assert atom.statement == "When does the cafeteria open? At nine."
    assert span_router._said(atom) == (text, context)
