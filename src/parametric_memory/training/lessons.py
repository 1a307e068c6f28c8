"""Lessons: the batch of every step of a run, a function of the step alone.

So a run that is resumed meets what an unbroken one would have met, and batches can be made ahead by other processes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from torch.utils.data import Dataset

from parametric_memory.training.batches import Batch, collate
from parametric_memory.training.curriculum import Moment, TrainingConfig, moment
from parametric_memory.training.exercises import Exercises
from parametric_memory.training.run import shuffled


class Lessons(Dataset[Batch]):
    """What a run learns from, step by step."""

    def __init__(
        self,
        exercises: Exercises,
        config: TrainingConfig,
        *,
        completions: Sequence[int] = (),
        part: int = 0,
        parts: int = 1,
    ) -> None:
        """Take exercises and a curriculum.

        Args:
            exercises: Questions, and completions among them.
            config: Says how they are mixed.
            completions: The numbers of those that complete a sentence.
            part: Which part of every batch is made here, when several processes share it.
            parts: How many processes do.
        """
        super().__init__()
        self.exercises, self.config = exercises, config
        self._stages, self._part, self._parts = config.curriculum, part, parts
        completing = set(completions)
        self._pools = (
            tuple(number for number in range(len(exercises)) if number not in completing),
            tuple(sorted(completing)),
        )
        self._epoch = lru_cache(maxsize=8)(self._shuffled)

    def __len__(self) -> int:
        """Return the number of steps."""
        return self.config.total_steps

    def __getitem__(self, step: int) -> Batch:
        """Return a step's batch, or this process's part of it."""
        stage = moment(self._stages, step).stage
        # Every process draws for its own rows, so it may not draw what the others do.
        rng = random.Random(f"{self.config.seed}/{step}/{self._part}")
        numbers = self.numbers(step)[self._part :: self._parts]
        return collate(self.exercises, numbers, rng=rng, distractors=stage.distractors, nothing=stage.nothing)

    def numbers(self, step: int) -> list[int]:
        """Return the numbers of a step's exercises."""
        at = moment(self._stages, step)
        size = self.config.batch_size
        questions, completing = self._pools
        completed = round(at.stage.completions * size) if questions and completing else (0 if questions else size)
        return [*self._drawn(at, 0, size - completed), *self._drawn(at, 1, completed)]

    def _drawn(self, at: Moment, pool: int, size: int) -> list[int]:
        if not size:
            return []
        batches = len(self._epoch(at.number, pool, 0, size))
        epoch, place = divmod(at.step, batches)
        return self._epoch(at.number, pool, epoch, size)[place]

    def _shuffled(self, stage: int, pool: int, epoch: int, size: int) -> list[list[int]]:
        items = self.exercises.items
        seed = f"{self.config.seed}/{stage}"
        return shuffled(self._pools[pool], size=size, seed=seed, epoch=epoch, length=lambda number: len(items[number]))
