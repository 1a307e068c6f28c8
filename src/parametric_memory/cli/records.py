"""Results as JSON: the fields that programs may rely on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from parametric_memory.types import Answer, Citation, Route, RoutedAtom

if TYPE_CHECKING:
    from parametric_memory.store import HistoryEvent, Stats


def answer_record(answer: Answer) -> dict[str, Any]:
    """Return an answer with everything that it stood on and cost; timings are milliseconds."""
    return {
        "question": answer.route.query,
        "answer": answer.text,
        "mode": answer.mode,
        "abstained": answer.abstained,
        "confidence": answer.route.confidence,
        "threshold": answer.route.threshold,
        "citations": [_citation_record(citation) for citation in answer.citations],
        "atoms": [_routed_record(routed) for routed in answer.route.selected],
        "usage": asdict(answer.usage),
        "timings": dict(answer.timings),
    }


def route_record(route: Route) -> dict[str, Any]:
    """Return a route with all that was considered."""
    return {
        "question": route.query,
        "hops": list(route.hops),
        "abstained": route.abstained,
        "confidence": route.confidence,
        "threshold": route.threshold,
        "selected": [_routed_record(routed) for routed in route.selected],
        "rejected": [_routed_record(routed) for routed in route.rejected],
        "timings": dict(route.timings),
    }


def event_record(event: HistoryEvent) -> dict[str, Any]:
    """Return a change of an atom in the shape of `ParametricMemory.history`."""
    return {
        "id": event.atom_id,
        "event": str(event.change),
        "old": event.old,
        "new": event.new,
        "time": event.time.isoformat(),
    }


def stats_record(stats: Stats) -> dict[str, Any]:
    """Return the size of a memory; sizes are bytes."""
    return asdict(stats) | {"kinds": dict(stats.kinds), "path": str(stats.path)}


def _routed_record(routed: RoutedAtom) -> dict[str, Any]:
    return {
        **routed.atom.record(),
        "score": routed.score,
        "dense": routed.dense,
        "lexical": routed.lexical,
        "weight": routed.weight,
        "share": routed.share,
        "reason": routed.reason,
        "tokens": [{"start": t.span.start, "end": t.span.end, "share": t.share} for t in routed.tokens],
    }


def _citation_record(citation: Citation) -> dict[str, Any]:
    return {
        "atom_id": citation.atom_id,
        "document_id": citation.document_id,
        "source": citation.source,
        "start": citation.span.start,
        "end": citation.span.end,
        "text": citation.text,
    }
