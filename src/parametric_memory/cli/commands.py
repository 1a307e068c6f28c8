"""The root of `pmem`: which commands there are, and how one that failed ends."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from parametric_memory import __version__
from parametric_memory.cli import (
    adding,
    asking,
    benching,
    calibrating,
    changing,
    evaluating,
    looking,
    probing,
    reporting,
    training,
)
from parametric_memory.cli.exits import Exit
from parametric_memory.cli.printing import fail
from parametric_memory.errors import ParametricMemoryError


class Commands(TyperGroup):
    """A group whose commands end in one paragraph and an exit code, not in a traceback."""

    def invoke(self, ctx: Any) -> Any:  # the type of a context differs between versions of typer
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            fail("interrupted; what was done before is kept")
            raise typer.Exit(Exit.INTERRUPTED) from error
        except (ParametricMemoryError, OSError) as error:
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            fail(str(error))
            raise typer.Exit(Exit.FAILED) from error


app = typer.Typer(
    name="pmem",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pmem {__version__}")
        raise typer.Exit


@app.callback()
def pmem(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Documents compiled into weights, and answers from them.

    A memory is a folder: `pmem add` makes it, `pmem ask` answers from it. The variables PMEM_MEMORY, PMEM_BASE,
    PMEM_CHECKPOINT and PMEM_CONFIG set the options of the same names.

    Exit codes:

    - 0: done
    - 1: an error, told on stderr
    - 2: a mistake in the arguments
    - 3: nothing in the memory answers the question
    - 4: some files could not be read, the rest was added
    - 130: interrupted; what was done is kept
    """


app.command()(adding.add)
app.command()(asking.ask)
app.command()(asking.explain)
app.command()(calibrating.calibrate)
app.command("list")(looking.list_atoms)
app.command()(looking.get)
app.command()(changing.delete)
app.command()(looking.history)
app.command()(looking.stats)
app.command()(looking.verify)
app.command()(changing.export)
app.add_typer(training.app, name="train")
app.command("eval")(evaluating.evaluate)
app.command()(probing.probe)
app.command()(benching.bench)
app.command()(reporting.report)
