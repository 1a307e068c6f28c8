"""Off-topic: what a memory does to questions that have nothing to do with what it holds.

Where the router abstains, the bare base model answers here: what is measured is the harm of weights, not the habit of
saying "I don't know". A small base model knows few answers; so, besides scores, it is measured how much less likely
right answers become, and the base model's own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.probes.asking import Asked, ask, likelihoods, never_silent, with_atoms
from parametric_memory.evaluation.probes.findings import Findings
from parametric_memory.evaluation.probes.ratios import difference, ratio
from parametric_memory.evaluation.probes.world import World, until
from parametric_memory.evaluation.systems import SYSTEMS, Library, Preparation
from parametric_memory.types import Atom, stable_id

#: Atoms that are injected by force.
FORCED = 4
#: Characters of the documents that are stored.
STORED_CHARS = 20_000


def off_topic(world: World) -> Findings:
    """Ask with nothing, with what is routed, and with four atoms that are injected by force."""
    questions = world.questions("squad1.1.dev", "squad2.0.dev")
    others = until(world.filler(questions), chars=STORED_CHARS)
    if not others:
        raise ConfigError(f"off_topic needs documents that no question is about: put a second set into {world.data}")
    with world.library(others) as library:
        arms = _arms(library, world.seed)
        world.progress("off_topic", 0, len(arms))
        bare = ask("off", library, questions, arms["off"])
        own = [one.prediction.text for one in bare]
        rows, answers = [], []
        for number, (arm, prepare) in enumerate(arms.items(), 1):
            asked = bare if arm == "off" else ask(arm, library, questions, prepare)
            rows.append(_row(asked, bare, likelihoods(library, questions, prepare, own), world.seed))
            answers += [one.record(atoms=len(one.prediction.atoms)) for one in asked]
            world.progress("off_topic", number, len(arms))
        plain = [row.pop("own") for row in rows]
        groups = [question.doc_id for question in questions]
        for row, likely in zip(rows, plain, strict=True):
            found = difference(likely, plain[0], groups, seed=world.seed)
            row |= {"own answer Δ nats": found.value, "own 95 %": found.interval}
        held = library.memory.stats()
    return Findings(
        f"{len(questions)} questions of {questions[0].dataset}, asked of a memory of {held.atoms} atoms of "
        f"{held.documents} documents of other sets; F1 ÷ off and Δ are against the bare base model (`off`).",
        rows,
        answers,
    )


def _arms(library: Library, seed: int) -> dict[str, Preparation]:
    everything = library.memory.store.atoms()

    def irrelevant(_library: Library, question: Question) -> Sequence[Atom]:
        drawn = random.Random(stable_id(str(seed), question.id))
        return drawn.sample(everything, min(FORCED, len(everything)))

    return {
        "off": never_silent(SYSTEMS["closed_book"]),
        "routed": never_silent(SYSTEMS["atoms"]),
        "forced": with_atoms(irrelevant),
    }


def _row(asked: Sequence[Asked], bare: Sequence[Asked], own: list[float | None], seed: int) -> dict[str, Any]:
    groups = [one.question.doc_id for one in asked]
    scores, plain = [one.scores.f1 for one in asked], [one.scores.f1 for one in bare]
    on_off = ratio(scores, plain, groups, seed=seed)
    likely = [one.prediction.loglikelihood for one in asked]
    right = difference(likely, [one.prediction.loglikelihood for one in bare], groups, seed=seed)
    return {
        "arm": asked[0].arm,
        "n": len(asked),
        "F1": fmean(scores),
        "containment": fmean(one.scores.containment for one in asked),
        "F1 ÷ off": on_off.value,
        "÷ 95 %": on_off.interval,
        "injected": fmean(bool(one.prediction.atoms) for one in asked),
        "unchanged": fmean(float(a.text == b.text) for a, b in zip(asked, bare, strict=True)),
        "right answer Δ nats": right.value,
        "right 95 %": right.interval,
        "own": own,
    }
