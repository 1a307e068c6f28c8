"""Tuning of a reader: a plain LoRA in the base model's last layers that learns to answer from the prompt's text.

The counterpart of what the hypernetwork emits: as large, in the same modules, trained on the same questions, so that
only where the knowledge stands differs. Everything below the adapted layers is frozen and runs without gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parametric_memory.adapters.inject import inject
from parametric_memory.config import PromptConfig
from parametric_memory.hypernetwork.states import continue_from, logits_of
from parametric_memory.training.losses import answer_nll
from parametric_memory.training.readings import Reading, ReadingBatch, read
from parametric_memory.training.run import means
from parametric_memory.training.single_run import Pace, SingleRun
from parametric_memory.training.student import right
from parametric_memory.types import AdapterSpec, ComposedAdapter, LoraFactors


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderConfig(Pace):
    """How long, how fast, and how large.

    Attributes:
        examples: Questions that are drawn; None takes as many as the steps use, each once.
        alone: Share of the questions that are read with the gold sentence alone, not among others.
        max_tokens: Longest prompt with its answer; longer ones are left out.
        validation: Held-out questions that are validated on.
        layers: Adapted layers, counted from the last.
        rank: Of the LoRA; that of a composed adapter is two per token of its atoms.
        prompt: The wording around question and passages.
    """

    steps: int = 160
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup: int = 10
    evaluate_every: int = 40
    examples: int | None = None
    alone: float = 0.5
    max_tokens: int = 224
    validation: int = 128
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


class ReaderTrainer(SingleRun):
    """A run that tunes a LoRA."""

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
        self.model, self.spec, self.config, self.train = model, spec, config, train
        self.lora = Lora(model, spec.targets, rank=config.rank, seed=config.seed).to(next(model.parameters()).device)
        optimizer = torch.optim.AdamW(
            self.lora.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        super().__init__(self.lora, optimizer, config, [len(reading) for reading in train], out)
        self.layer = int(model.config.num_hidden_layers) - config.layers  # type: ignore[union-attr, arg-type]
        # Held-out questions are read once: below the adapted layers nothing changes.
        self.validation = self.batches(validation)

    def batches(self, rows: Sequence[Reading]) -> list[ReadingBatch]:
        """Return all of some readings, those of like lengths together."""
        ordered = sorted(rows, key=len)
        size = self.config.batch_size
        return [
            read(self.model, ordered[begin : begin + size], layer=self.layer) for begin in range(0, len(ordered), size)
        ]

    def terms(self, numbers: list[int]) -> dict[str, Tensor]:
        """Return what `forward` does of some of the questions."""
        batch = read(self.model, [self.train[number] for number in numbers], layer=self.layer)
        return forward(self.lora, self.model, batch, layer=self.layer)

    def validated(self) -> dict[str, float]:
        """Return the mean terms on held-out questions, by the LoRA."""
        return self.validate(self.validation)

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
