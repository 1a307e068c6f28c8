"""Counterfactual: documents that contradict the world. The document is right; what the base model believes is not.

Only documents that training holds out are asked about, by the rule of `parametric_memory.training.data.held_out`.
"""

from __future__ import annotations

from statistics import fmean

from parametric_memory.evaluation.datasets import Question, corpus_documents
from parametric_memory.evaluation.probes.asking import ask
from parametric_memory.evaluation.probes.findings import Findings
from parametric_memory.evaluation.probes.world import World
from parametric_memory.evaluation.statistics import interval
from parametric_memory.evaluation.systems import SYSTEMS

ARMS = ("closed_book", "in_context", "in_context_document", "rag_dense", "atoms", "atoms_oracle", "hybrid")


def counterfactual(world: World) -> Findings:
    """Ask every arm what the document says; its answer in the output means that the document was followed."""
    questions = world.questions("nq_swap.train", only=never_trained, others=False)
    rows, answers = [], []
    with world.library(corpus_documents(questions), setting="own") as library:
        for number, arm in enumerate(ARMS):
            world.progress("counterfactual", number, len(ARMS))
            asked = ask(arm, library, questions, SYSTEMS[arm])
            followed = [one.scores.containment for one in asked]
            rows.append(
                {
                    "arm": arm,
                    "n": len(asked),
                    "follows the document": fmean(followed),
                    "95 %": interval(followed, [one.question.doc_id for one in asked], seed=world.seed),
                    "F1": fmean(one.scores.f1 for one in asked),
                    "abstained": fmean(one.prediction.abstained for one in asked),
                }
            )
            answers += [one.record() for one in asked]
    world.progress("counterfactual", len(ARMS), len(ARMS))
    return Findings(
        f"{len(questions)} questions of {questions[0].dataset} about documents never trained on, each asked of its own "
        "document; `closed_book` is how often the base model says what the document says anyway.",
        rows,
        answers,
    )


def never_trained(question: Question) -> bool:
    """Return whether training holds the question's document out."""
    from parametric_memory.training.data import held_out

    return held_out(question.document, title=question.title)
