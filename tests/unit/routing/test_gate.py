from dataclasses import dataclass

import numpy as np
import pytest

from parametric_memory.routing.gate import with_threshold
from parametric_memory.types import Atom, AtomKind, Query, Route, RoutedAtom, Span

QUERY = Query("Who?", np.ones(1, dtype=np.float32))
BEST, OTHER = (
    RoutedAtom(Atom(name, AtomKind.FACT, name, name, "d", Span(0, 1)), score, reason="said so")
    for name, score in (("best", 2.0), ("other", 1.0))
)


@dataclass
class Plain:
    """A router that knows nothing of thresholds from outside; confidences of any size are fine."""

    confidence: float
    own: float = 0.0

    def route(self, query, candidates):
        if self.confidence < self.own:
            return Route(query.text, (), (BEST, OTHER), True, self.confidence, self.own)
        return Route(query.text, (BEST,), (OTHER,), False, self.confidence, self.own)


@pytest.mark.parametrize("confidence", [0.3, 17.0, -4.0])
def test_any_router_with_a_number_for_a_confidence_can_be_gated(confidence):
    taken = with_threshold(Plain(confidence, own=-9.0), confidence).route(QUERY, [])
    left = with_threshold(Plain(confidence, own=-9.0), confidence + 1).route(QUERY, [])
    assert (taken.selected, taken.threshold) == ((BEST,), confidence)
    assert left.abstained and left.selected == () and left.threshold == confidence + 1
    assert [(routed.atom.id, routed.reason) for routed in left.rejected] == [
        ("best", "below the gate"),
        ("other", "said so"),
    ]


def test_a_gate_from_outside_cannot_open_a_router_that_closed_itself():
    route = with_threshold(Plain(0.3, own=0.5), 0.1).route(QUERY, [])
    assert route.abstained and route.threshold == 0.5
