"""Tuning of a reader: a plain LoRA in the base model's last layers that learns to answer from the prompt's text.

The counterpart of what the hypernetwork emits: as large, in the same modules, trained on the same questions, so that
only where the knowledge stands differs. Everything below the adapted layers is frozen and runs without gradients. It
runs on one device, without accelerate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parametric_memory.adapters.inject import inject
from parametric_memory.config import PromptConfig
from parametric_memory.errors import NonFiniteLossError
from parametric_memory.hypernetwork.states import continue_from, logits_of
from parametric_memory.training.losses import answer_nll
from parametric_memory.training.readings import Reading, ReadingBatch, read
from parametric_memory.training.run import Log, learning_rate, load_state, means, save_state, shuffled
from parametric_memory.training.student import right
from parametric_memory.types import AdapterSpec, ComposedAdapter, LoraFactors


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderConfig:
    """How long, how fast, and how large.

    Attributes:
        examples: Questions that are drawn; None takes as many as the steps use, each once.
        steps: Optimiser steps; the learning rate falls linearly to a twentieth over them.
        batch_size: Questions a step.
        learning_rate: At the end of the warm-up.
        warmup: Steps to reach it.
        alone: Share of the questions that are read with the gold sentence alone, not among others.
        max_tokens: Longest prompt with its answer; longer ones are left out.
        validation: Held-out questions that are validated on.
        clip: Largest gradient norm.
        save_seconds: Time between saves of the state.
        evaluate_every: Steps between validations.
        log_every: Steps between log lines.
        seed: Of the questions, their order and the initial weights.
        layers: Adapted layers, counted from the last.
        rank: Of the LoRA; that of a composed adapter is two per token of its atoms.
        prompt: The wording around question and passages.
    """

    examples: int | None = None
    steps: int = 160
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup: int = 10
    alone: float = 0.5
    max_tokens: int = 224
    validation: int = 128
    clip: float = 1.0
    save_seconds: float = 120.0
    evaluate_every: int = 40
    log_every: int = 10
    seed: int = 0
    layers: int = 6
    rank: int = 64
    prompt: PromptConfig = field(default_factory=PromptConfig)


class Lora(nn.Module):
    """Trainable factors of every target; B begins at zero, so that the base model begins as it is."""

    def __init__(self, model: nn.Module, targets: Sequence[str], *, rank: int, seed: int) -> None:
        super().__init__()
        self.targets = tuple(targets)
        generator = torch.Generator().manual_seed(seed)
        linears: list[Any] = [model.get_submodule(target) for target in targets]
        sizes = [(int(linear.in_features), int(linear.out_features)) for linear in linears]
        starts = [(torch.rand(rank, d_in, generator=generator) * 2 - 1) / math.sqrt(d_in) for d_in, _ in sizes]
        self.A = nn.ParameterList([nn.Parameter(start) for start in starts])
        self.B = nn.ParameterList([nn.Parameter(torch.zeros(d_out, rank)) for _, d_out in sizes])

    def factors(self) -> dict[str, LoraFactors]:
        """Return the factors by target; gradients reach the parameters."""
        return {target: LoraFactors(A, B) for target, A, B in zip(self.targets, self.A, self.B, strict=True)}


def forward(lora: Lora | None, model: nn.Module, batch: ReadingBatch, *, layer: int) -> dict[str, Tensor]:
    """Return the answers' ``nll`` and the shares of right ``first`` tokens and of right ``token`` s.

    Args:
        lora: None is the bare base model.
        model: The base model.
        batch: What is read.
        layer: The first adapted layer.
    """
    with inject(model, None if lora is None else lora.factors()):
        states = continue_from(model, batch.states, batch.mask, layer)
    answered = batch.targets >= 0
    logits = logits_of(model, states[answered]).float()
    return {"nll": answer_nll(logits, batch.targets[answered]), **right(logits, batch.targets)}


class ReaderTrainer:
    """The state of one run: the LoRA, its optimiser, the step."""

    def __init__(
        self,
        model: nn.Module,
        spec: AdapterSpec,
        *,
        train: Sequence[Reading],
        validation: Sequence[Reading],
        config: ReaderConfig,
        out: Path,
    ) -> None:
        self.model, self.spec, self.config, self.out = model, spec, config, out
        self.device = next(model.parameters()).device
        self.lora = Lora(model, spec.targets, rank=config.rank, seed=config.seed).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.lora.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.layer = int(model.config.num_hidden_layers) - config.layers  # type: ignore[union-attr, arg-type]
        self.train, self.step = train, 0
        # Held-out questions are read once: below the adapted layers nothing changes.
        self.validation = self.batches(validation)
        out.mkdir(parents=True, exist_ok=True)
        self.log = Log(out)

    def batches(self, rows: Sequence[Reading]) -> list[ReadingBatch]:
        """Return all of some readings, those of like lengths together."""
        ordered = sorted(rows, key=len)
        size = self.config.batch_size
        return [
            read(self.model, ordered[begin : begin + size], layer=self.layer) for begin in range(0, len(ordered), size)
        ]

    def begin(self) -> None:
        """Start anew: the log of an earlier run goes, and the bare base model is its first line."""
        self.log.clear()
        self.log.write(0, "validation", self.validate(self.validation))

    def run(self, *, progress: Callable[[int, Mapping[str, float]], None] | None = None) -> None:
        """Train to the last step, saving and validating on the way.

        Raises:
            NonFiniteLossError: If a loss is NaN or infinite, naming the batch; the last saved state is intact.
        """
        config, began, saved, rows = self.config, time.monotonic(), time.monotonic(), []
        while self.step < config.steps:
            numbers = self._numbers(self.step)
            rows.append(self._one_step(numbers))
            self.step += 1
            last = self.step == config.steps
            if self.step % config.log_every == 0 or last:
                values = means(rows) | {"seconds": time.monotonic() - began}
                self.log.write(self.step, "train", values)
                began, rows = time.monotonic(), []
                if progress:
                    progress(self.step, values)
            if self.step % config.evaluate_every == 0 or last:
                self.log.write(self.step, "validation", self.validate(self.validation))
            if time.monotonic() - saved > config.save_seconds or last:
                self.save()
                saved = time.monotonic()

    def _numbers(self, step: int) -> list[int]:
        """Return which readings a step takes."""
        config = self.config
        epoch, place = divmod(step, -(-len(self.train) // config.batch_size))
        order = shuffled(
            range(len(self.train)),
            size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            length=lambda number: len(self.train[number]),
        )
        return order[place]

    def _one_step(self, numbers: list[int]) -> dict[str, float]:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                self.step, steps=config.steps, highest=config.learning_rate, warmup=config.warmup
            )
        batch = read(self.model, [self.train[number] for number in numbers], layer=self.layer)
        terms = forward(self.lora, self.model, batch, layer=self.layer)
        if not bool(torch.isfinite(terms["nll"])):
            raise NonFiniteLossError(
                f"training step {self.step}: the loss is {terms['nll'].item()} on the examples {numbers}; the last "
                f"saved state in {self.out} is intact: start anew with a lower learning rate or other questions"
            )
        self.optimizer.zero_grad()
        terms["nll"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.lora.parameters(), config.clip)
        self.optimizer.step()
        return {name: float(value.detach()) for name, value in terms.items()} | {"gradient": float(norm)}

    @torch.no_grad()
    def validate(self, batches: Sequence[ReadingBatch], *, bare: bool = False) -> dict[str, float]:
        """Return the mean terms, by the LoRA or by the bare base model."""
        lora = None if bare else self.lora
        return means(
            [
                {name: float(value) for name, value in forward(lora, self.model, batch, layer=self.layer).items()}
                for batch in batches
            ]
        )

    def adapter(self) -> ComposedAdapter:
        """Return what was learnt as an adapter, rounded to fp16 as it is shipped."""
        factors = {
            target: LoraFactors(part.A.detach().cpu().half(), part.B.detach().cpu().half())
            for target, part in self.lora.factors().items()
        }
        return ComposedAdapter(self.spec, factors, ())

    def save(self) -> None:
        """Write everything that going on needs, atomically."""
        save_state(
            self.out,
            {
                "step": self.step,
                "config": asdict(self.config),
                "lora": self.lora.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
        )

    def resume(self) -> bool:
        """Go on from the state in `out`, if there is one; return whether there was.

        Raises:
            CheckpointError: If it was made with other settings than these.
        """
        state = load_state(self.out, asdict(self.config), device=self.device)
        if state is None:
            return False
        self.lora.load_state_dict(state["lora"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        return True
