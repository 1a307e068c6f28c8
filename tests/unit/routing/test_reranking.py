from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from parametric_memory.config import RoutingConfig
from parametric_memory.routing import RerankingRouter, RerankingWeights, SimilarityRouter
from parametric_memory.routing.fusion import most_similar
from parametric_memory.routing.selection import probability
from parametric_memory.types import Atom, AtomGates, AtomKind, Candidate, Query, Route, Span

QUESTION = "When does the library open?"
WEIGHTS = RerankingWeights(similarity=1.0, share=0.5, answered=0.25, bias=-0.5)
STATEMENTS = ("The library opens at nine.", "The library has a red door.", "Crab soup is sold on Friday.")


def found(*gates: AtomGates | None, updated: tuple[float, ...] = (0.0,) * 3) -> list[Candidate]:
    rows = zip(STATEMENTS, (0.8, 0.5, 0.1), (6.1, 2.4, 0.0), updated, gates or (None,) * 3, strict=True)
    return [
        Candidate(Atom(f"atom-{n}", AtomKind.FACT, text, text, f"doc-{n}", Span(0, len(text))), *row)
        for n, (text, *row) in enumerate(rows)
    ]


def gates(share: float, nothing: float = 0.2) -> AtomGates:
    return AtomGates((share, 1.0), share, nothing)


def route(candidates: list[Candidate], believed: RerankingWeights = WEIGHTS, /, **settings: object) -> Route:
    config = replace(RoutingConfig(abstain_below=0.0, margin=99.0), **settings)
    return RerankingRouter(believed, config).route(Query(QUESTION, np.zeros(3, np.float32)), candidates)


def scores(made: Route) -> dict[str, float]:
    return {routed.atom.id: routed.score for routed in (*made.selected, *made.rejected)}


def test_candidates_without_gates_are_routed_by_similarity():
    config = RoutingConfig(abstain_below=0.0)
    query = Query(QUESTION, np.zeros(3, np.float32))
    assert RerankingRouter(WEIGHTS, config).route(query, found()) == SimilarityRouter(config).route(query, found())


def test_a_score_is_the_weighted_sum_of_its_evidence():
    read = found(gates(0.3), gates(0.4), gates(0.1))
    by_similarity = scores(route(found()))
    expected = by_similarity["atom-1"] + 0.5 * math.log(0.4) + 0.25 * math.log(0.8 / 0.2) - 0.5
    assert scores(route(read))["atom-1"] == pytest.approx(expected)
    made = route(read)
    assert made.confidence == probability(max(scores(made).values()))


def test_gates_that_are_believed_decide_between_candidates():
    believed = replace(WEIGHTS, share=5.0)
    made = route(found(gates(0.01), gates(0.9), gates(0.01)), believed)
    assert [routed.atom.id for routed in made.selected] == ["atom-1", "atom-0", "atom-2"]
    assert (made.selected[0].share, made.selected[0].rank_gates) == (0.9, (0.9, 1.0))


def test_the_surer_the_gates_are_of_nothing_the_lower_the_confidence():
    sure, unsure = (route(found(*(gates(0.1, nothing) for _ in range(3)))) for nothing in (0.9, 0.1))
    assert sure.confidence < unsure.confidence


def test_a_share_of_exactly_nothing_or_everything_gives_a_finite_score():
    for nothing in (0.0, 1.0):
        made = route(found(*(gates(0.0, nothing) for _ in range(3))))
        assert all(map(math.isfinite, scores(made).values()))


def test_what_the_gates_did_not_read_is_no_better_than_what_they_did():
    made = scores(route(found(gates(1e-9), gates(1e-9), None)))
    assert made["atom-2"] <= min(made["atom-0"], made["atom-1"])


def test_the_order_of_the_candidates_changes_nothing():
    read = found(gates(0.3), gates(0.4), None)
    assert route(read) == route(read[::-1])


def test_weights_by_odds_fall_with_the_score_and_the_best_weighs_one():
    made = route(found(gates(0.3), gates(0.1), gates(0.1)), weights="odds")
    best = made.selected[0].score
    assert made.selected[0].weight == 1.0
    assert [r.weight for r in made.selected] == [pytest.approx(math.exp(r.score - best)) for r in made.selected]


def test_another_threshold_leaves_all_but_the_gate_as_it_is():
    query, read = Query(QUESTION, np.zeros(3, np.float32)), found(gates(0.3), gates(0.4), gates(0.1))
    router = RerankingRouter(WEIGHTS, RoutingConfig())
    strict = router.with_threshold(1.01).route(query, read)
    assert strict.abstained and strict.threshold == 1.01
    assert strict.confidence == router.route(query, read).confidence


def test_the_most_similar_come_first_and_no_more_than_asked_for():
    best = most_similar(QUESTION, found()[::-1], RoutingConfig(), count=2)
    assert [candidate.atom.id for candidate in best] == ["atom-0", "atom-1"]


def test_an_obsolete_atom_is_rejected_with_the_reason_and_its_successor_takes_its_score():
    question = Query("How many doors does the library have?", np.zeros(3, np.float32))
    rows = (("The library has 3 doors.", 0.9, 9.0, 1.0), ("The library has 5 doors.", 0.2, 4.0, 2.0))
    old, new = (
        Candidate(Atom(f"atom-{n}", AtomKind.FACT, text, text, f"doc-{n}", Span(0, 5)), *row)
        for n, (text, *row) in enumerate(rows)
    )
    config = RoutingConfig(abstain_below=0.0)
    made = SimilarityRouter(config).route(question, [old, new])
    assert [r.atom.id for r in made.selected] == ["atom-1"]
    assert [(r.atom.id, r.reason) for r in made.rejected] == [("atom-0", "the newer atom atom-1 says otherwise")]
    alone = SimilarityRouter(config).route(question, [replace(old, updated=0.0), new])
    assert made.confidence == alone.confidence
    both = SimilarityRouter(replace(config, newest_wins=False, margin=99.0)).route(question, [old, new])
    assert len(both.selected) == 2
