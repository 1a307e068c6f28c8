"""What a run will take, measured by its first steps: memory, speed, time to finish."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from parametric_memory.training.curriculum import Stage
from parametric_memory.training.recipe import Run

#: Steps that are run of each stage; the first of them is not counted.
TRIED = 3


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """What one stage will take.

    Attributes:
        name: The stage's.
        steps: How many it has.
        seconds: A step's, states of the frozen layers included.
        per_second: Rows a second.
    """

    name: str
    steps: int
    seconds: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take.

    Attributes:
        stages: Each by itself.
        memory: Peak so far, in bytes: of the GPU where there is one, else of the process.
        exercises: Questions and completions that are drawn from.
        parameters: Of the network that is trained.
    """

    stages: tuple[StageEstimate, ...]
    memory: int
    exercises: int
    parameters: int

    @property
    def seconds(self) -> float:
        """Time to finish, without validations. Where states are kept, later epochs are faster than this says."""
        return sum(stage.steps * stage.seconds for stage in self.stages)


def estimate(run: Run, progress: Callable[[int, int], None] | None = None) -> Estimate:
    """Run a few steps of every stage, and say what the whole will take.

    The network is of no use afterwards. What `out` holds of an earlier run stays as it is.
    """
    run.calibrate()
    trainer, stages, first = run.trainer, run.config.curriculum, 0
    found = []
    for number, stage in enumerate(stages):
        found.append(_stage(run, stage, first))
        first += stage.steps
        if progress:
            progress(number + 1, len(stages))
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated()
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    return Estimate(tuple(found), memory, len(trainer.lessons.exercises), parameters)


def _stage(run: Run, stage: Stage, first: int) -> StageEstimate:
    times, rows = [], 0
    for step in range(first, first + min(TRIED, stage.steps)):
        began = time.monotonic()
        rows = run.trainer.try_step(step)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.monotonic() - began)
    seconds = min(times[1:] or times)
    return StageEstimate(stage.name, stage.steps, seconds, rows / seconds)
