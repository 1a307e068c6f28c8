import pytest
import torch

from parametric_memory.config import DistillationConfig
from parametric_memory.evaluation.systems import LibrarySystem
from parametric_memory.evaluation.systems.distilled import (
    DISTILLED,
    DistilledSystem,
    from_memory,
    on_exercises,
    on_test_questions,
)

QUICK = DistillationConfig(rank=2, layers=2, templates=2, questions=0, steps=2, patience=None)


@pytest.mark.parametrize(
    "system",
    [
        DistilledSystem(on_exercises, config=QUICK),
        DistilledSystem(on_test_questions, per_question=True, config=QUICK),
        DistilledSystem(from_memory, gated=True, config=QUICK),
    ],
    ids=list(DISTILLED),
)
def test_each_gives_an_adapter_of_the_gold_atom_and_distils_it_once(system, library, questions):
    given = system(library, questions)
    assert [one.atoms for one in given] == [(library.gold(question).id,) for question in questions]
    assert all(one.adapter is not None and not one.passages for one in given)
    spent = system.distilled(library).seconds
    again = system(library, questions)
    assert system.distilled(library).seconds == pytest.approx(spent, abs=0.05) and spent > 0
    assert system.distilled(library).seconds_per_atom > 0
    for one, other in zip(given, again, strict=True):
        for target, factors in one.adapter.factors.items():
            assert torch.equal(factors.B, other.adapter.factors[target].B)


def test_two_questions_about_one_atom_share_an_adapter_unless_they_are_what_is_distilled(library, questions):
    twice = [questions[0], questions[0]]
    own = DistilledSystem(on_exercises, config=QUICK)
    own(library, twice)
    assert len(own.distilled(library).adapters) == 1


def test_distilled_answers_have_nothing_in_the_prompt(library, questions):
    system = LibrarySystem("distillation", library, DistilledSystem(on_exercises, config=QUICK))
    assert {prediction.knowledge_tokens for prediction in system.answer(questions)} == {0}
