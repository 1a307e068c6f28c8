"""The whole of `pmem train reader`, read top to bottom: data, base model, loop, PEFT folder with a card."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from parametric_memory.adapters.peft_format import export_peft
from parametric_memory.adapters.spec import spec_for
from parametric_memory.backends import BUILTIN_BASE, HuggingFaceBackend
from parametric_memory.config import GenerationConfig
from parametric_memory.errors import TrainingError
from parametric_memory.training.data import read_corpus
from parametric_memory.training.greedy import Score
from parametric_memory.training.reader_loop import ReaderConfig, ReaderTrainer
from parametric_memory.training.readings import Reading, readings
from parametric_memory.training.run import fast_dtype, this_machine
from parametric_memory.types import ComposedAdapter

logger = logging.getLogger(__name__)

#: Held-out questions that are answered greedily for the card.
ANSWERED = 100
GREEDY = GenerationConfig(max_new_tokens=32)


def train_reader(
    data: Path,
    out: Path,
    base: str = BUILTIN_BASE,
    config: ReaderConfig | None = None,
    *,
    score: Score | None = None,
    resume: bool = True,
    progress: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Path:
    """Tune a reader for a base model and write it as a PEFT folder.

    A run that was stopped goes on from its last save when it is started again with the same settings.

    Args:
        data: Folder of question answering files (see `training.data`).
        out: Takes the log, the resumable state, and ``reader/``.
        base: The built-in alias, a local folder, or a hub id of a Llama-like model.
        config: All other settings.
        score: Scores greedy answers to held-out questions for the card (`evaluation.metrics.token_f1`).
        resume: Go on from what `out` holds; else start anew.
        progress: Called with the step and the mean terms at every log line.

    Returns:
        The folder of the reader.

    Raises:
        TrainingError: If the data cannot be used, a loss is not finite, or `out` holds a run with other settings.
    """
    config = config or ReaderConfig()
    corpus = read_corpus(data)
    backend = HuggingFaceBackend.from_pretrained(base, dtype=fast_dtype())
    backend.model.set_attn_implementation("eager")  # the fastest at these lengths, forward and backward
    count = config.examples or config.steps * config.batch_size
    made: dict[str, Any] = {
        "tokenizer": backend.tokenizer,
        "prompt": config.prompt,
        "max_tokens": config.max_tokens,
        "seed": config.seed,
    }
    train = readings(corpus, corpus.train, count=count, alone=config.alone, **made)
    held_out = readings(corpus, corpus.validation, count=config.validation, alone=config.alone, **made)
    logger.info("tuning a reader on %d questions, validating on %d", len(train), len(held_out))
    if not train or not held_out:
        raise TrainingError(
            f"training on {data}: {len(train)} questions to train on and {len(held_out)} to validate on, after whole "
            "documents were held out; add documents with questions whose answers stand in them"
        )
    spec = spec_for(backend.model, base, last=config.layers)
    trainer = ReaderTrainer(backend.model, spec, train=train, validation=held_out, config=config, out=out)
    if not (resume and trainer.resume()):
        trainer.begin()
    trainer.run(progress=progress)
    folder = out / "reader"
    export_peft(trainer.adapter(), folder)  # at once: measuring takes a while
    kinds = (("gold sentence", 1.0), ("among others", 0.0))
    measures = []
    for text, alone in kinds:
        rows = readings(corpus, corpus.validation, count=config.validation, alone=alone, **made)
        measures += _measure(trainer, backend, text, rows, score)
    return write_reader(trainer, folder, measures)


@dataclass(frozen=True, slots=True)
class Measure:
    """How well the bare base model or the reader answers held-out questions from one kind of text.

    Attributes:
        text: What stands in the prompt.
        system: ``base`` or ``reader``.
        questions: How many.
        nll: Of the answers' tokens, in nats, the end of the turn included.
        first: Share of right first tokens.
        score: Mean score of greedy answers to the first `ANSWERED` of them; None if none was asked for.
    """

    text: str
    system: str
    questions: int
    nll: float
    first: float
    score: float | None


def _measure(
    trainer: ReaderTrainer, backend: HuggingFaceBackend, text: str, rows: Sequence[Reading], score: Score | None
) -> list[Measure]:
    batches = trainer.batches(rows)
    measures = []
    for system, adapter in (("base", None), ("reader", trainer.adapter())):
        terms = trainer.validate(batches, bare=adapter is None)
        mean = score and _answered(backend, rows[:ANSWERED], adapter, score)
        measures.append(Measure(text, system, len(rows), terms["nll"], terms["first"], mean))
    return measures


def _answered(
    backend: HuggingFaceBackend, rows: Sequence[Reading], adapter: ComposedAdapter | None, score: Score
) -> float:
    made = backend.generate([row.turns for row in rows], adapters=[adapter] * len(rows), config=GREEDY)
    return sum(score(one.text, row.example.answer) for one, row in zip(made, rows, strict=True)) / len(rows)


def write_reader(trainer: ReaderTrainer, folder: Path, measures: Sequence[Measure]) -> Path:
    """Write the reader with a card that says how it was tuned; return its folder."""
    machine = this_machine()
    training = {
        "config": asdict(trainer.config),
        "questions": len(trainer.train),
        "validation": [asdict(one) for one in measures],
        "machine": machine,
    }
    export_peft(trainer.adapter(), folder, provenance={"training": training})
    (folder / "README.md").write_text(_card(trainer, measures, machine), encoding="utf-8")
    return folder


def _card(trainer: ReaderTrainer, measures: Sequence[Measure], machine: str) -> str:
    rows = "\n".join(
        f"| {one.text} | {one.system} | {one.nll:.3f} | {one.first:.3f} | "
        f"{'–' if one.score is None else f'{one.score:.3f}'} |"
        for one in measures
    )
    spec, config = trainer.spec, trainer.config
    return f"""# Reader for {spec.base_model}

A LoRA of rank {config.rank} in `{spec.targets[0]}` … `{spec.targets[-1]}` that answers from the
text in the prompt, in few words: what answers from weights are compared with on equal terms of style.
Base weights: fingerprint `{spec.base_fingerprint}`. Made by `pmem train reader`.

Tuned for {config.steps} steps of {config.batch_size} questions over {len(trainer.train)} questions ({machine}). On
{measures[0].questions} questions about documents that were held out, by the text in the prompt (token F1 of greedy
answers on the first {min(ANSWERED, measures[0].questions)}):

| text | system | answer NLL | first token | token F1 |
|---|---|---|---|---|
{rows}
"""
