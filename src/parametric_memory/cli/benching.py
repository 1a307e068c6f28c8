"""`pmem bench`: what a memory costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parametric_memory.cli.options import AsJson, Base, CheckpointFolder, ConfigFile
from parametric_memory.cli.printing import show_json, show_table, stdout
from parametric_memory.cli.progress import progress
from parametric_memory.config import MemoryConfig, load_config

if TYPE_CHECKING:
    from parametric_memory.evaluation.bench import Opener


def bench(  # noqa: PLR0913, PLR0917 - one option each
    out: Annotated[Path, typer.Option(metavar="DIR", help="Takes bench.json, bench.md and the growing store.")],
    parts: Annotated[
        str, typer.Option(metavar="A,B", help="What to measure.")
    ] = "stages,bytes,memory,growth,threads,imports",
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Questions as JSON lines; repeatable. A made-up text without."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Questions, with all their documents.")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="How often everything is measured.")] = 3,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 16,
    sizes: Annotated[str, typer.Option(metavar="N,M", help="Atoms of the growing store.")] = "1000,10000,100000",
    indexes: Annotated[str, typer.Option(metavar="A,B", help="Key indexes of the growing store.")] = "chroma,numpy",
    threads: Annotated[str, typer.Option(metavar="N,M", help="Threads that ask at once.")] = "1,2,4,8",
    random_weights: Annotated[
        Path | None,
        typer.Option(metavar="CONFIG", help="A config.json, or its folder: that architecture without its weights."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps; the best there is by default.")] = None,
    dtype: Annotated[str | None, typer.Option(help="bfloat16 on a GPU and float32 elsewhere by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample, and of what is made up.")] = 0,
    base: Base = None,
    checkpoint: CheckpointFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Measure time by stage beside RAG and the plain base, bytes, memory, growth, threads and starts.

    Parts that were measured before into the same folder stay; a growing store goes on from where it is.
    """
    counts, atoms = _numbers(threads, "--threads"), _numbers(sizes, "--sizes")
    settings = load_config(config) if config else MemoryConfig()
    from parametric_memory.evaluation.bench import BenchConfig
    from parametric_memory.evaluation.bench import bench as run

    how = BenchConfig(
        limit=limit, repeats=repeats, tokens=tokens, sizes=atoms, indexes=_names(indexes), threads=counts, seed=seed
    )
    opener = _opener(random_weights, base, checkpoint, settings, device, dtype)
    with progress() as show:
        results = run(
            out, opener=opener, parts=_names(parts), data=data or (), config=how,
            progress=lambda what, done, total: show(what, done, total, f"{done}/{total}"),
        )  # fmt: skip
    if as_json:
        show_json(results)
    else:
        show_aims(results)
        stdout().print(f"wrote {out}: bench.md, bench.json", soft_wrap=True)


def show_aims(results: dict[str, Any]) -> None:
    """Print what there are aims for."""
    rows = [
        (aim["measure"], f"{aim['value']:.3g}", f"≤ {aim['aim']:g}", "met" if aim["met"] else "missed")
        for aim in results["aims"]
    ]
    show_table(("measure", "value", "aim", ""), rows)


def _opener(
    random_weights: Path | None,
    base: str | None,
    checkpoint: Path | None,
    settings: MemoryConfig,
    device: str | None,
    dtype: str | None,
) -> Opener:
    """Return what opens the memory to measure."""
    from parametric_memory.backends import BUILTIN_BASE
    from parametric_memory.evaluation.bench import Pretrained, RandomWeights

    if random_weights is None:
        return Pretrained(base=base or BUILTIN_BASE, checkpoint=checkpoint, config=settings, device=device, dtype=dtype)
    if base or checkpoint:
        raise typer.BadParameter("--random-weights has no weights to load: leave out --base and --checkpoint")
    return RandomWeights(architecture=random_weights, config=settings, device=device, dtype=dtype)


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())


def _numbers(listed: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(name.replace("_", "")) for name in _names(listed))
    except ValueError as error:
        raise typer.BadParameter(f"{option} is {listed!r}, expected whole numbers such as 1000,10000") from error
