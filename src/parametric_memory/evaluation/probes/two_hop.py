"""Two hops: questions that need several sentences. Are all of them in the route, and what comes of it?

What an answer needs, as far as the set tells: the supporting sentences; or the paragraphs whose titles the document is
called by (title by title, with ``;`` between), as in sets made from HotpotQA without the sentences' numbers; or else
only the sentence that holds the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal, TypeAlias

from parametric_memory.evaluation.datasets import Question, corpus_documents
from parametric_memory.evaluation.probes.asking import Asked, ask, places, with_atoms
from parametric_memory.evaluation.probes.findings import Findings
from parametric_memory.evaluation.probes.world import World
from parametric_memory.evaluation.statistics import interval
from parametric_memory.evaluation.systems import SYSTEMS, Given, Library, gold_atom, scope
from parametric_memory.types import Atom, Span

Level: TypeAlias = Literal["sentence", "paragraph", "answer"]
SETS = ("2wikimultihopqa.dev", "hotpotqa.dev")


@dataclass(frozen=True, slots=True)
class Needed:
    """The places of a document that an answer needs, all of them, and what they are places of."""

    spans: tuple[Span, ...]
    level: Level


def two_hop(world: World) -> Findings:
    """Ask the routed systems, and those that are given all that is needed, of every set of such questions."""
    rows, answers = [], []
    for name in world.sets(*SETS):
        questions = world.questions(name)
        if questions[0].dataset != name:
            continue
        # The title tells the needed paragraphs, so the memory must not have it. A question's id does not depend on it.
        untitled = [replace(question, title="") for question in questions]
        with world.library(corpus_documents(untitled), setting="own") as library:
            needed = {question.id: needs(question, library) for question in questions}
            for number, (arm, prepare) in enumerate(_arms(needed).items()):
                world.progress(f"two_hop: {name}", number, 5)
                asked = ask(arm, library, untitled, prepare)
                rows.append(_row(name, arm, asked, library, needed, world.seed))
                answers += [one.record(set=name) for one in asked]
    return Findings(
        "Questions that need several sentences, each asked of its own document with all its distractors. Covered: the "
        "needed places that an atom of the route, or a passage in the prompt, meets; `level` says what they are places "
        "of. `all needed` gives the base model an atom of each place.",
        rows,
        answers,
    )


def needs(question: Question, library: Library) -> Needed:
    """Return what a question needs."""
    if question.supports and (spans := _places(question.document, question.supports)):
        return Needed(spans, "sentence")
    titles = tuple(f"{title.strip()}\n" for title in question.title.split(";") if title.strip())
    paragraphs = _paragraphs(question.document)
    spans = tuple(span for span in paragraphs if span.of(question.document).startswith(titles)) if titles else ()
    if len(titles) > 1 and len(spans) >= len(titles):
        return Needed(spans, "paragraph")
    gold = library.gold(question)
    return Needed((gold.span,) if gold else (), "answer")


def _places(text: str, parts: Sequence[str]) -> tuple[Span, ...]:
    found = [(text.find(part), part) for part in parts]
    return tuple(Span(start, start + len(part)) for start, part in found if start >= 0)


def _paragraphs(text: str) -> list[Span]:
    spans, start = [], 0
    for paragraph in text.split("\n\n"):
        spans.append(Span(start, start + len(paragraph)))
        start += len(paragraph) + 2
    return spans


def _arms(needed: dict[str, Needed]) -> dict[str, Any]:
    def chosen(library: Library, question: Question) -> list[Atom]:
        atoms = library.memory.store.atoms(scope(question))
        found = [gold_atom(question, _within(atoms, span)) for span in needed[question.id].spans]
        return list({atom.id: atom for atom in found if atom}.values())

    def shown(library: Library, questions: Sequence[Question]) -> list[Given]:
        found = [chosen(library, question) for question in questions]
        wording = library.reading.zero_shot
        return [
            Given(tuple(a.statement for a in atoms), atoms=tuple(a.id for a in atoms), wording=wording)
            for atoms in found
        ]

    return {
        "closed_book": SYSTEMS["closed_book"],
        "atoms": SYSTEMS["atoms"],
        "rag_dense": SYSTEMS["rag_dense"],
        "atoms, all needed": with_atoms(chosen),
        "in_context, all needed": shown,
    }


def _within(atoms: Sequence[Atom], span: Span) -> list[Atom]:
    """Return the atoms that share characters with a span."""
    return [atom for atom in atoms if _meet(atom.span, span)]


def _meet(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _row(
    name: str, arm: str, asked: Sequence[Asked], library: Library, needed: dict[str, Needed], seed: int
) -> dict[str, Any]:
    scores = [one.scores.f1 for one in asked]
    covered = [_covered(one, library, needed[one.question.id]) for one in asked]
    counted = [share for share in covered if share is not None]
    levels = sorted({needed[one.question.id].level for one in asked})
    return {
        "set": name,
        "arm": arm,
        "n": len(asked),
        "level": ", ".join(levels),
        "all covered": fmean(share == 1.0 for share in counted) if counted else None,
        "any covered": fmean(share > 0.0 for share in counted) if counted else None,
        "F1": fmean(scores),
        "95 %": interval(scores, [one.question.doc_id for one in asked], seed=seed),
        "containment": fmean(one.scores.containment for one in asked),
        "abstained": fmean(one.prediction.abstained for one in asked),
    }


def _covered(asked: Asked, library: Library, needed: Needed) -> float | None:
    """Return which share of the needed places an answer stands on; None if nothing is needed, or closed-book."""
    if not needed.spans or asked.arm == "closed_book":
        return None
    used = [place.span for place in places(library, asked)]
    return fmean(float(any(_meet(one, span) for one in used)) for span in needed.spans)
