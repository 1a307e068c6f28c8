from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from parametric_memory.memory import ParametricMemory
from parametric_memory.routing import RerankingRouter, SimilarityRouter
from parametric_memory.routing.span_router import SpanRouter, begin
from parametric_memory.testing.doubles import tiny_encoder

ATOMS = ["Ada joined the Rotterdam office in 2021.", "Bob keeps the red key of Hall 48.", "Cid keeps the doors."]
QUESTION = "Who keeps the red key of Hall 48?"
WEIGHTS = {"similarity": 1.0, "share": 2.0, "answered": 0.1, "bias": 0.0}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return begin(tiny_encoder(tmp_path_factory.mktemp("encoder")), frozen=0)


@pytest.fixture
def open_with(parts, memory, tmp_path, network):
    opened = []

    def open_it(reranking=None, **settings):
        config = replace(memory.config, routing=replace(memory.config.routing, margin=99.0, **settings))
        router = SpanRouter(*network, reranking=reranking)
        opened.append(ParametricMemory(**parts, token_router=router, path=tmp_path / str(len(opened)), config=config))
        opened[-1].add(ATOMS)
        return opened[-1]

    yield open_it
    for made in opened:
        made.close()


def test_a_route_has_the_gates_and_the_words_that_its_token_router_found(open_with):
    memory = open_with()
    assert isinstance(memory.router, SimilarityRouter)
    route = memory.explain(QUESTION)
    atoms = [routed.atom for routed in route.selected]
    found = memory.token_router.read(QUESTION, atoms)
    assert [routed.share for routed in route.selected] == list(found.shares)
    assert [routed.tokens for routed in route.selected] == list(found.tokens)
    gates = memory.compiler.gate(QUESTION, memory.store.codes([atom.id for atom in atoms]), found)
    assert [routed.rank_gates for routed in route.selected] == list(gates.ranks)
    assert gates.ranks != memory.compiler.gate(QUESTION, memory.store.codes([atom.id for atom in atoms])).ranks


def test_the_base_model_is_not_asked_where_a_token_router_is(open_with, monkeypatch):
    memory = open_with(WEIGHTS)
    monkeypatch.setattr(type(memory.compiler), "_read_question", lambda *_: pytest.fail("read with the base model"))
    assert memory.explain(QUESTION).selected


def test_candidates_are_reranked_by_what_it_found_as_far_as_it_is_to_be_believed(open_with, monkeypatch):
    memory = open_with(WEIGHTS, reranked=2)
    assert isinstance(memory.router, RerankingRouter)
    query = memory.encode_query(QUESTION)
    read = [one for one in memory.rerank(query, memory.candidates(query)) if one.gates]
    assert len(read) == 2
    found = memory.token_router.read(QUESTION, [one.atom for one in read])
    assert sorted(one.gates.share for one in read) == pytest.approx(sorted(found.shares), abs=1e-5)
    monkeypatch.setattr(type(memory.token_router), "read", lambda *_: pytest.fail("read"))
    unbelieved = open_with()
    assert all(one.gates is None for one in unbelieved.rerank(query, unbelieved.candidates(query)))


@pytest.mark.parametrize(("reranked", "readings"), [(3, 1), (1, 2)])
def test_a_routes_atoms_are_gated_among_themselves_and_read_only_once(open_with, monkeypatch, reranked, readings):
    memory = open_with(WEIGHTS, max_atoms=2, reranked=reranked)
    read, asked = type(memory.token_router).read, []
    monkeypatch.setattr(
        type(memory.token_router), "read", lambda self, *given: (asked.append(given), read(self, *given))[1]
    )
    route = memory.explain(QUESTION)
    assert len(route.selected) == 2 and len(asked) == readings
    found = read(memory.token_router, QUESTION, [routed.atom for routed in route.selected])
    for routed, share, tokens in zip(route.selected, found.shares, found.tokens, strict=True):
        assert routed.share == pytest.approx(share, abs=1e-5)
        for one, other in zip(routed.tokens, tokens, strict=True):
            assert (one.share, one.start, one.end) == pytest.approx((other.share, other.start, other.end), abs=1e-5)
    gates = memory.compiler.gate(QUESTION, memory.store.codes([r.atom.id for r in route.selected]), found)
    for routed, ranks in zip(route.selected, gates.ranks, strict=True):
        assert routed.rank_gates == pytest.approx(ranks, abs=1e-4)


def test_atoms_of_several_hops_are_read_for_what_the_last_hop_asked(open_with, monkeypatch):
    memory = open_with(hops=2, max_atoms=2)
    memory.add(["Night Harbour was directed by Ida Bek.", "Ida Bek was born in Velden."])
    read, asked = type(memory.token_router).read, []
    monkeypatch.setattr(
        type(memory.token_router), "read", lambda self, *given: (asked.append(given), read(self, *given))[1]
    )
    question = "Where was the director of Night Harbour born?"
    route = memory.explain(question)
    assert route.query == question and route.hops == (f"{question} Ida Bek",)
    assert asked == [(route.hops[0], [routed.atom for routed in route.selected])]
