"""A training run's folder and pace: its log, the state it goes on from, its learning rate, its batches' order."""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from parametric_memory.errors import CheckpointError

logger = logging.getLogger(__name__)


class Schedule(Protocol):
    """The part of a training configuration that the learning rate depends on."""

    @property
    def steps(self) -> int:
        """All steps of the run."""
        ...

    @property
    def warmup(self) -> int:
        """Steps until the highest rate."""
        ...

    @property
    def learning_rate(self) -> float:
        """The highest rate."""
        ...


def learning_rate(step: int, schedule: Schedule) -> float:
    """Return the rate at a step: a linear warm-up, then a linear fall to a twentieth."""
    rising = min(1.0, (step + 1) / max(1, schedule.warmup))
    return schedule.learning_rate * rising * (0.05 + 0.95 * (1 - step / schedule.steps))


def shuffled(
    numbers: Sequence[int], *, size: int, seed: int, epoch: int, length: Callable[[int], int]
) -> list[list[int]]:
    """Return one epoch's batches of example numbers: shuffled, then grouped by length within runs of 16 batches."""
    rng = random.Random(f"{seed}/{epoch}")
    order = rng.sample(numbers, len(numbers))
    batches: list[list[int]] = []
    for run in range(0, len(order), 16 * size):
        group = sorted(order[run : run + 16 * size], key=length)
        batches += [group[i : i + size] for i in range(0, len(group), size)]
    rng.shuffle(batches)
    return batches


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each value over the rows that have it (a batch without answers has no first token)."""
    values = {name: [row[name] for row in rows if not math.isnan(row[name])] for name in rows[0]}
    return {name: sum(column) / max(1, len(column)) for name, column in values.items()}


def fast_dtype() -> torch.dtype:
    """Return bfloat16 where this machine multiplies its matrices faster than float32 ones, else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.bfloat16 if fast else torch.float32


def write_log(out: Path, step: int, kind: str, values: Mapping[str, float]) -> None:
    """Add a line to the run's ``log.jsonl``."""
    line = {"step": step, "kind": kind, **{name: round(value, 4) for name, value in values.items()}}
    with (out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    logger.info("training: %s", line)


def save_state(out: Path, state: Mapping[str, Any]) -> None:
    """Write everything that going on needs, with its ``step`` and ``config``, atomically."""
    partial = out / "resume.pt.partial"
    torch.save(dict(state), partial)
    partial.replace(out / "resume.pt")
    logger.info("training: saved step %d to %s", state["step"], out)


def load_state(out: Path, config: Mapping[str, Any], *, device: torch.device) -> dict[str, Any] | None:
    """Return what `save_state` wrote, None if there is nothing.

    Raises:
        CheckpointError: If it was made with other settings than these.
    """
    path = out / "resume.pt"
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    others = {name: value for name, value in state["config"].items() if value != config.get(name)}
    if others:
        raise CheckpointError(
            f"resuming from {path}: it was made with other settings, {others}, than this run, "
            f"{ {name: config.get(name) for name in others} }; use the same ones, or another folder (--out)"
        )
    return state
