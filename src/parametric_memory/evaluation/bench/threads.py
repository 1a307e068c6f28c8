"""How many questions a second one memory answers when several threads ask it at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from parametric_memory.config import GenerationConfig
from parametric_memory.evaluation.bench.clock import Clock
from parametric_memory.evaluation.bench.spread import ratio, spread
from parametric_memory.evaluation.bench.stages import Progress
from parametric_memory.memory import ParametricMemory

THREADS = (1, 2, 4, 8)


def measure_threads(
    memory: ParametricMemory,
    questions: Sequence[str],
    *,
    clock: Clock,
    tokens: int,
    rounds: int,
    progress: Progress,
    counts: Sequence[int] = THREADS,
) -> dict[str, Any]:
    """Ask all questions with every number of threads in turn, round after round.

    Answers may end before ``tokens``, but they are the same answers whatever the number of threads; ``different``
    counts those that were not, and is 0 unless threads disturb one another.
    """
    generation = GenerationConfig(max_new_tokens=tokens)

    def ask(question: str) -> str:
        return memory.ask(question, generation=generation).text

    expected = [ask(question) for question in questions]
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    different = 0
    for number in range(rounds):
        for place, count in enumerate(counts):
            progress("threads", number * len(counts) + place, rounds * len(counts))
            with ThreadPoolExecutor(count) as pool:
                began = clock.now()
                texts = list(pool.map(ask, questions))
                seconds[count].append(clock.now() - began)
            different += sum(text != other for text, other in zip(texts, expected, strict=True))
    progress("threads", rounds * len(counts), rounds * len(counts))
    return {
        "questions": len(questions),
        "rounds": rounds,
        "torch_threads": torch.get_num_threads(),
        "different": different,
        "asks_per_second": {str(count): spread([len(questions) / s for s in seconds[count]]) for count in counts},
        "speedup": {str(count): ratio(seconds[counts[0]], seconds[count]) for count in counts},
    }
