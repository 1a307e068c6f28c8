"""`pmem train`: compilers for a base model, and readers to compare them with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from parametric_memory.cli.options import Base
from parametric_memory.cli.printing import stdout
from parametric_memory.cli.progress import Show, progress

app = typer.Typer(no_args_is_help=True, help="Train a compiler, or a reader to compare it with.")


@app.callback()
def train() -> None:
    """Train a compiler, or a reader to compare it with."""


@app.command()
def hypernetwork(  # noqa: PLR0913, PLR0917 - one option each
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder of *.jsonl or *.jsonl.gz with questions.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Takes the log, the state to resume from, the checkpoint.")],
    base: Base = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Questions that are drawn from; all by default.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Questions a step.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Adapted layers, counted from the last.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width of a code.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0, help="At the end of the warm-up.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the order, the distractors and the initial weights.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from what --out holds.")] = True,
) -> None:
    """Train a hypernetwork on questions and answers. Stop it and start it again: it goes on where it was."""
    from parametric_memory.backends import BUILTIN_BASE
    from parametric_memory.training import TrainingConfig, train_hypernetwork

    _use(threads)
    config = TrainingConfig(
        **_given(
            steps=steps, examples=examples, batch_size=batch_size, layers=layers, width=width,
            learning_rate=learning_rate, seed=seed,
        )
    )  # fmt: skip
    with progress() as show:
        folder = train_hypernetwork(
            data=data, out=out, base=base or BUILTIN_BASE, config=config, resume=resume,
            progress=partial(_show, show, config.steps),
        )  # fmt: skip
    stdout().print(f"wrote {folder}", soft_wrap=True)


@app.command()
def reader(  # noqa: PLR0913, PLR0917 - one option each
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder of *.jsonl or *.jsonl.gz with questions.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Takes the log, the state to resume from, the reader.")],
    base: Base = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Questions; as many as the steps use by default.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Questions a step.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Adapted layers, counted from the last.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the LoRA.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0, help="At the end of the warm-up.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the questions, their order and the initial weights.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from what --out holds.")] = True,
) -> None:
    """Tune a LoRA that answers from the text in the prompt, to compare with. Started again, it goes on where it was."""
    from parametric_memory.backends import BUILTIN_BASE
    from parametric_memory.evaluation.metrics import token_f1
    from parametric_memory.training import ReaderConfig, train_reader

    _use(threads)
    config = ReaderConfig(
        **_given(
            steps=steps, examples=examples, batch_size=batch_size, layers=layers, rank=rank,
            learning_rate=learning_rate, seed=seed,
        )
    )  # fmt: skip
    with progress() as show:
        folder = train_reader(
            data=data, out=out, base=base or BUILTIN_BASE, config=config, score=token_f1, resume=resume,
            progress=partial(_show, show, config.steps),
        )  # fmt: skip
    stdout().print(f"wrote {folder}", soft_wrap=True)


def _use(threads: int | None) -> None:
    """Let torch use so many threads of the processor; as many as it likes, if None."""
    import torch

    if threads:
        torch.set_num_threads(threads)


def _given(**settings: Any) -> dict[str, Any]:
    """Return the settings that were given; the others keep the defaults of their configuration."""
    return {name: value for name, value in settings.items() if value is not None}


def _show(show: Show, steps: int, step: int, means: Mapping[str, float]) -> None:
    """Show a training run's progress."""
    counts = f"{step}/{steps} steps, nll {means['nll']:.2f}, first token {means['first']:.0%}"
    show("training", step, steps, counts)
