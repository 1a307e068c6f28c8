"""Disagreement: two documents state the same fact differently, and the newer one was added later. Who is believed?

A route takes the newer of two versions of a fact where words show that they are versions (see
`parametric_memory.routing.versions`); this measures what comes of that, beside systems that do not know which is newer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from parametric_memory.evaluation.metrics import containment
from parametric_memory.evaluation.probes.asking import Asked, ask, places
from parametric_memory.evaluation.probes.disagreeing import Disagreement, disagreements
from parametric_memory.evaluation.probes.findings import Findings
from parametric_memory.evaluation.probes.world import World
from parametric_memory.evaluation.statistics import interval
from parametric_memory.evaluation.systems import SYSTEMS, Library

ARMS = ("closed_book", "atoms", "hybrid", "rag_bm25", "rag_dense")


def disagreement(world: World) -> Findings:
    """Add all older documents, then all newer ones, and ask of all of them."""
    made = disagreements(world.limit, seed=world.seed)
    questions = [one.question for one in made]
    by_id = {one.question.id: one for one in made}
    rows, answers = [], []
    with world.library([*(one.older for one in made), *(one.newer for one in made)]) as library:
        for number, arm in enumerate(ARMS):
            world.progress("disagreement", number, len(ARMS))
            asked = ask(arm, library, questions, SYSTEMS[arm])
            judged = [_judged(one, by_id[one.question.id], library) for one in asked]
            rows.append(_row(arm, judged, world.seed))
            answers += [one.record(**verdict) for one, verdict in zip(asked, judged, strict=True)]
    world.progress("disagreement", len(ARMS), len(ARMS))
    return Findings(
        f"{len(made)} invented facts, each stated in two documents with different values; all older documents were "
        "added before all newer ones, and a question is asked of all. Says: the value that stands in the answer.",
        rows,
        answers,
    )


def _judged(asked: Asked, made: Disagreement, library: Library) -> dict[str, Any]:
    """Return which value the answer says, and which documents it stands on."""
    says = {"newer": made.new, "older": made.old}
    said = [age for age, value in says.items() if containment(asked.text, value)]
    cited = [place.doc_id for place in places(library, asked)]
    return {
        "says": "both" if len(said) == 2 else said[0] if said else "neither",
        "first": cited[0] if cited else None,
        "first is newer": cited[:1] == [made.newer.doc_id],
        "holds both": {made.older.doc_id, made.newer.doc_id} <= set(cited),
    }


def _row(arm: str, judged: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    newer = [float(one["says"] == "newer") for one in judged]
    cited = [one for one in judged if one["first"] is not None]
    return {
        "arm": arm,
        "n": len(judged),
        "says newer": fmean(newer),
        "95 %": interval(newer, range(len(newer)), seed=seed),
        **{f"says {what}": fmean(one["says"] == what for one in judged) for what in ("older", "both", "neither")},
        "first cites newer": fmean(one["first is newer"] for one in cited) if cited else None,
        "route holds both": fmean(one["holds both"] for one in cited) if cited else None,
    }
