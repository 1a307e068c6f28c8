"""A run of one network on one device, without accelerate: steps, log lines, validations, saves, and going on."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from parametric_memory.errors import NonFiniteLossError
from parametric_memory.training.run import Log, learning_rate, load_state, means, save_state, shuffled
from parametric_memory.types import stable_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long and how fast a run is.

    Attributes:
        steps: Optimiser steps; the learning rate falls linearly to a twentieth over them.
        batch_size: Questions a step.
        learning_rate: At the end of the warm-up.
        warmup: Steps to reach it.
        clip: Largest gradient norm.
        save_seconds: Time between saves of the state.
        evaluate_every: Steps between validations.
        log_every: Steps between log lines.
        seed: Of the questions, their order and the initial weights.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    clip: float = 1.0
    save_seconds: float = 120.0
    evaluate_every: int
    log_every: int = 10
    seed: int = 0


class SingleRun(ABC):
    """The state of one run: the network, its optimiser, the step.

    Args:
        network: What is trained.
        optimizer: Of its parameters. A group's ``share`` of the learning rate is its own; 1 if it has none.
        pace: How long and how fast.
        lengths: Of every question that is trained on; those of like lengths share a step.
        out: The run's folder; made if it is not there.
    """

    def __init__(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, pace: Pace, lengths: list[int], out: Path
    ) -> None:
        self._network, self.optimizer, self._pace, self._lengths, self.out = network, optimizer, pace, lengths, out
        # Other questions are other lengths.
        self._settings = {**asdict(pace), "questions": stable_id(str(lengths))}
        self.device = next(network.parameters()).device
        self.step = 0
        self._measured: tuple[int, dict[str, float]] | None = None
        self._order: tuple[int, list[list[int]]] | None = None
        out.mkdir(parents=True, exist_ok=True)
        self.log = Log(out)

    @abstractmethod
    def terms(self, numbers: list[int]) -> dict[str, Tensor]:
        """Return the loss of some questions, ``nll``, and measures beside it."""

    @abstractmethod
    def validated(self) -> dict[str, float]:
        """Return the mean terms on held-out questions."""

    def begin(self) -> None:
        """Start anew: the log of an earlier run goes, and the network as it is is its first line."""
        self.log.clear()
        self.log.write(0, "validation", self.measures())

    def run(self, *, progress: Callable[[int, Mapping[str, float]], None] | None = None) -> None:
        """Train to the last step, saving and validating on the way.

        Raises:
            NonFiniteLossError: If a loss is NaN or infinite, naming the batch; the last saved state is intact.
        """
        pace, began, saved, rows = self._pace, time.monotonic(), time.monotonic(), []
        while self.step < pace.steps:
            numbers = self._numbers(self.step)
            rows.append(self._one_step(numbers))
            self.step += 1
            last = self.step == pace.steps
            if self.step % pace.log_every == 0 or last:
                values = means(rows) | {"seconds": time.monotonic() - began}
                self.log.write(self.step, "train", values)
                began, rows = time.monotonic(), []
                if progress:
                    progress(self.step, values)
            if self.step % pace.evaluate_every == 0 or last:
                self.log.write(self.step, "validation", self.measures())
            if time.monotonic() - saved > pace.save_seconds or last:
                self.save()
                saved = time.monotonic()

    def measures(self) -> dict[str, float]:
        """Return what `validated` does, computed once a step."""
        if self._measured is None or self._measured[0] != self.step:
            self._measured = (self.step, self.validated())
        return self._measured[1]

    def _numbers(self, step: int) -> list[int]:
        """Return which questions a step takes."""
        size, count = self._pace.batch_size, len(self._lengths)
        epoch, place = divmod(step, -(-count // size))
        if self._order is None or self._order[0] != epoch:
            length = self._lengths.__getitem__
            self._order = (epoch, shuffled(range(count), size=size, seed=self._pace.seed, epoch=epoch, length=length))
        return self._order[1][place]

    def _one_step(self, numbers: list[int]) -> dict[str, float]:
        pace = self._pace
        rate = learning_rate(self.step, steps=pace.steps, highest=pace.learning_rate, warmup=pace.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        # What a step drops out depends on the step alone, so that a run that goes on is the same run.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(pace.seed * 1_000_003 + self.step)
            terms = self.terms(numbers)
        if not bool(torch.isfinite(terms["nll"])):
            raise NonFiniteLossError(
                f"training step {self.step}: the loss is {terms['nll'].item()} on the examples {numbers}; the last "
                f"saved state in {self.out} is intact: start anew with a lower learning rate or other questions"
            )
        self.optimizer.zero_grad()
        terms["nll"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), pace.clip)
        self.optimizer.step()
        return {name: float(value.detach()) for name, value in terms.items()} | {"gradient": float(norm)}

    def save(self) -> None:
        """Write everything that going on needs, atomically."""
        state = {"network": self._network.state_dict(), "optimizer": self.optimizer.state_dict()}
        save_state(self.out, {"step": self.step, "config": self._settings, **state})

    def resume(self) -> bool:
        """Go on from the state in `out`, if there is one; return whether there was.

        Raises:
            CheckpointError: If it was made with other settings than these.
        """
        state = load_state(self.out, self._settings, device=self.device)
        if state is None:
            return False
        self._network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        return True
