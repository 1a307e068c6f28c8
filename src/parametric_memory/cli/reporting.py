"""`pmem report`: the pages of runs, made anew from their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parametric_memory.cli.printing import stdout


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of `pmem eval`, or JSON kept of them.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Takes report.md and results.json, one pair per setting.")
    ] = None,
    docs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder whose index.md has sections to fill in, with pictures.")
    ] = None,
    readme: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --docs: a page that gets the short table.")
    ] = None,
    probes: Annotated[Path | None, typer.Option(metavar="DIR", help="With --docs: folder of `pmem probe`.")] = None,
    bench: Annotated[Path | None, typer.Option(metavar="FILE", help="With --docs: bench.json of `pmem bench`.")] = None,
    distillation: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --docs: results.json of runs/distillation.py.")
    ] = None,
) -> None:
    """Make the figures and the pages of runs anew. No model is loaded."""
    if out is None and docs is None:
        raise typer.BadParameter("say where to write: --out DIR, --docs DIR, or both")
    from parametric_memory.evaluation.report import read_results, write_benchmarks, write_reports

    results = read_results(runs)
    written = write_reports(results, out) if out else []
    if docs:
        named = {"probes": probes, "bench": bench, "distillation": distillation}
        extras = {name: path for name, path in named.items() if path}
        written += write_benchmarks(results, docs, extras=extras, readme=readme, sources=runs)
    for path in written:
        stdout().print(f"wrote {path}", soft_wrap=True)
