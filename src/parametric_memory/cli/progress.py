"""Bars on stderr with counts and the time that is left; where there is no terminal, a line now and then.

Short work says nothing there, so that the output of a script stays what the script prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from parametric_memory.cli.printing import hint, stderr

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds between two lines, and before the first one.
EVERY_S = 60.0


class Show(Protocol):
    """Shows how far the work is."""

    def __call__(self, what: str, done: float, total: float, counts: str = "") -> None:
        """Move the bar of `what` to `done` of `total`; `counts` stands beside it. Another `what` begins another bar."""
        ...


@contextmanager
def progress() -> Iterator[Show]:
    """Give the function that shows a bar, which is gone after the block; without a terminal, it prints lines."""
    if not stderr().is_terminal:
        yield _lines()
        return
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


def _lines() -> Show:
    """Return what prints how far the work is, at most once in `EVERY_S` seconds."""
    told = monotonic()
    begun: dict[str, tuple[float, float]] = {}

    def show(what: str, done: float, total: float, counts: str = "") -> None:
        nonlocal told
        now = monotonic()
        start, before = begun.setdefault(what, (now, done))
        if now - told < EVERY_S:
            return
        told = now
        left = f", {(now - start) * (total - done) / (done - before) / 60:.0f} min left" if done > before else ""
        hint(f"{what}: {counts or f'{done / total:.0%}'}{left}")

    return show


def _bar() -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=stderr(), transient=True)
