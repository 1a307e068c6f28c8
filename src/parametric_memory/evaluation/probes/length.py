"""Length: the question's own document padded with other documents to so many tokens, and asked by itself.

A document that is longer than wanted is cut to whole sentences around the gold one. Padding comes before and after, at
a place that is drawn. The documents have no title here: it would be one for all that was put together. In-context gets
all of it in the prompt, as long as the base model's window holds it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from parametric_memory.evaluation.datasets import CorpusDocument, Question, corpus_documents
from parametric_memory.evaluation.probes.asking import Asked, ask
from parametric_memory.evaluation.probes.findings import Findings
from parametric_memory.evaluation.probes.world import World, until
from parametric_memory.evaluation.statistics import interval
from parametric_memory.evaluation.systems import GENERATION, SYSTEMS, Given, Library, gold_atom
from parametric_memory.ingest import sentences
from parametric_memory.protocols import Backend
from parametric_memory.types import Document, Span, stable_id

#: Characters of padding that are at hand, per token of the longest document; more than a token ever has.
CHARS_PER_TOKEN = 8
#: Tokens of a prompt around its passage, at most.
AROUND = 128


def length(world: World) -> Findings:
    """Ask atoms, RAG and in-context at every length."""
    questions = world.questions("squad1.1.dev", "squad2.0.dev")
    padding = until(world.filler(questions), chars=max(world.lengths) * CHARS_PER_TOKEN)
    rows, answers = [], []
    for number, tokens in enumerate(world.lengths):
        world.progress("length", number, len(world.lengths))
        padded = [_padded(world, question, padding, tokens) for question in questions]
        with world.library(corpus_documents(padded), setting="own", deferred=True) as library:
            for arm in ("atoms", "rag_dense", "in_context"):
                asked = _ask(arm, library, padded, tokens)
                rows.append(_row(arm, tokens, padded, asked, library.memory.backend, world.seed))
                answers += [one.record(tokens=tokens) for one in asked]
    world.progress("length", len(world.lengths), len(world.lengths))
    order = {arm: place for place, arm in enumerate(("atoms", "rag_dense", "in_context"))}
    return Findings(
        f"{len(questions)} questions of {questions[0].dataset}, each asked of its own document, cut or padded to a "
        "number of tokens. `in_context` has the whole document in the prompt; where there is no figure, it does not "
        "fit.",
        sorted(rows, key=lambda row: (order[row["arm"]], row["tokens"])),
        answers,
    )


def _ask(arm: str, library: Library, questions: Sequence[Question], tokens: int) -> list[Asked]:
    if arm != "in_context":
        return ask(arm, library, questions, SYSTEMS[arm])
    if tokens + AROUND + GENERATION.max_new_tokens > window(library.memory.backend):
        return []
    wording = library.reading.zero_shot

    def shown(_library: Library, some: Sequence[Question]) -> list[Given]:
        return [Given((question.document,), wording=wording) for question in some]

    return ask(arm, library, questions, shown)


def window(backend: Backend) -> float:
    """Return how many tokens the base model can read; without end, if it does not say."""
    config = getattr(getattr(backend, "model", None), "config", None)
    return float(getattr(config, "max_position_embeddings", None) or "inf")


def _padded(world: World, question: Question, padding: Sequence[CorpusDocument], tokens: int) -> Question:
    """Return the question about its document at this length, under a name of its own."""
    count = world.parts.backend.count_tokens
    own = _cut(world, question, tokens)
    drawn = random.Random(stable_id(str(world.seed), question.id))
    wanted = tokens - count(own)
    pieces: list[str] = []
    for document in drawn.sample(padding, len(padding)):
        piece = _beginning(document.document, wanted - count("\n\n"), world)
        if not piece:
            break
        pieces.append(piece)
        wanted -= count(f"\n\n{piece}")
    pieces.insert(drawn.randint(0, len(pieces)), own)
    return replace(question, doc_id=f"{question.doc_id}@{tokens}", title="", document="\n\n".join(pieces), supports=())


def _cut(world: World, question: Question, tokens: int) -> str:
    """Return the whole document, or the sentences around the gold one that fit; that one at least."""
    count, text = world.parts.backend.count_tokens, question.document
    if count(text) <= tokens:
        return text
    gold = gold_atom(question, world.parts.extract(Document.of(text)))
    spans = sentences(text)
    at = next((n for n, span in enumerate(spans) if gold and span.end > gold.span.start), 0)
    begin, end = at, at
    while True:
        wider = [(max(0, begin - 1), end), (begin, min(len(spans) - 1, end + 1))]
        fitting = [pair for pair in wider if pair != (begin, end) and count(_text(text, spans, pair)) <= tokens]
        if not fitting:
            return _text(text, spans, (begin, end))
        begin, end = fitting[0]


def _text(text: str, spans: Sequence[Span], pair: tuple[int, int]) -> str:
    return text[spans[pair[0]].start : spans[pair[1]].end]


def _beginning(text: str, tokens: int, world: World) -> str:
    """Return as many whole sentences from the beginning as fit into so many tokens."""
    count = world.parts.backend.count_tokens
    if tokens <= 0 or count(text) <= tokens:
        return text if tokens > 0 else ""
    fitting = ""
    for span in sentences(text):
        if count(text[: span.end]) > tokens:
            break
        fitting = text[: span.end]
    return fitting


def _row(
    arm: str, tokens: int, questions: Sequence[Question], asked: Sequence[Asked], backend: Backend, seed: int
) -> dict[str, Any]:
    scores = [one.scores.f1 for one in asked]
    return {
        "arm": arm,
        "tokens": tokens,
        "tokens there": fmean(backend.count_tokens(question.document) for question in questions),
        "n": len(asked),
        "F1": fmean(scores) if scores else None,
        "95 %": interval(scores, [one.question.doc_id for one in asked], seed=seed) if scores else None,
        "containment": fmean(one.scores.containment for one in asked) if scores else None,
        "abstained": fmean(one.prediction.abstained for one in asked) if scores else None,
    }
