"""What every `Router` must do, as tests to inherit.

For example::

    class TestMyRouter(RouterConformance):
        @pytest.fixture
        def router(self):
            return MyRouter()
"""

# ruff: noqa: D102 - a test's name is its sentence
from __future__ import annotations

import numpy as np
import pytest

from parametric_memory.protocols import Router, ThresholdRouter
from parametric_memory.types import Atom, AtomKind, Candidate, Query, Span

QUERY = Query("When does the library open?", np.eye(4, dtype=np.float32)[0])


def candidates() -> list[Candidate]:
    """Return an answer to `QUERY` and four statements that are none, as a similarity stage scores them."""
    found = [
        ("The library opens at nine.", 0.83, 6.1),
        ("The library has a red door.", 0.52, 2.4),
        ("Crab soup is sold on Friday.", 0.11, 0.0),
        ("The red room holds 12 people.", 0.08, 0.0),
        ("Ada repairs the looms.", 0.02, 0.0),
    ]
    return [
        Candidate(Atom(f"atom-{n}", AtomKind.FACT, text, text, "document", Span(0, len(text))), dense, lexical)
        for n, (text, dense, lexical) in enumerate(found)
    ]


class RouterConformance:
    """Inherit, and give a router with its ordinary settings."""

    @pytest.fixture
    def router(self) -> Router:
        """Return the router under test."""
        raise NotImplementedError("a conformance test gives its own `router` fixture")

    def test_it_is_a_router(self, router: Router) -> None:
        assert isinstance(router, Router)

    def test_the_candidate_that_answers_is_taken_first(self, router: Router) -> None:
        route = router.route(QUERY, candidates())
        assert not route.abstained and route.selected[0].atom.id == "atom-0"

    def test_every_candidate_is_taken_or_left_once_and_says_why(self, router: Router) -> None:
        route = router.route(QUERY, candidates())
        everything = [*route.selected, *route.rejected]
        assert sorted(routed.atom.id for routed in everything) == [f"atom-{n}" for n in range(5)]
        assert all(routed.reason for routed in everything)

    def test_the_order_of_the_candidates_does_not_matter(self, router: Router) -> None:
        assert router.route(QUERY, candidates()) == router.route(QUERY, candidates()[::-1])

    def test_nothing_to_choose_from_is_an_empty_route(self, router: Router) -> None:
        route = router.route(QUERY, [])
        assert route.abstained and route.selected == () and route.query == QUERY.text

    def test_what_has_nothing_to_do_with_the_question_is_not_taken(self, router: Router) -> None:
        route = router.route(QUERY, candidates()[2:])
        assert route.abstained and route.selected == () and route.confidence < route.threshold

    def test_its_gate_opens_and_closes_at_the_threshold_that_is_set(self, router: Router) -> None:
        if not isinstance(router, ThresholdRouter):
            pytest.skip("this router's gate cannot be set")
        confidence = router.route(QUERY, candidates()[2:]).confidence
        opened = router.with_threshold(confidence).route(QUERY, candidates()[2:])
        closed = router.with_threshold(float(np.nextafter(confidence, np.inf))).route(QUERY, candidates()[2:])
        assert (opened.abstained, closed.abstained) == (False, True)
        assert opened.confidence == closed.confidence == confidence and opened.selected
