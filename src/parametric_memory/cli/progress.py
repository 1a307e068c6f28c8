"""Bars on stderr with counts and the time that is left; nothing is shown where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from parametric_memory.cli.printing import stderr


class Advance(Protocol):
    """Moves a bar to a place, and says beside it what was counted."""

    def __call__(self, completed: float, counts: str = "") -> None:
        """Move it to `completed` of the total."""
        ...


@contextmanager
def progress(what: str, total: float) -> Iterator[Advance]:
    """Show a bar for the length of the block, and give the function that moves it."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = stderr()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, counts="")

        def advance(completed: float, counts: str = "") -> None:
            bar.update(task, completed=completed, counts=counts)

        yield advance
