"""From scores to a route: which candidates are taken, which are left, and why.

Shared by the routers; the score of a candidate is the log-odds that it answers, whatever evidence that rests on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

from parametric_memory.config import RoutingConfig
from parametric_memory.routing.versions import newest
from parametric_memory.types import Candidate, Query, Route, RoutedAtom


def select(query: Query, candidates: Sequence[Candidate], scores: Sequence[float], config: RoutingConfig) -> Route:
    """Return the best candidate and those close behind it, or an empty route if the best is not likely to answer.

    Of equal scores the smaller atom id comes first. Every candidate is in ``selected`` or in ``rejected``, best first,
    with the reason. A candidate that a newer version of it silences is rejected, and its version has the better score
    of the two: whoever finds the old fact finds the new one.

    Args:
        query: The question.
        candidates: In any order.
        scores: Of each the log-odds that it answers.
        config: Says how many are taken, and how sure the best must be.
    """
    ranked = sorted(zip(candidates, scores, strict=True), key=lambda pair: (-pair[1], pair[0].atom.id))
    ranked, silenced = _heard(query.text, ranked) if config.newest_wins else (ranked, {})
    best = ranked[0][1] if ranked else -math.inf
    confidence = probability(best) if ranked else 0.0
    abstained = not ranked or confidence < config.abstain_below
    selected: list[RoutedAtom] = []
    rejected: list[RoutedAtom] = []
    places = count(1)
    for candidate, value in ranked:
        if candidate.atom.id in silenced:
            taken, reason = False, silenced[candidate.atom.id]
        else:
            taken, reason = _judge(next(places), best - value, abstained, config)
        (selected if taken else rejected).append(_routed(candidate, value, best, reason, config))
    return Route(query.text, tuple(selected), tuple(rejected), abstained, confidence, config.abstain_below)


def probability(log_odds: float) -> float:
    """Return log-odds as a probability."""
    return 1.0 / (1.0 + math.exp(-max(-700.0, log_odds)))


def _heard(
    question: str, ranked: Sequence[tuple[Candidate, float]]
) -> tuple[list[tuple[Candidate, float]], dict[str, str]]:
    """Return the ranking, every version's score raised to that of those it silences; and why they are, by atom id."""
    silenced = newest(question, [candidate for candidate, _ in ranked])
    scores = {candidate.atom.id: value for candidate, value in ranked}
    for one in silenced:
        scores[one.by] = max(scores[one.by], scores[one.atom])
    reasons = {one.atom: one.reason for one in silenced}
    raised = [(candidate, scores[candidate.atom.id]) for candidate, _ in ranked]
    # Of two with one score, the one that is heard comes first.
    return sorted(raised, key=lambda pair: (-pair[1], pair[0].atom.id in reasons, pair[0].atom.id)), reasons


def _judge(place: int, behind: float, abstained: bool, config: RoutingConfig) -> tuple[bool, str]:
    """Return whether the candidate in this place is taken, and why."""
    if abstained:
        return False, "below the gate"
    if place == 1:
        return True, "best"
    if behind > config.margin:
        return False, f"{behind:.1f} below the best"
    if place > config.max_atoms:
        return False, f"number {place} of at most {config.max_atoms}"
    return True, "within margin"


def _routed(candidate: Candidate, value: float, best: float, reason: str, config: RoutingConfig) -> RoutedAtom:
    weight = math.exp(min(0.0, value - best)) if config.weights == "odds" else 1.0
    gates = candidate.gates
    if gates is None:
        return RoutedAtom(candidate.atom, value, weight=weight, reason=reason)
    return RoutedAtom(
        candidate.atom,
        value,
        weight=weight,
        rank_gates=gates.ranks or None,
        share=gates.share,
        reason=reason,
        tokens=gates.tokens,
    )
