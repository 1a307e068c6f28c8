"""The second stage of routing: a token router, or the compiler's gates, read the most similar candidates at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from parametric_memory.config import RoutingConfig
from parametric_memory.errors import CheckpointError
from parametric_memory.protocols import RerankingCompiler, Router, TokenRouter
from parametric_memory.routing import RerankingRouter, RerankingWeights, SimilarityRouter
from parametric_memory.routing.fusion import most_similar
from parametric_memory.types import Atom, AtomGates, Candidate, Query, Route, TokenGates, TokenShare


def found_in(route: Route) -> TokenGates | None:
    """Return what a token router found in a route's atoms when it read them among the candidates; None if it did not.

    An atom's odds against nothing are the same whatever is read beside it, so the others' shares are taken out.
    """
    selected = route.selected
    if not all(routed.tokens and routed.share is not None for routed in selected):
        return None
    read = [routed.share for routed in (*selected, *route.rejected) if routed.share is not None]
    nothing = max(0.0, 1.0 - math.fsum(read))
    total = nothing + math.fsum(routed.share or 0.0 for routed in selected) or 1.0
    tokens = tuple(
        tuple(TokenShare(t.span, t.share / total, t.start / total, t.end / total) for t in routed.tokens)
        for routed in selected
    )
    return TokenGates((), tuple((routed.share or 0.0) / total for routed in selected), nothing / total, tokens)


def router_for(reader: object, config: RoutingConfig) -> Router:
    """Return the router that believes what reads its candidates as far as that is known to be right.

    Args:
        reader: A compiler with gates, or a token router.
        config: Of the router.

    Raises:
        CheckpointError: If the weights beside the reader are not those of this version's router.
    """
    weights = reranking_of(reader, config)
    if weights is None:
        return SimilarityRouter(config)
    try:
        return RerankingRouter(RerankingWeights(**weights), config)
    except TypeError as error:
        raise CheckpointError(
            f"making the router for {getattr(reader, 'name', reader)}: {error}; fit its weights again with "
            "runs/fit_reranker.py, or set routing.reranked to 0"
        ) from error


def reranking_of(reader: object, config: RoutingConfig) -> dict[str, float] | None:
    """Return how far what a reader finds in candidates is to be believed; None if it is not to be asked."""
    if not config.reranked or not isinstance(reader, RerankingCompiler | TokenRouter) or reader.reranking is None:
        return None
    return dict(reader.reranking)


def read_candidates(
    read: Callable[[Sequence[Atom]], TokenGates], query: Query, candidates: Sequence[Candidate], config: RoutingConfig
) -> list[Candidate]:
    """Return the candidates, the `RoutingConfig.reranked` most similar ones with what a reader says of them.

    Args:
        read: Finds where atoms answer the query.
        query: The question.
        candidates: In any order; those that were read before are left as they are.
        config: How many are read.
    """
    if not candidates or any(candidate.gates for candidate in candidates):
        return list(candidates)
    some = most_similar(query.text, candidates, config, count=config.reranked)
    found = read([candidate.atom for candidate in some])
    ranks, tokens = found.ranks or ((),) * len(some), found.tokens or ((),) * len(some)
    gates = {
        candidate.atom.id: AtomGates(own, share, found.nothing, places)
        for candidate, own, share, places in zip(some, ranks, found.shares, tokens, strict=True)
    }
    return [replace(candidate, gates=gates.get(candidate.atom.id)) for candidate in candidates]
