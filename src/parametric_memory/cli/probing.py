"""`pmem probe`: what a score over a set does not show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from parametric_memory.cli.memory import open_memory
from parametric_memory.cli.options import AsJson, Base, CheckpointFolder, ConfigFile, DocumentCheckpoint
from parametric_memory.cli.printing import show_json, show_table, stdout
from parametric_memory.cli.progress import progress


def probe(  # noqa: PLR0913, PLR0917 - one option each
    out: Annotated[Path, typer.Option(metavar="DIR", help="Takes NAME.json for each probe, and probes.md.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="off_topic, counterfactual, length, stored, two_hop, paraphrase, disagreement, niah; all by default.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of files of questions; niah needs none.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Questions of each sample.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    lengths: Annotated[
        str, typer.Option(metavar="N,N", help="Tokens that documents are padded to: length; of haystacks: niah.")
    ] = "128,512,2048,8192",
    stored: Annotated[str, typer.Option(metavar="N,N", help="Atoms that memories hold: stored.")] = "100,1000,10000",
    base: Base = None,
    checkpoint: CheckpointFolder = None,
    document_checkpoint: DocumentCheckpoint = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Probe a memory: harm, conflict, length, growth, hops, wordings, disagreement, needles in haystacks."""
    from parametric_memory.evaluation.probes import run_probes

    with progress() as show:
        results = run_probes(
            names or [], data, out=out, limit=limit, seed=seed, lengths=_numbers(lengths), stored=_numbers(stored),
            open_memory=lambda path: open_memory(
                path, base=base, checkpoint=checkpoint, config=config, documents=document_checkpoint, make=True
            ),
            progress=lambda what, done, total: show(what, done, total, f"{done}/{total}"),
        )  # fmt: skip
    if as_json:
        show_json(results)
    else:
        for name, found in results.items():
            _show(name, found)
        stdout().print(f"wrote {out}: probes.md, and {', '.join(f'{name}.json' for name in results)}", soft_wrap=True)


def _numbers(written: str) -> list[int]:
    try:
        return [int(number.strip().replace("_", "")) for number in written.split(",") if number.strip()]
    except ValueError as error:
        raise typer.BadParameter(f"{written!r} is not a list of numbers, such as 100,1000") from error


def _show(name: str, found: dict[str, Any]) -> None:
    from parametric_memory.evaluation.probes.findings import cell, columns

    stdout().print(f"{name}: {found['measured']}", soft_wrap=True)
    names = columns(found["rows"])
    show_table(names, [[cell(row.get(one)) for one in names] for row in found["rows"]])
