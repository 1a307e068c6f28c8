from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parametric_memory.config import RoutingConfig
from parametric_memory.protocols import Router
from parametric_memory.routing.fusion import SimilarityRouter, features
from parametric_memory.routing.selection import probability
from parametric_memory.types import Atom, AtomKind, Candidate, Query, Route, Span

QUESTION = "Who opened the harbour of Port Velden in 1912?"
WORDS = ["mara", "opened", "the", "harbour", "of", "port", "velden", "in", "1912", "king", "café", "7", "ΔW", "港"]


def candidate(number: int, statement: str, dense: float = 0.5, lexical: float = 0.0) -> Candidate:
    atom = Atom(f"atom-{number:02}", AtomKind.FACT, statement, statement, "document", Span(0, len(statement)))
    return Candidate(atom, dense, lexical)


def ask(candidates: list[Candidate], question: str = QUESTION, **settings_: float) -> Route:
    config = replace(RoutingConfig(), **settings_)
    return SimilarityRouter(config).route(Query(question, np.zeros(3, np.float32)), candidates)


@st.composite
def candidates_of(draw: st.DrawFn) -> list[Candidate]:
    said = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)
    found = st.tuples(said, st.floats(-1, 1), st.just(0.0) | st.floats(1e-6, 60))
    return [candidate(number, *row) for number, row in enumerate(draw(st.lists(found, max_size=12)))]


questions = st.lists(st.sampled_from([*WORDS, "Who", "when", "?"]), max_size=10).map(" ".join)
gates = st.sampled_from([0.0, 0.5])
properties = settings(max_examples=50, deadline=None)


def test_the_router_keeps_the_protocol():
    assert isinstance(SimilarityRouter(RoutingConfig()), Router)


@properties
@given(candidates_of(), questions, gates, st.randoms())
def test_the_order_of_the_candidates_changes_nothing(candidates, question, gate, random):
    shuffled = random.sample(candidates, len(candidates))
    assert ask(shuffled, question, abstain_below=gate) == ask(candidates, question, abstain_below=gate)


@properties
@given(candidates_of(), questions, gates, st.integers(1, 5))
def test_every_candidate_is_selected_or_rejected_once_best_first_and_with_a_reason(candidates, question, gate, longest):
    route = ask(candidates, question, abstain_below=gate, max_atoms=longest)
    listed = [*route.selected, *route.rejected]
    assert sorted(routed.atom.id for routed in listed) == [c.atom.id for c in candidates]
    assert [-routed.score for routed in listed] == sorted(-routed.score for routed in listed)
    assert all(routed.reason and np.isfinite(routed.score) and routed.weight == 1.0 for routed in listed)
    assert len(route.selected) <= longest


@properties
@given(candidates_of(), questions, st.floats(0, 1))
def test_it_abstains_exactly_when_the_confidence_is_below_the_gate(candidates, question, gate):
    route = ask(candidates, question, abstain_below=gate)
    assert 0.0 <= route.confidence <= 1.0
    assert route.threshold == gate
    assert route.abstained == (not candidates or route.confidence < gate) == (not route.selected)


@properties
@given(candidates_of(), questions, st.floats(0, 3), st.floats(0, 3))
def test_the_margin_says_how_far_below_the_best_is_still_taken(candidates, question, one, other):
    narrow, wide = (ask(candidates, question, margin=m, max_atoms=99, abstain_below=0.0) for m in sorted([one, other]))
    assert wide.selected[: len(narrow.selected)] == narrow.selected
    assert all(wide.selected[0].score - routed.score <= max(one, other) for routed in wide.selected)
    assert all(wide.selected[0].score - routed.score > max(one, other) for routed in wide.rejected)


@properties
@given(candidates_of(), questions)
def test_a_longer_route_begins_with_the_shorter_one(candidates, question):
    short, long = (ask(candidates, question, max_atoms=n, margin=9.0, abstain_below=0.0) for n in (2, 4))
    assert long.selected[:2] == short.selected


