"""Probes ask as the systems do: a preparation says what the base model is given, and it is asked in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.metrics import Scores, score
from parametric_memory.evaluation.systems import Given, Library, LibrarySystem, Place, Prediction, Preparation
from parametric_memory.evaluation.systems.weights import injected, to_atoms
from parametric_memory.types import Atom

#: Questions that are asked together: so many composed adapters are in memory at once.
TOGETHER = 32


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, what one arm of a probe answered, and how good that is."""

    question: Question
    arm: str
    prediction: Prediction
    scores: Scores

    @property
    def text(self) -> str:
        """The answer; empty if the system abstained."""
        return "" if self.prediction.abstained else self.prediction.text

    def record(self, **more: Any) -> dict[str, Any]:
        """Return what people read of it."""
        return {
            "arm": self.arm,
            "question": self.question.question,
            "answers": list(self.question.answers),
            "answer": self.text,
            "f1": self.scores.f1,
            **more,
        }


def ask(arm: str, library: Library, questions: Sequence[Question], prepare: Preparation) -> list[Asked]:
    """Return what comes of asking every question, in their order."""
    asked: list[Asked] = []
    for part in _parts(questions):
        predictions = LibrarySystem(arm, library, prepare).answer(part)
        asked += [
            Asked(question, arm, made, score("" if made.abstained else made.text, question.answers))
            for question, made in zip(part, predictions, strict=True)
        ]
    return asked


def likelihoods(
    library: Library, questions: Sequence[Question], prepare: Preparation, texts: Sequence[str]
) -> list[float | None]:
    """Return the mean log-probability (nats) of each text's tokens as the answer; None for a text without any."""
    memory, found = library.memory, list[float | None]()
    for begin, part in zip(range(0, len(questions), TOGETHER), _parts(questions), strict=True):
        given = prepare(library, part)
        turns = [
            (one.wording or memory.prompt).conversation(question.question, one.passages)
            for question, one in zip(part, given, strict=True)
        ]
        wanted = texts[begin : begin + TOGETHER]
        sums = memory.backend.loglikelihood(turns, wanted, adapters=[one.adapter for one in given])
        found += [total / tokens if tokens else None for total, tokens in sums]
    return found


def places(library: Library, asked: Asked) -> list[Place]:
    """Return the places that an answer stands on, best first: of its atoms, or of the passages that it was shown."""
    if asked.prediction.atoms:
        atoms = [library.memory.store.get(atom_id) for atom_id in asked.prediction.atoms]
        return [Place(str(atom.metadata["doc_id"]), atom.span) for atom in atoms]
    shown = {"rag_bm25": library.reading.bm25.passages, "rag_dense": library.reading.dense.passages}
    return list(asked.prediction.evidence[: shown.get(asked.arm, 0)])


def with_atoms(choose: Callable[[Library, Question], Sequence[Atom]]) -> Preparation:
    """Return a preparation that injects chosen atoms, gated as the compiler gates them, whatever a router would say."""
    return lambda library, questions: [
        injected(library, to_atoms(library, question, choose(library, question))) for question in questions
    ]


def never_silent(prepare: Preparation) -> Preparation:
    """Return a preparation whose base model is asked also where the system abstains, with nothing given."""
    return lambda library, questions: [
        replace(one, abstained=False) if not one.abstained else Given() for one in prepare(library, questions)
    ]


def _parts(questions: Sequence[Question]) -> list[Sequence[Question]]:
    return [questions[begin : begin + TOGETHER] for begin in range(0, len(questions), TOGETHER)]
