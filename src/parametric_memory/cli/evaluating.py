"""`pmem eval`: systems beside one another on your own questions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from parametric_memory.cli.memory import open_memory
from parametric_memory.cli.options import AsJson, Base, CheckpointFolder, ConfigFile, DocumentCheckpoint
from parametric_memory.cli.printing import show_json, show_table, stdout
from parametric_memory.cli.progress import progress


def evaluate(  # noqa: PLR0913, PLR0917 - one option each
    data: Annotated[list[Path], typer.Option(metavar="FILE", help="Questions as JSON lines; repeatable.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Takes results.json, report.md and answers.jsonl.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="More files of questions.")] = None,
    systems: Annotated[str, typer.Option(metavar="A,B", help="What to compare.")] = "closed_book,rag_dense,atoms",
    limit: Annotated[int | None, typer.Option(min=1, help="Questions per file; all by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    setting: Annotated[
        Literal["own", "corpus"], typer.Option(help="Ask of a question's own document, or of all of them.")
    ] = "own",
    time: Annotated[int, typer.Option(min=0, help="Questions per file that are asked alone, for the times.")] = 20,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer side by side; on a CPU, one a core.")] = 1,
    base: Base = None,
    checkpoint: CheckpointFolder = None,
    document_checkpoint: DocumentCheckpoint = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Measure systems on questions of yours. A run that was stopped goes on where it was."""
    from parametric_memory.evaluation import evaluate as run

    names = [name.strip() for name in systems.split(",") if name.strip()]
    with progress() as show:
        results = run(
            [*data, *(more or ())], names, out=out, limit=limit, seed=seed, setting=setting, timed=time,
            workers=workers,
            open_memory=partial(
                open_memory, base=base, checkpoint=checkpoint, config=config, documents=document_checkpoint, make=True
            ),
            progress=lambda what, done, total: show(what, done, total, f"{done}/{total}"),
        )  # fmt: skip
    if as_json:
        show_json(results)
    else:
        show_figures(results)
        stdout().print(f"wrote {out}: report.md, results.json, answers.jsonl", soft_wrap=True)


def show_figures(results: dict[str, Any]) -> None:
    """Print one table per dataset, with the differences in F1 from the better plain RAG arm where there is one."""
    for name, dataset in results["datasets"].items():
        stdout().print(f"{name}: {dataset['questions']} questions, {dataset['answerable']} of them answerable")
        rag = dataset["rag"]
        heads = ["system", "F1", *([f"F1 − {rag}"] if rag else []), "EM", "contains", "knowledge tokens", "ms"]
        rows = [(system, *_cells(found, rag)) for system, found in dataset["systems"].items()]
        show_table(heads, rows)


def _cells(found: dict[str, Any], rag: str | None) -> list[str]:
    ms = found["p50_ms"]
    f1, *others = (f"{found[measure]:.3f}" for measure in ("f1", "em", "containment"))
    against = [_against(found["against"].get(rag, {}).get("f1"))] if rag else []
    return [f1, *against, *others, f"{found['knowledge_tokens']:.0f}", "" if ms is None else f"{ms:.0f}"]


def _against(difference: dict[str, Any] | None) -> str:
    if difference is None:
        return ""
    ends = difference["interval"]
    between = f" [{ends[0]:+.2f}, {ends[1]:+.2f}]" if ends else ""
    return f"{difference['mean']:+.2f}{between}"
