"""The similarity router: keys, BM25 and words of the candidates fused into one score, and a calibrated gate.

Candidates in, a route out, nothing else touched. The score of an atom is the log-odds that it answers the question, as
far as a linear model can tell: 0 is even odds, and the route's ``confidence`` is the best score as a probability. BM25
grows with the memory, so only its share of what the question's words could have reached counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from parametric_memory.config import RoutingConfig
from parametric_memory.routing.evidence import weigh
from parametric_memory.routing.selection import select
from parametric_memory.types import Candidate, Query, Route, stable_id


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of one candidate; the model is linear in these.

    Attributes:
        similarity: ``dense_weight`` · cosine + (1 − ``dense_weight``) · share of the attainable BM25.
        coverage: Share of the question's words that the statement has.
        topic: Share of them that the candidates of its document have together.
        lacks_number: 1.0 if a number of the question is not in the statement.
        lacks_answer: 1.0 if the question asks for a number or a name and the statement has no new one.
        news: ``log(1 + n)`` of the statement's words that the question has not.
    """

    similarity: float
    coverage: float
    topic: float
    lacks_number: float
    lacks_answer: float
    news: float


#: Printed by ``runs/calibrate_gate.py --data DIR``: training questions of 13 files, half of them answerable, put to
#: memories of 5 to 7,900 atoms. On held-out articles a confidence is within .08 of the share of answerable questions.
WEIGHTS = Features(similarity=3.91, coverage=1.15, topic=2.94, lacks_number=-0.25, lacks_answer=-0.58, news=0.18)
BIAS = -4.25


class SimilarityRouter:
    """Takes the best candidates if the best one is good enough; see `parametric_memory.protocols.Router`."""

    def __init__(self, config: RoutingConfig | None = None) -> None:
        self.config = config or RoutingConfig()

    @property
    def name(self) -> str:
        """Identity of its confidences: what was calibrated with other weights does not hold for these."""
        return f"similarity:{stable_id(repr((WEIGHTS, BIAS)))[:12]}"

    def with_threshold(self, threshold: float) -> SimilarityRouter:
        """Return this router with another gate: empty exactly where the confidence is below the threshold."""
        return SimilarityRouter(replace(self.config, abstain_below=threshold))

    def route(self, query: Query, candidates: Sequence[Candidate]) -> Route:
        """Return the best candidate and those close behind it, or an empty route if the best is not likely to answer.

        Whatever the order of the candidates (see `parametric_memory.routing.selection.select`).
        """
        candidates = by_id(candidates)
        return select(query, candidates, scores(query.text, candidates, self.config), self.config)


def most_similar(
    question: str, candidates: Sequence[Candidate], config: RoutingConfig, *, count: int
) -> list[Candidate]:
    """Return the candidates that are most likely to answer as far as similarity tells, best first, at most `count`."""
    candidates = by_id(candidates)
    values = scores(question, candidates, config)
    best = sorted(range(len(candidates)), key=lambda number: -values[number])
    return [candidates[number] for number in best[:count]]


def by_id(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates in the order that decides between equal scores, and equal BM25 in `features`."""
    return sorted(candidates, key=lambda candidate: candidate.atom.id)


def scores(question: str, candidates: Sequence[Candidate], config: RoutingConfig) -> list[float]:
    """Return of each candidate the log-odds that it answers."""
    return [score(found) for found in features(question, candidates, dense_weight=config.dense_weight)]


def features(question: str, candidates: Sequence[Candidate], *, dense_weight: float) -> list[Features]:
    """Return the features of every candidate, which depend on all of them."""
    atoms = [candidate.atom for candidate in candidates]
    evidence = weigh(question, [atom.statement for atom in atoms], [atom.document_id for atom in atoms])
    # A cosine of exactly 0 means that the keys' search did not return it: it is no nearer than what was returned.
    nearest = min((candidate.dense for candidate in candidates if candidate.dense != 0.0), default=0.0)
    # BM25 of a statement with all words of the question, extrapolated from the best that there is.
    best = max(range(len(candidates)), key=lambda number: candidates[number].lexical, default=0)
    found = []
    for candidate, words in zip(candidates, evidence, strict=True):
        attained = candidate.lexical / candidates[best].lexical if candidate.lexical > 0.0 else 0.0
        lexical = attained * evidence[best].coverage
        similarity = dense_weight * (candidate.dense or nearest) + (1.0 - dense_weight) * lexical
        lacks = float(words.lacks_number), float(words.lacks_answer)
        found.append(Features(similarity, words.coverage, words.topic, *lacks, words.news))
    return found


def score(found: Features, weights: Features = WEIGHTS, bias: float = BIAS) -> float:
    """Return the log-odds that a candidate with these features answers."""
    return bias + math.fsum(weight * value for weight, value in zip(astuple(weights), astuple(found), strict=True))
