"""Bars on stderr with counts and the time that is left; nothing is shown where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from parametric_memory.cli.printing import stderr

if TYPE_CHECKING:
    from rich.progress import Progress


class Show(Protocol):
    """Shows how far the work is."""

    def __call__(self, what: str, done: float, total: float, counts: str = "") -> None:
        """Move the bar of `what` to `done` of `total`; `counts` stands beside it. Another `what` begins another bar."""
        ...


@contextmanager
def progress() -> Iterator[Show]:
    """Give the function that shows a bar, which is gone after the block."""
    bar = _bar()
    current: str | None = None

    def show(what: str, done: float, total: float, counts: str = "") -> None:
        nonlocal current
        if what != current:
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(what, total=total, counts=counts)
            current = what
            # Not earlier: models that load before the first call have a line of their own.
            bar.start()
        bar.update(bar.task_ids[0], completed=done, total=total, counts=counts)

    try:
        yield show
    finally:
        bar.stop()


def _bar() -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = stderr()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
