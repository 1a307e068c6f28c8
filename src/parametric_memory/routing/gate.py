"""The gate of a router, set from outside: the same router with another threshold on its confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from parametric_memory.protocols import Router, ThresholdRouter
from parametric_memory.types import Candidate, Query, Route


def with_threshold(router: Router, threshold: float) -> Router:
    """Return a router that takes questions on whose confidence is no lower than the threshold.

    A `ThresholdRouter` is asked for it. Any other keeps its own gate and gets this one behind it: it can only become
    stricter.
    """
    if isinstance(router, ThresholdRouter):
        return router.with_threshold(threshold)
    return _Gated(router, threshold)


@dataclass(frozen=True, slots=True)
class _Gated:
    inner: Router
    threshold: float

    def route(self, query: Query, candidates: Sequence[Candidate]) -> Route:
        """Return the inner router's route, emptied if its confidence is below the threshold."""
        return closed_below(self.inner.route(query, candidates), self.threshold)


def closed_below(route: Route, threshold: float) -> Route:
    """Return a route that is empty if its confidence is below the threshold; one that is empty already stays so."""
    if route.abstained:
        # Its own gate decided, unless this one would have, too.
        return replace(route, threshold=max(threshold, route.threshold))
    if route.confidence >= threshold:
        return replace(route, threshold=threshold)
    left = tuple(replace(routed, reason="below the gate") for routed in route.selected)
    return replace(route, selected=(), rejected=(*left, *route.rejected), abstained=True, threshold=threshold)
