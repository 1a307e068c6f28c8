"""Meta-training of the hypernetwork: one explicit loop, resumable, on whatever accelerate finds.

Every step is a lesson: its batch, its stage's weights, its learning rate depend on its number alone. What is saved is
therefore small: the network, its average, the optimiser, the step.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from parametric_memory.errors import NonFiniteLossError
from parametric_memory.hypernetwork.checkpoint import Network
from parametric_memory.training.batches import Batch, collate
from parametric_memory.training.curriculum import Stage, TrainingConfig, Weights, moment
from parametric_memory.training.exercises import Exercises
from parametric_memory.training.frozen import Frozen
from parametric_memory.training.lessons import Lessons
from parametric_memory.training.objective import objective_for
from parametric_memory.training.run import Log, fast_dtype, learning_rate, load_state, means, save_state, shuffled
from parametric_memory.training.teacher import Teacher, Told

#: What is validated: everything but what needs a teacher.
VALIDATED = Weights(nll=1.0, span=0.3, atoms=0.1)
#: Processes that make batches ahead on a machine with a GPU.
MAKERS = 6


class Trainer:
    """The state of one training run: network, averaged network, optimiser, step."""

    def __init__(
        self,
        network: Network,
        model: nn.Module,
        targets: tuple[str, ...],
        *,
        lessons: Lessons,
        frozen: Frozen,
        validation: tuple[Exercises, Frozen],
        config: TrainingConfig,
        out: Path,
        teacher: Teacher | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        """Take everything a run is made of.

        Args:
            network: Is trained.
            model: The base model; is not.
            targets: Of the factors, lowest first.
            lessons: What is learned from.
            frozen: Reads its batches.
            validation: Exercises about documents that were held out, and what reads them.
            config: How long and how fast.
            out: Takes the log and the state.
            teacher: Needed by stages that weigh `teacher` or `consistency`.
            origin: What else tells the run from others: one that was stopped goes on with the same alone.
        """
        from accelerate import Accelerator, DistributedDataParallelKwargs

        self.accelerator = Accelerator(
            mixed_precision="bf16" if fast_dtype() == torch.bfloat16 else "no",
            cpu=not torch.cuda.is_available(),
            # A stage that learns the gates alone leaves the rest of the network unused.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self.model, self.config, self.out = model, config, out
        self._settings = {**asdict(config), **(origin or {})}
        self.lessons, self.frozen, self.teacher, self.validation = lessons, frozen, teacher, validation
        objective = objective_for(network, model, targets).to(self.accelerator.device)
        optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.averaged = AveragedModel(network, multi_avg_fn=_average(config.ema))
        self.targets = tuple(targets)
        self.step = 0
        self._measured: tuple[int, dict[str, Mapping[str, float]]] | None = None
        out.mkdir(parents=True, exist_ok=True)
        self.log = Log(out)

    @property
    def network(self) -> Network:
        """The network as it is being trained."""
        network: Network = self.accelerator.unwrap_model(self.objective).network
        return network

    def begin(self) -> None:
        """Start anew from the network as it now is: the average begins there, and the log of an earlier run goes."""
        self.averaged.module.load_state_dict(self.network.state_dict())
        self.log.clear()

    def averaged_network(self) -> Network:
        """Return the averaged network, which is what is evaluated and shipped."""
        averaged: Any = self.averaged.module
        network: Network = averaged.eval()
        return network

    def run(
        self,
        *,
        progress: Callable[[int, Mapping[str, float]], None] | None = None,
        score: Callable[[Network], Mapping[str, float]] | None = None,
    ) -> None:
        """Train to the last step, saving and validating on the way.

        Args:
            progress: Called with the step and the mean terms at every log line.
            score: More measures of the averaged network, for every validation.

        Raises:
            NonFiniteLossError: If a loss is NaN or infinite, naming the batch; the last checkpoint is intact.
        """
        config, last = self.config, self.config.total_steps
        saved, sums, began, rows = time.monotonic(), [], time.monotonic(), 0
        for batch in self._batches():
            stage = moment(config.curriculum, self.step).stage
            sums.append(self._one_step(batch.to(self.accelerator.device)))
            rows += len(batch) * self.accelerator.num_processes
            self.step += 1
            if self.step % config.log_every == 0 or self.step == last:
                seconds = time.monotonic() - began
                terms = _floats(sums) | {"seconds": seconds, "per_second": rows / seconds}
                self._write("train", terms, stage)
                sums, began, rows = [], time.monotonic(), 0
                if progress:
                    progress(self.step, terms)
            if self.step % config.evaluate_every == 0 or self.step == last:
                self._evaluate(score)
                began = time.monotonic()  # a pause is no part of the speed
            if time.monotonic() - saved > config.save_seconds or self.step == last:
                self.save()
                saved = time.monotonic()

    def _batches(self) -> Iterator[Batch]:
        """Yield the batches from the present step on; on a GPU other processes make them ahead."""
        makers = MAKERS if self.accelerator.device.type == "cuda" else 0
        order = range(self.step, self.config.total_steps)
        # A generator of its own: else starting the loader would draw from the numbers that dropout goes on with.
        own = torch.Generator()
        yield from DataLoader(self.lessons, sampler=order, batch_size=None, num_workers=makers, generator=own)

    def _one_step(self, batch: Batch) -> dict[str, Tensor]:
        at = moment(self.config.curriculum, self.step)
        rate = learning_rate(
            at.step, steps=at.stage.steps, highest=at.stage.learning_rate, warmup=self.config.warmup, fall=at.stage.fall
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.accelerator.autocast():
            terms = self.objective(batch, self.frozen.read(batch), at.stage.weights, self._told(batch, at.stage))
        loss = terms["total"]
        if not bool(torch.isfinite(loss)):
            raise NonFiniteLossError(
                f"training step {self.step}: the loss is {loss.item()} on the examples {batch.numbers}; the last "
                f"checkpoint in {self.out} is intact: resume with a lower learning rate or without these examples"
            )
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.objective.parameters(), self.config.clip)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        return {name: value.detach() for name, value in terms.items()} | {"gradient": torch.as_tensor(norm)}

    def try_step(self, step: int) -> int:
        """Run one step wherever the run stands, to measure it; return its rows."""
        self.step = step
        batch = self.lessons[step].to(self.accelerator.device)
        self._one_step(batch)
        return len(batch)

    def _told(self, batch: Batch, stage: Stage) -> Told | None:
        """Return what the teacher says where the batch is answered, if the stage learns from it."""
        if self.teacher is None or not (stage.weights.teacher or stage.weights.consistency):
            return None
        answered = (batch.targets >= 0).any(dim=1).tolist()
        return self.teacher.tell([number for number, is_ in zip(batch.numbers, answered, strict=True) if is_])

    def _evaluate(self, score: Callable[[Network], Mapping[str, float]] | None) -> None:
        if not self.accelerator.is_main_process:
            return
        for name, values in self.measures(score).items():
            self._write(f"validation/{name}", values)

    def measures(self, score: Callable[[Network], Mapping[str, float]] | None = None) -> dict[str, Mapping[str, float]]:
        """Return what the averaged network does on held-out documents, computed once a step.

        ``alone``: the right atoms; ``neighbours``: and three of the same document; ``answers``: what `score` says.
        """
        if self._measured is None or self._measured[0] != self.step:
            found: dict[str, Mapping[str, float]] = {"alone": self.validate(0), "neighbours": self.validate(3)}
            if score:
                found["answers"] = score(self.averaged_network())
            self._measured = (self.step, found)
        return self._measured[1]

    @torch.no_grad()
    def validate(self, distractors: int, *, limit: int = 512) -> dict[str, float]:
        """Return the mean terms on held-out documents, by the averaged weights, with this many distractors a row."""
        exercises, frozen = self.validation
        objective = objective_for(self.averaged_network(), self.model, self.targets)
        size = min(64, self.config.batch_size)
        order = shuffled(range(len(exercises)), size=size, seed=0, epoch=0, length=lambda n: len(exercises.items[n]))
        rows = []
        for numbers in order[: max(1, limit // size)]:
            batch = collate(exercises, numbers, rng=random.Random(0), distractors=(distractors,))
            batch = batch.to(self.accelerator.device)
            with self.accelerator.autocast():
                rows.append(objective(batch, frozen.read(batch), VALIDATED))
        return _floats(rows)

    def _write(self, kind: str, values: Mapping[str, float], stage: Stage | None = None) -> None:
        if self.accelerator.is_main_process:
            self.log.write(self.step, kind, values, stage=stage.name if stage else None)

    def save(self) -> None:
        """Write everything that going on needs, atomically."""
        if not self.accelerator.is_main_process:
            return
        state = {
            "step": self.step,
            "config": self._settings,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if torch.cuda.is_available():
            state["cuda_rng"] = torch.cuda.get_rng_state()
        save_state(self.out, state)

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`, if there is one; return whether there was.

        Raises:
            CheckpointError: If it was made with other settings than these.
        """
        state = load_state(self.out, self._settings, device=self.accelerator.device)
        if state is None:
            return False
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"].cpu())
        if torch.cuda.is_available() and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"].cpu())
        self.step = int(state["step"])
        return True


def _average(ema: float) -> Callable[[Any, Any, Any], None]:
    """Return an exponential moving average whose decay rises to `ema`, so that the first steps are soon forgotten."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        steps = float(count)
        decay = min(ema, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    return update


def _floats(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    """Return the mean of every value over the rows that have it; a stage's change within them leaves some out."""
    names = dict.fromkeys(name for row in rows for name in row)
    read = [{name: float(row[name]) if name in row else float("nan") for name in names} for row in rows]
    return means(read)
