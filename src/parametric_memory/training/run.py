"""A training run's folder and pace: its log, the state it goes on from, its learning rate, its batches' order."""

from __future__ import annotations

import json
import logging
import math
import platform
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from parametric_memory.errors import CheckpointError

logger = logging.getLogger(__name__)


def learning_rate(step: int, *, steps: int, highest: float, warmup: int, fall: float = 0.05) -> float:
    """Return the rate at a step: a linear rise, then a linear fall.

    Args:
        step: From 0 to ``steps - 1``.
        steps: Of the run, or of the stretch of it.
        highest: The rate that is risen to.
        warmup: Steps in which it rises.
        fall: Share of the highest rate that is left at the end.
    """
    rising = min(1.0, (step + 1) / max(1, warmup))
    return highest * rising * (fall + (1 - fall) * (1 - step / steps))


def shuffled(
    numbers: Sequence[int], *, size: int, seed: int | str, epoch: int, length: Callable[[int], int]
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


@cache
def fast_dtype() -> torch.dtype:
    """Return bfloat16 where this machine multiplies its matrices faster than float32 ones, else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # oneDNN calls it supported on processors, too, that only imitate it, at a fifth of float32's speed.
    seconds = {dtype: _product_seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return min(seconds, key=lambda dtype: seconds[dtype])


def _product_seconds(dtype: torch.dtype, *, size: int = 512, times: int = 5) -> float:
    """Return the least of some times that a product of two square matrices takes on the processor."""
    one = torch.ones(size, size, dtype=dtype)
    torch.mm(one, one)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        torch.mm(one, one)
        taken.append(time.perf_counter() - began)
    return min(taken)


def this_machine() -> str:
    """Return what a card says of the machine a run was made on."""
    return f"{platform.machine()}, {platform.processor() or platform.system()}, torch {torch.__version__}"


class Log:
    """A run's ``log.jsonl``, and the same curves for TensorBoard where it is installed."""

    def __init__(self, out: Path) -> None:
        """Take the run's folder; nothing is written yet."""
        self._path, self._boards = out / "log.jsonl", out / "tensorboard"
        self._board: Any = None

    def clear(self) -> None:
        """Forget an earlier run."""
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self._boards, ignore_errors=True)

    def write(self, step: int, kind: str, values: Mapping[str, float], *, stage: str | None = None) -> None:
        """Add a line; values that are not numbers (a batch without answers has no first token) are left out."""
        known = {name: round(value, 4) for name, value in values.items() if math.isfinite(value)}
        line = {"step": step, "kind": kind, **({"stage": stage} if stage else {}), **known}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        logger.info("training: %s", line)
        for name, value in known.items():
            self._writer().add_scalar(f"{kind}/{name}", value, step)

    def _writer(self) -> Any:
        if self._board is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                logger.info("training: tensorboard is not installed; the curves are in %s", self._path)
                self._board = _NoBoard()
            else:
                self._board = SummaryWriter(str(self._boards), flush_secs=10)
        return self._board


class _NoBoard:
    """Stands for TensorBoard where it is not installed."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Do nothing."""


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
