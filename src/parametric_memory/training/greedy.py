"""Greedy answers of a network in training to held-out questions: what the losses are there for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch

from parametric_memory.backends import HuggingFaceBackend
from parametric_memory.config import GenerationConfig, PromptConfig
from parametric_memory.hypernetwork.checkpoint import Network
from parametric_memory.training.batches import collate
from parametric_memory.training.exercises import Exercises
from parametric_memory.training.frozen import Frozen
from parametric_memory.training.objective import objective_for
from parametric_memory.types import AdapterSpec, ComposedAdapter, LoraFactors

#: How alike an answer and the right one are, from 0 to 1.
Score = Callable[[str, str], float]
GREEDY = GenerationConfig(max_new_tokens=24)
ROWS = 16


@torch.no_grad()
def greedy_scores(
    network: Network,
    backend: HuggingFaceBackend,
    spec: AdapterSpec,
    exercises: Exercises,
    frozen: Frozen,
    *,
    prompt: PromptConfig,
    numbers: Sequence[int],
    score: Score,
) -> dict[str, float]:
    """Return the mean score of answers from weights, from the right atoms alone and from them among three others.

    Args:
        network: Makes the adapters.
        backend: Answers.
        spec: What the adapters fit.
        exercises: Questions, in the wording of ``prompt``.
        frozen: Reads them.
        prompt: The wording around a question.
        numbers: Which are asked; those that nothing answers are left out.
        score: Of an answer and the right one.
    """
    asked = [number for number in numbers if exercises.items[number].answer]
    objective = objective_for(network, backend.model, spec.targets)
    means = {}
    for name, others in (("alone", 0), ("neighbours", 3)):
        scores: list[float] = []
        for begin in range(0, len(asked), ROWS):
            some = asked[begin : begin + ROWS]
            batch = collate(exercises, some, rng=random.Random(0), distractors=(others,)).to(backend.model.device)
            made = objective.adapters(batch, frozen.read(batch))
            adapters = [_row(spec, made, row) for row in range(len(some))]
            examples = [exercises.items[number].example for number in some]
            turns = [prompt.conversation(example.question) for example in examples]
            answers = backend.generate(turns, adapters=adapters, config=GREEDY)
            scores += [score(one.text, example.answer) for one, example in zip(answers, examples, strict=True)]
        means[name] = sum(scores) / max(1, len(scores))
    return means


def _row(spec: AdapterSpec, factors: Sequence[LoraFactors], row: int) -> ComposedAdapter:
    own = {target: LoraFactors(f.A[row], f.B[row]) for target, f in zip(spec.targets, factors, strict=True)}
    return ComposedAdapter(spec, own, ())
