"""The whole of `pmem train hypernetwork`, read top to bottom: data, base model, network, loop, checkpoint."""

from __future__ import annotations

import logging
import platform
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from parametric_memory.adapters.spec import spec_for
from parametric_memory.backends import BUILTIN_BASE, HuggingFaceBackend
from parametric_memory.errors import TrainingError
from parametric_memory.hypernetwork.checkpoint import Checkpoint, save_checkpoint
from parametric_memory.hypernetwork.network import AtomHypernetwork, calibrate, config_for
from parametric_memory.training.batches import ExampleBatches
from parametric_memory.training.data import read_corpus
from parametric_memory.training.loop import Trainer, TrainingConfig
from parametric_memory.training.run import fast_dtype

logger = logging.getLogger(__name__)

CALIBRATION_PROMPTS = 128


def train_hypernetwork(
    *,
    data: Path,
    out: Path,
    base: str = BUILTIN_BASE,
    config: TrainingConfig | None = None,
    resume: bool = True,
    progress: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Path:
    """Train a hypernetwork for a base model and write its checkpoint.

    A run that was stopped goes on from its last save when it is started again with the same settings.

    Args:
        data: Folder of question answering files (see `training.data`).
        out: Takes the log, the resumable state, cached states of the base model (a few GB), and ``checkpoint/``.
        base: The built-in alias, a local folder, or a hub id of a Llama-like model.
        config: All other settings.
        resume: Go on from what `out` holds; else start anew.
        progress: Called with the step and the mean terms at every log line.

    Returns:
        The folder of the checkpoint.

    Raises:
        TrainingError: If the data cannot be used, a loss is not finite, or `out` holds a run with other settings.
    """
    config = config or TrainingConfig()
    torch.manual_seed(config.seed)
    corpus = read_corpus(data)
    backend = HuggingFaceBackend.from_pretrained(base, dtype=fast_dtype())
    model, tokenizer = backend.model, backend.tokenizer
    model.set_attn_implementation("eager")  # the fastest at these lengths, forward and backward
    spec = spec_for(model, base, last=config.layers)
    network = AtomHypernetwork(config_for(model, layers=config.layers, width=config.width))
    made = {"model": model, "tokenizer": tokenizer, "config": network.config, "prompt": config.prompt}
    held_out = random.Random(0).sample(corpus.validation, min(1024, len(corpus.validation)))
    validation = ExampleBatches(corpus, held_out, cache=out / "cache" / "validation", **made)
    train = ExampleBatches(corpus, corpus.train, cache=out / "cache" / "train", limit=config.examples, **made)
    logger.info("training on %d questions, validating on %d", len(train), len(validation))
    if not len(train) or not len(validation):
        raise TrainingError(
            f"training on {data}: {len(train)} questions to train on and {len(validation)} to validate on, after whole "
            "documents were held out; add documents with questions whose answers stand in one of their sentences"
        )

    trainer = Trainer(network, model, spec.targets, train=train, validation=validation, config=config, out=out)
    if not (resume and trainer.resume()):
        some = random.Random(config.seed).sample(train.questions, min(CALIBRATION_PROMPTS, len(train.questions)))
        prompts, answers = ([torch.tensor(ids) for ids in column] for column in zip(*some, strict=True))
        calibrate(network, model, spec.targets, prompts, answers)
        trainer.begin()
    trainer.run(progress=progress)
    return write_checkpoint(trainer, Checkpoint(trainer.averaged_network(), spec, config.prompt), out / "checkpoint")


def write_checkpoint(trainer: Trainer, checkpoint: Checkpoint, folder: Path) -> Path:
    """Write the averaged network with a card that says how it was trained."""
    scores = {str(count): trainer.validate(count) for count in (0, 3)}
    training: dict[str, Any] = {
        "config": asdict(trainer.config),
        "questions": len(trainer.train),
        "validation": scores,
        "machine": f"{platform.machine()}, {platform.processor() or platform.system()}, torch {torch.__version__}",
    }
    made = Checkpoint(checkpoint.network, checkpoint.spec, checkpoint.prompt, training=training)
    save_checkpoint(made, folder, card=_card(made, scores))
    return folder


def _card(checkpoint: Checkpoint, scores: Mapping[str, Mapping[str, float]]) -> str:
    rows = "\n".join(
        f"| {count} | {s['nll']:.3f} | {s['first']:.3f} | {s['hit']:.3f} | {s['start']:.3f} |"
        for count, s in scores.items()
    )
    steps, batch = checkpoint.training["config"]["steps"], checkpoint.training["config"]["batch_size"]
    return f"""# Atom hypernetwork for {checkpoint.spec.base_model}

Turns an atom (one sentence) into a micro-LoRA of `{checkpoint.spec.targets[0]}` … `{checkpoint.spec.targets[-1]}`.
Base weights: fingerprint `{checkpoint.spec.base_fingerprint}`. Made by `pmem train hypernetwork`.

Trained for {steps} steps of {batch} questions over {checkpoint.training["questions"]} questions
({checkpoint.training["machine"]}). On documents that were held out, by the number of neighbouring sentences beside the
right one:

| distractors | answer NLL | first token | most probable token in the answer | most probable start right |
|---|---|---|---|---|
{rows}
"""
