"""The second stage of routing: the compiler's gates read the most similar candidates, all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from parametric_memory.config import RoutingConfig
from parametric_memory.errors import CheckpointError
from parametric_memory.protocols import Compiler, RerankingCompiler, Router
from parametric_memory.routing import RerankingRouter, RerankingWeights, SimilarityRouter
from parametric_memory.routing.fusion import most_similar
from parametric_memory.types import AtomCode, AtomGates, Candidate, Query


def router_for(compiler: Compiler, config: RoutingConfig) -> Router:
    """Return the router that believes a compiler's gates as far as they are known to be right.

    Raises:
        CheckpointError: If the checkpoint's weights are not those of this version's router.
    """
    weights = reranking_of(compiler, config)
    if weights is None:
        return SimilarityRouter(config)
    try:
        return RerankingRouter(RerankingWeights(**weights), config)
    except TypeError as error:
        raise CheckpointError(
            f"making the router for {compiler.name}: {error}; fit its weights again with runs/fit_reranker.py, or set "
            "routing.reranked to 0"
        ) from error


def reranking_of(compiler: Compiler, config: RoutingConfig) -> dict[str, float] | None:
    """Return the weights of the compiler's gates; None if they are not to be asked."""
    if not config.reranked or not isinstance(compiler, RerankingCompiler) or compiler.reranking is None:
        return None
    return dict(compiler.reranking)


def read_by_gates(
    compiler: RerankingCompiler,
    query: Query,
    candidates: Sequence[Candidate],
    codes_of: Callable[[Sequence[str]], Sequence[AtomCode]],
    config: RoutingConfig,
) -> list[Candidate]:
    """Return the candidates, the `RoutingConfig.reranked` most similar ones with what the gates say of them.

    Args:
        compiler: Has the gates.
        query: The question.
        candidates: In any order; those that were read before are left as they are.
        codes_of: Gives the codes of atoms, by id.
        config: How many are read.
    """
    if not candidates or any(candidate.gates for candidate in candidates):
        return list(candidates)
    read = most_similar(query.text, candidates, config, count=config.reranked)
    found = compiler.gate(query.text, codes_of([candidate.atom.id for candidate in read]))
    gates = {
        candidate.atom.id: AtomGates(ranks, share, found.nothing)
        for candidate, ranks, share in zip(read, found.ranks, found.shares, strict=True)
    }
    return [replace(candidate, gates=gates.get(candidate.atom.id)) for candidate in candidates]