@properties
@given(candidates_of(), questions, st.data())
def test_a_nearer_key_never_lowers_the_score(candidates, question, data):
    if not candidates:
        return
    chosen = data.draw(st.integers(0, len(candidates) - 1))
    nearer = [replace(c, dense=1.0) if n == chosen else c for n, c in enumerate(candidates)]
    before, after = (scores(ask(cs, question, abstain_below=0.0)) for cs in (candidates, nearer))
    name = candidates[chosen].atom.id
    assert after[name] >= before[name]


def test_no_candidates_no_route():
    assert ask([]) == Route(QUESTION, (), (), abstained=True, confidence=0.0, threshold=RoutingConfig().abstain_below)


def test_the_statement_that_answers_is_best_and_the_gate_opens():
    answer = candidate(3, "The harbour of Port Velden was opened by Queen Ida in 1912.", 0.8, 20.0)
    other = candidate(1, "The harbour has a canteen.", 0.4, 6.0)
    route = ask([other, answer])
    assert (route.selected[0].atom, route.selected[0].reason) == (answer.atom, "best")
    assert route.confidence == probability(route.selected[0].score) > 0.5
    assert route.rejected[0].reason.endswith(" below the best")


def test_a_question_about_something_else_is_refused():
    found = [candidate(1, "The harbour has a canteen.", 0.15, 2.0), candidate(2, "Tea is served at noon.", 0.1)]
    route = ask(found, "Which enzyme unwinds the strands of DNA?")
    assert route.abstained
    assert [routed.reason for routed in route.rejected] == ["below the gate"] * 2


def test_atoms_beyond_the_longest_route_say_so():
    same = [candidate(n, "Queen Ida opened the harbour of Port Velden in 1912.", 0.8, 20.0) for n in range(4)]
    route = ask(same, max_atoms=2)
    assert [routed.reason for routed in route.selected] == ["best", "within margin"]
    assert [routed.reason for routed in route.rejected] == ["number 3 of at most 2", "number 4 of at most 2"]


def test_equal_scores_are_ordered_by_atom_id():
    same = [candidate(n, "Queen Ida opened the harbour.", 0.8, 20.0) for n in (5, 2, 9)]
    assert [routed.atom.id for routed in ask(same, abstain_below=0.0).selected] == ["atom-02", "atom-05", "atom-09"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Queen Ida opened the harbour in 1912.", "Queen Ida opened the harbour in 1921."),
        ("Queen Ida opened the harbour in 1912.", "The harbour was opened in 1912."),
        ("Queen Ida opened the harbour of Port Velden.", "Queen Ida opened the harbour of Port Selby."),
    ],
    ids=["another number", "nobody's name", "another name"],
)
def test_words_decide_between_equally_near_statements(right, wrong):
    found = scores(ask([candidate(1, wrong), candidate(2, right)], abstain_below=0.0))
    assert found["atom-02"] > found["atom-01"]


def test_bm25_counts_by_its_share_and_not_by_its_size():
    statements = ["Queen Ida opened the harbour.", "Port Velden has a harbour.", "Tea is served at noon."]
    found = [candidate(n, said, 0.5, (9.0, 3.0, 0.0)[n]) for n, said in enumerate(statements)]
    larger = [replace(c, lexical=4 * c.lexical) for c in found]
    assert ask(larger, abstain_below=0.0) == ask(found, abstain_below=0.0)


def test_a_cosine_that_was_not_searched_for_counts_as_the_lowest_that_was():
    found = [candidate(1, "a", 0.7), candidate(2, "b", 0.3), candidate(3, "c", 0.0, 5.0)]
    lowest = [*found[:2], replace(found[2], dense=0.3)]
    assert features("question", found, dense_weight=0.7) == features("question", lowest, dense_weight=0.7)


@properties
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_can_be_asked_and_stated(question, statement):
    route = ask([candidate(1, statement, 0.2, 1.0)], question)
    assert len(route.selected) + len(route.rejected) == 1


def scores(route: Route) -> dict[str, float]:
    return {routed.atom.id: routed.score for routed in [*route.selected, *route.rejected]}
