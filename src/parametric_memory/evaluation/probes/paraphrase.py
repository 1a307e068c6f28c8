"""Paraphrase: the same question in other words must find the same sentence and get the same answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from parametric_memory.evaluation.datasets import Question, corpus_documents
from parametric_memory.evaluation.probes.asking import Asked, ask
from parametric_memory.evaluation.probes.findings import Findings
from parametric_memory.evaluation.probes.paraphrases import FAMILIES, Family
from parametric_memory.evaluation.probes.ratios import ratio
from parametric_memory.evaluation.probes.world import World
from parametric_memory.evaluation.systems import SYSTEMS, Library, holds_answer
from parametric_memory.types import stable_id


def paraphrase(world: World) -> Findings:
    """Ask every question as it is and as each family puts it, of the documents of all questions."""
    questions = world.questions("squad1.1.dev", "squad2.0.dev")
    with world.library(corpus_documents(questions)) as library:
        plain = {one.question.id: one for one in ask("as it is", library, questions, SYSTEMS["atoms"])}
        rows, answers = [], [one.record() for one in plain.values()]
        for number, (name, family) in enumerate(FAMILIES.items()):
            world.progress("paraphrase", number, len(FAMILIES))
            put = [(question, other) for question in questions if (other := _put(question, family, world.seed))]
            asked = ask(name, library, [other for _, other in put], SYSTEMS["atoms"])
            pairs = [(plain[question.id], one) for (question, _), one in zip(put, asked, strict=True)]
            rows.append(_row(name, library, pairs, world.seed))
            answers += [one.record() for one in asked]
        atoms = library.memory.stats().atoms
    world.progress("paraphrase", len(FAMILIES), len(FAMILIES))
    return Findings(
        f"{len(questions)} questions of {questions[0].dataset} in a memory of {atoms} atoms, as they are and in other "
        "words; n is how many a rule fits, and both columns of a pair are over those. Recall: the gold sentence is "
        "injected.",
        rows,
        answers,
    )


def _put(question: Question, family: Family, seed: int) -> Question | None:
    """Return the question in other words; None if the family has none for it."""
    words = family(question.question, random.Random(stable_id(str(seed), question.id)))
    return replace(question, question=words) if words else None


def _row(name: str, library: Library, pairs: Sequence[tuple[Asked, Asked]], seed: int) -> dict[str, Any]:
    """Return a family's figures; the gold sentence of a paraphrase is that of the question as it is."""
    if not pairs:
        return {"family": name, "n": 0}
    plain, other = ([one.scores.f1 for one in arm] for arm in zip(*pairs, strict=True))
    found = ratio(other, plain, [one.question.doc_id for one, _ in pairs], seed=seed)
    golds = [(pair, library.gold(pair[0].question)) for pair in pairs]
    counted = [(pair, gold.id) for pair, gold in golds if gold and holds_answer(pair[0].question, gold)]
    recall = [_mean([gold in pair[arm].prediction.atoms for pair, gold in counted]) for arm in (0, 1)]
    return {
        "family": name,
        "n": len(pairs),
        "recall as it is": recall[0],
        "recall": recall[1],
        "recall ÷": recall[1] / recall[0] if recall[0] and recall[1] is not None else None,
        "F1 as it is": fmean(plain),
        "F1": fmean(other),
        "F1 ÷": found.value,
        "95 %": found.interval,
    }


def _mean(values: Sequence[bool]) -> float | None:
    return fmean(values) if values else None
