"""`pmem train`: compilers for a base model, token routers for all of them, and readers to compare them with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from parametric_memory.cli.options import Base
from parametric_memory.cli.printing import show_table, stdout
from parametric_memory.cli.progress import Show, progress

if TYPE_CHECKING:
    from parametric_memory.training import TrainingConfig

app = typer.Typer(no_args_is_help=True, help="Train a compiler, a token router, or a reader to compare with.")


@app.callback()
def train() -> None:
    """Train a compiler, a token router, or a reader to compare with."""


@app.command()
def hypernetwork(  # noqa: PLR0913, PLR0917 - one option each
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder of files of questions, or what `corpus` made.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Takes the log, the state to resume from, the checkpoint.")],
    base: Base = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Stages, weights of the terms, and all other settings.")
    ] = None,
    init: Annotated[Path | None, typer.Option(metavar="DIR", help="Begin with this checkpoint's weights.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps, shared out over the stages.")] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Questions that are drawn from; all by default.")] = None,
    synthetic: Annotated[int | None, typer.Option(min=0, help="Questions about a synthetic world beside them.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Questions a step.")] = None,
    compiler: Annotated[
        Literal["hypernetwork", "document"] | None,
        typer.Option(help="Of atoms (by default), or of documents, chunk by chunk.", show_default=False),
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Adapted layers, counted from the last.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width of a code.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Of a document compiler's adapters.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the order, the distractors and the initial weights.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from what --out holds.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say memory, speed and time to finish; train not.")
    ] = False,
) -> None:
    """Train a hypernetwork on questions and answers. Stop it and start it again: it goes on where it was."""
    from parametric_memory.backends import BUILTIN_BASE
    from parametric_memory.config import read_toml
    from parametric_memory.evaluation.metrics import token_f1
    from parametric_memory.training import TrainingConfig, train_hypernetwork

    _use(threads)
    given = _given(
        steps=steps, examples=examples, synthetic=synthetic, batch_size=batch_size, compiler=compiler,
        layers=layers, width=width, rank=rank, seed=seed,
    )  # fmt: skip
    config = replace(read_toml(recipe, TrainingConfig) if recipe else TrainingConfig(), **given)
    if dry_run:
        _estimate(data, out, base or BUILTIN_BASE, config, init)
        return
    with progress() as show:
        folder = train_hypernetwork(
            data, out, base or BUILTIN_BASE, config, init=init, score=token_f1, resume=resume,
            progress=partial(_show, show, config.total_steps),
        )  # fmt: skip
    stdout().print(f"wrote {folder}", soft_wrap=True)


@app.command()
def corpus(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder of *.jsonl or *.jsonl.gz with questions.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Takes the corpus, gzipped.")],
    synthetic: Annotated[int, typer.Option(min=0, help="Questions about a synthetic world beside them.")] = 4000,
    scale: Annotated[float, typer.Option(min=0.0, help="Multiplies how much is taken of each file.")] = 1.0,
    router: Annotated[bool, typer.Option("--router", help="Take what a token router learns from: more.")] = False,
    seed: Annotated[int, typer.Option(help="Of the synthetic world.")] = 0,
) -> None:
    """Read and align questions once, so that another machine can train on the file alone."""
    from parametric_memory.training.data import DEFAULT_MIXTURE, SPAN_MIXTURE
    from parametric_memory.training.recipe import gather

    mixture = SPAN_MIXTURE if router else DEFAULT_MIXTURE
    made = gather(data, synthetic=synthetic, seed=seed, scale=scale, mixture=mixture)
    made.save(out)
    counts = f"{len(made.train):,} questions, {len(made.validation):,} held out, {len(made.texts):,} sentences"
    stdout().print(f"wrote {out}: {counts}", soft_wrap=True)


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


@app.command()
def router(  # noqa: PLR0913, PLR0917 - one option each
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder of files of questions, or what `corpus` made.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Takes the log, the state to resume from, the router.")],
    encoder: Annotated[
        str | None, typer.Option("--key-encoder", metavar="NAME", help="What it goes on from: the built-in one.")
    ] = None,
    init: Annotated[Path | None, typer.Option(metavar="DIR", help="Begin with this token router's weights.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Questions that are drawn from; all by default.")] = None,
    synthetic: Annotated[int | None, typer.Option(min=0, help="Questions about a synthetic world beside them.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Questions a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0, help="At the end of the warm-up.")] = None,
    frozen: Annotated[int | None, typer.Option(min=0, help="The encoder's lowest layers, which stay.")] = None,
    reserve: Annotated[
        bool, typer.Option("--reserve", help="Leave a fifth of the documents to compilers that learn from it.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of the questions, their atoms and the initial weights.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from what --out holds.")] = True,
) -> None:
    """Train the token router, which serves every base model. Stop it and start it again: it goes on where it was."""
    from parametric_memory.backends import BUILTIN_KEY_ENCODER
    from parametric_memory.training import TokenRouterConfig, train_token_router

    _use(threads)
    config = TokenRouterConfig(
        **_given(
            steps=steps, examples=examples, synthetic=synthetic, batch_size=batch_size, learning_rate=learning_rate,
            frozen=frozen, reserve=reserve, seed=seed,
        )
    )  # fmt: skip
    with progress() as show:
        folder = train_token_router(
            data, out, encoder or BUILTIN_KEY_ENCODER, config, init=init, resume=resume,
            progress=partial(_show, show, config.steps),
        )  # fmt: skip
    stdout().print(f"wrote {folder}", soft_wrap=True)


@app.command()
def world(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Takes the questions: *.jsonl, or *.jsonl.gz.")],
    questions: Annotated[int, typer.Option(min=1, help="How many.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    split: Annotated[
        Literal["train", "dev"], typer.Option(help="Dev has other names and other wordings of questions.")
    ] = "train",
) -> None:
    """Write questions about a world that does not exist, to train on or to measure with."""
    from parametric_memory.training.world import world_rows, write_rows

    written = write_rows(out, world_rows(seed, questions, split))
    stdout().print(f"wrote {out}: {written:,} questions", soft_wrap=True)


def _estimate(data: Path, out: Path, base: str, config: TrainingConfig, init: Path | None) -> None:
    """Print what a run will take."""
    from parametric_memory.training import estimate, prepare

    with progress() as show:
        found = estimate(
            prepare(data, out, base, config, init=init),
            progress=lambda done, total: show("trying the stages", done, total, f"{done}/{total}"),
        )
    rows = [(one.name, f"{one.steps:,}", f"{one.seconds:.2f}", f"{one.per_second:.1f}") for one in found.stages]
    show_table(["stage", "steps", "seconds a step", "examples a second"], rows)
    stdout().print(
        f"{found.parameters / 1e6:.1f} M parameters, {found.exercises:,} exercises, "
        f"{found.memory / 2**30:.1f} GiB at most, {found.seconds / 3600:.1f} hours to finish"
    )


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
    measures = {"nll": "{:.2f}", "first": "{:.0%}", "hit": "{:.0%}"}
    told = [f"{name} {form.format(means[name])}" for name, form in measures.items() if name in means]
    counts = ", ".join([f"{step}/{steps} steps", *told])
    show("training", step, steps, counts)
