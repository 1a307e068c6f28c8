"""Meta-training of the hypernetwork: one explicit loop, resumable, on whatever accelerate finds.

A step encodes the batch's atoms, gates and composes them per row as at inference, injects the composed adapters into
the frozen base model's upper layers, and learns from the answers' tokens (NLL) and their places in the atoms (span).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from parametric_memory.adapters.inject import inject
from parametric_memory.config import PromptConfig
from parametric_memory.errors import NonFiniteLossError
from parametric_memory.hypernetwork.network import AtomHypernetwork, directions, features
from parametric_memory.hypernetwork.states import continue_from
from parametric_memory.training.batches import Batch, ExampleBatches
from parametric_memory.training.losses import answer_nll, gate_hits, span_nll
from parametric_memory.training.run import fast_dtype, learning_rate, load_state, means, save_state, write_log


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How long, how fast, and on what.

    Attributes:
        examples: Questions that are drawn from; None takes all. More epochs over fewer are cheaper, since the states of
            the lower layers are computed once a question.
        steps: Optimiser steps; the learning rate falls linearly to a twentieth over them.
        batch_size: Questions a step.
        learning_rate: At the end of the warm-up.
        warmup: Steps to reach it.
        span_weight: Weight of the span term beside the answer's NLL.
        alone: Share of the steps in which a question meets its own atom alone, before distractors join.
        distractors: Then the number of distractors of a row is drawn from these.
        drop_gold: Share of the rows with distractors that nothing answers.
        clip: Largest gradient norm.
        ema: Decay of the averaged weights, which are what is evaluated and shipped.
        save_seconds: Time between checkpoints.
        evaluate_every: Steps between validations.
        log_every: Steps between log lines.
        seed: Of the order, the distractors and the initial weights.
        layers: Adapted layers, counted from the last.
        width: Width of a code.
    """

    examples: int | None = None
    steps: int = 4000
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: int = 100
    span_weight: float = 0.3
    alone: float = 0.15
    distractors: tuple[int, ...] = (0, 0, 1, 3)
    drop_gold: float = 0.1
    clip: float = 1.0
    ema: float = 0.998
    save_seconds: float = 180.0
    evaluate_every: int = 250
    log_every: int = 25
    seed: int = 0
    layers: int = 6
    width: int = 320
    prompt: PromptConfig = field(default_factory=PromptConfig)


def forward(network: AtomHypernetwork, model: nn.Module, targets: tuple[str, ...], batch: Batch) -> dict[str, Tensor]:
    """Return one batch's loss terms (``nll``, ``span``) and measures (``first``, ``token``, ``hit``, ``start``)."""
    config = network.config
    embedding = model.get_input_embeddings()(batch.atom_ids)  # type: ignore[operator]
    codes = network.encode(features({0: embedding, **batch.atom_states}, config), batch.atom_mask)
    present = batch.routes >= 0  # (rows, R)
    index = batch.routes.clamp(min=0)
    codes = codes.flatten(0, 1)[index] * present[..., None]  # (rows, R, width)
    tokens = directions(model, batch.atom_ids.flatten()[index]) * present[..., None]
    prompt = torch.arange(batch.mask.shape[1], device=batch.mask.device)[None] < batch.prompt_lengths[:, None]
    gates = network.gates(codes, present, batch.states, prompt)
    weights = network.rank_gates(gates) * present.repeat(1, 2)
    adapter = dict(zip(targets, network.factors(codes, tokens, weights), strict=True))
    dtype = next(model.parameters()).dtype
    with inject(model, adapter):
        states = continue_from(model, batch.states.to(dtype), batch.mask, config.first_layer)
    answered = batch.targets >= 0
    logits = model.get_output_embeddings()(states[answered]).float()  # type: ignore[operator]
    expected = batch.targets[answered]
    firsts = answered & ~pad(answered[:, :-1], (1, 0))
    right = (logits.argmax(dim=-1) == expected).float()
    hit, start = gate_hits(gates, batch.inside, batch.start)
    return {
        "nll": answer_nll(logits, expected),
        "span": span_nll(gates, batch.inside, batch.start),
        "first": right[firsts[answered]].mean(),
        "token": right.mean(),
        "hit": hit,
        "start": start,
    }


