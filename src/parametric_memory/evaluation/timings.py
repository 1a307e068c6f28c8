"""How long a system takes for one question.

On a machine that others use too, times of two runs say little. So the systems take turns, question by question, and
what disturbs one disturbs all; compare the systems of one run, as ratios.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parametric_memory.evaluation.datasets import Question
from parametric_memory.evaluation.systems import System


def measure(
    systems: Sequence[System], questions: Sequence[Question], progress: Callable[[str, int, int], None]
) -> dict[str, list[float]]:
    """Ask every system every question, one at a time, and return the milliseconds by system, in the questions' order.

    Each system answers the first question once before, unmeasured. Which one begins changes with every question.
    """
    ms: dict[str, list[float]] = {system.name: [] for system in systems}
    if not questions:
        return ms
    for system in systems:
        system.answer(questions[:1], score=False)
    for number, question in enumerate(questions):
        progress(f"{question.dataset}: times", number, len(questions))
        first = number % len(systems)
        for system in (*systems[first:], *systems[:first]):
            [prediction] = system.answer([question], score=False)
            ms[system.name].append(prediction.ms)
    progress(f"{questions[0].dataset}: times", len(questions), len(questions))
    return ms
