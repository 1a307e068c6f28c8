"""The reranking router: similarity, and what the compiler's gates say of each candidate, weighed against one another.

The gates read the tokens of all candidates at once, against the question's states: late interaction, as in ColBERT
(arXiv 2004.12832), with a softmax over candidates and "nothing". How much they are to be believed depends on the
checkpoint, so its folder holds the weights (``reranking.json``, written by ``runs/fit_reranker.py``); candidates
whose gates were not asked are routed by similarity alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from parametric_memory.config import RoutingConfig
from parametric_memory.routing.fusion import BIAS, WEIGHTS, by_id, scores
from parametric_memory.routing.selection import select
from parametric_memory.types import AtomGates, Candidate, Query, Route, stable_id

#: Shares below this are the same to the router; the logarithm stays finite.
LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class RerankingWeights:
    """A linear model of the log-odds that a candidate answers.

    Attributes:
        similarity: Of the similarity router's log-odds.
        share: Of the logarithm of the candidate's share of the gates.
        answered: Of the log-odds that some candidate answers, as the gates see it.
        bias: Added to all.
    """

    similarity: float
    share: float
    answered: float
    bias: float

    def score(self, similarity: float, gates: AtomGates) -> float:
        """Return the log-odds of one candidate."""
        share, answered = gate_features(gates)
        return self.similarity * similarity + self.share * share + self.answered * answered + self.bias


class RerankingRouter:
    """Takes the best candidates by similarity and gates; see `parametric_memory.protocols.Router`."""

    def __init__(self, weights: RerankingWeights, config: RoutingConfig | None = None) -> None:
        self.weights, self.config = weights, config or RoutingConfig()

    @property
    def name(self) -> str:
        """Identity of its confidences: what was calibrated with other weights does not hold for these."""
        return f"reranking:{stable_id(repr((self.weights, WEIGHTS, BIAS)))[:12]}"

    def with_threshold(self, threshold: float) -> RerankingRouter:
        """Return this router with another gate: empty exactly where the confidence is below the threshold."""
        return RerankingRouter(self.weights, replace(self.config, abstain_below=threshold))

    def route(self, query: Query, candidates: Sequence[Candidate]) -> Route:
        """Return the best candidate and those close behind it, or an empty route if the best is not likely to answer.

        Whatever the order of the candidates (see `parametric_memory.routing.selection.select`).
        """
        candidates = by_id(candidates)
        values = scores(query.text, candidates, self.config)
        pairs = list(zip(candidates, values, strict=True))
        read = [self.weights.score(value, one.gates) for one, value in pairs if one.gates is not None]
        if read:
            # What was not read is no better than the least of what was: it was left out for being less similar.
            least = min(read)
            values = [
                min(least, value) if one.gates is None else self.weights.score(value, one.gates) for one, value in pairs
            ]
        return select(query, candidates, values, self.config)


def gate_features(gates: AtomGates) -> tuple[float, float]:
    """Return the logarithm of the share, and the log-odds that something answers."""
    nothing = min(max(gates.nothing, LEAST), 1.0 - LEAST)
    return math.log(max(gates.share, LEAST)), math.log((1.0 - nothing) / nothing)