class Trainer:
    """The state of one training run: network, averaged network, optimiser, step."""

    def __init__(
        self,
        network: AtomHypernetwork,
        model: nn.Module,
        targets: tuple[str, ...],
        *,
        train: ExampleBatches,
        validation: ExampleBatches,
        config: TrainingConfig,
        out: Path,
    ) -> None:
        from accelerate import Accelerator

        cpu = not torch.cuda.is_available()
        self.accelerator = Accelerator(mixed_precision="bf16" if fast_dtype() == torch.bfloat16 else "no", cpu=cpu)
        self.model, self.targets, self.config, self.out = model, targets, config, out
        self.train, self.validation = train, validation
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema))  # type: ignore[no-untyped-call]
        self.step = 0
        out.mkdir(parents=True, exist_ok=True)

    def begin(self) -> None:
        """Start anew from the network as it now is: the average begins there, and the log of an earlier run goes."""
        self.averaged.module.load_state_dict(self.accelerator.unwrap_model(self.network).state_dict())
        (self.out / "log.jsonl").unlink(missing_ok=True)

    def averaged_network(self) -> AtomHypernetwork:
        """Return the averaged network, which is what is evaluated and shipped."""
        averaged: Any = self.averaged.module
        network: AtomHypernetwork = averaged.eval()
        return network

    def run(self, *, progress: Callable[[int, Mapping[str, float]], None] | None = None) -> None:
        """Train to the last step, saving and validating on the way.

        Raises:
            NonFiniteLossError: If a loss is NaN or infinite, naming the batch; the last checkpoint is intact.
        """
        saved, sums, began = time.monotonic(), [], time.monotonic()
        batches = len(self.train.order(self.config.seed, 0, self.config.batch_size))
        while self.step < self.config.steps:
            epoch, place = divmod(self.step, batches)
            order = self.train.order(self.config.seed, epoch, self.config.batch_size)
            for numbers in order[place : place + self.config.steps - self.step]:
                sums.append(self._one_step(numbers))
                self.step += 1
                if self.step % self.config.log_every == 0:
                    terms = means(sums) | {"seconds": time.monotonic() - began, "questions": len(sums) * len(numbers)}
                    write_log(self.out, self.step, "train", terms)
                    sums, began = [], time.monotonic()
                    if progress:
                        progress(self.step, terms)
                if self.step % self.config.evaluate_every == 0 or self.step == self.config.steps:
                    for name, count in (("alone", 0), ("neighbours", 3)):
                        write_log(self.out, self.step, f"validation/{name}", self.validate(count))
                if time.monotonic() - saved > self.config.save_seconds or self.step == self.config.steps:
                    self.save()
                    saved = time.monotonic()

    def _one_step(self, numbers: list[int]) -> dict[str, float]:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, config)
        alone = self.step < config.alone * config.steps
        batch = self.train.batch(
            numbers,
            rng=random.Random(f"{config.seed}/{self.step}"),
            distractors=(0,) if alone else config.distractors,
            drop_gold=config.drop_gold,
        ).to(self.accelerator.device)
        with self.accelerator.autocast():
            terms = forward(self.network, self.model, self.targets, batch)
        loss = terms["nll"] + config.span_weight * terms["span"]
        if not bool(torch.isfinite(loss)):
            raise NonFiniteLossError(
                f"training step {self.step}: the loss is {loss.item()} on the examples {numbers}; the last checkpoint "
                f"in {self.out} is intact: resume with a lower learning rate or without these examples"
            )
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), config.clip)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        return {name: float(value.detach()) for name, value in terms.items()} | {"gradient": float(norm)}

    @torch.no_grad()
    def validate(self, distractors: int, *, limit: int = 512) -> dict[str, float]:
        """Return the mean terms on held-out documents, by the averaged weights, with this many distractors a row."""
        network = self.averaged_network()
        size = self.config.batch_size
        sums = []
        for numbers in self.validation.order(0, 0, size)[: max(1, limit // size)]:
            batch = self.validation.batch(numbers, rng=random.Random(0), distractors=(distractors,))
            with self.accelerator.autocast():
                terms = forward(network, self.model, self.targets, batch.to(self.accelerator.device))
            sums.append({name: float(value) for name, value in terms.items()})
        network.train()
        return means(sums)

    def save(self) -> None:
        """Write everything that going on needs, atomically."""
        state = {
            "step": self.step,
            "config": asdict(self.config),
            "network": self.accelerator.unwrap_model(self.network).state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        }
        save_state(self.out, state)

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`, if there is one; return whether there was.

        Raises:
            CheckpointError: If it was made with other settings than these.
        """
        state = load_state(self.out, asdict(self.config), device=self.accelerator.device)
        if state is None:
            return False
        self.accelerator.unwrap_model(self.network).load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"].cpu())
        self.step = int(state["step"])
        return True
