"""How things look: paragraphs and tables for people, JSON for programs.

Texts come from documents, so none of them is ever read as markup. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from parametric_memory.types import Answer, Atom, Citation, Route, RoutedAtom

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from parametric_memory.store import Stats

#: Columns where there is no terminal to ask.
WIDTH = 100
#: Characters in a line of a folded column.
FOLDED = 16
#: Atoms of a route that were not taken, and are shown all the same.
REJECTED = 8


def stdout() -> Console:
    """Return the console of results."""
    return _console(error=False)


def stderr() -> Console:
    """Return the console of everything else: progress, hints, errors."""
    return _console(error=True)


def show_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    typer.echo(text)


def fail(message: str) -> None:
    """Print what went wrong, as one red paragraph on stderr."""
    stderr().print(f"error: {message}", style="red", soft_wrap=True)


def hint(message: str) -> None:
    """Print a remark on stderr."""
    stderr().print(message, style="dim", soft_wrap=True)


def show_answer(answer: Answer) -> None:
    """Print an answer, its citations, its atoms, and what it cost."""
    console = stdout()
    console.print(answer.text, style="bold", soft_wrap=True)
    for citation in answer.citations:
        console.print(f"\n{place(citation)}", style="dim", soft_wrap=True)
        console.print(f"“{' '.join(citation.text.split())}”", soft_wrap=True)
    if answer.route.selected:
        console.print(_routed(answer.route.selected))
    console.print(cost(answer), style="dim")


def show_atom(atom: Atom) -> None:
    """Print an atom with where it was read."""
    rows = [
        ("atom", " ".join(atom.statement.split())),
        ("kind", str(atom.kind)),
        ("read in", f"{atom.source or 'a text'}, characters {atom.span.start}–{atom.span.end}"),
        ("document", atom.document_id),
        *((name, str(value)) for name, value in atom.metadata.items()),
    ]
    show_table(("", ""), rows)


def show_route(route: Route) -> None:
    """Print which atoms were considered, which were taken, and why."""
    verdict = "the memory abstains" if route.abstained else f"{len(route.selected)} of these answer"
    console = stdout()
    console.print(f"confidence {route.confidence:.2f} against threshold {route.threshold:.2f}: {verdict}")
    shown = [*route.selected, *route.rejected[:REJECTED]]
    if shown:
        console.print(_routed(shown, taken=len(route.selected)))
    if route.timings:
        console.print(_stages(route.timings), style="dim")
    if len(route.rejected) > REJECTED:
        hint(f"{len(route.rejected) - REJECTED} more were considered; --json has all of them")


def show_stats(stats: Stats) -> None:
    """Print how much a memory holds."""
    rows = [
        ("folder", str(stats.path)),
        ("documents", f"{stats.documents:,}"),
        ("atoms", f"{stats.atoms:,}"),
        *((f"  {kind}", f"{count:,}") for kind, count in sorted(stats.kinds.items())),
        ("texts", _size(stats.text_bytes)),
        ("keys", _size(stats.key_bytes)),
        ("codes", _size(stats.code_bytes)),
        ("database on disk", _size(stats.database_bytes)),
        (f"{stats.index} index on disk", _size(stats.index_bytes)),
    ]
    show_table(("", ""), rows)


def show_table(
    names: Sequence[str], rows: Sequence[Sequence[str]], *, cut: str | None = None, fold: str | None = None
) -> None:
    """Print rows in columns.

    The column `cut` takes what width is left, and its cells end there; the cells of `fold` are narrow, and go on in the
    next line.
    """
    table = _table(wide=cut is not None)
    table.show_header = any(names)
    for name in names:
        if name == cut:
            table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1)
        elif name == fold:
            table.add_column(name, overflow="fold", max_width=FOLDED)
        else:
            table.add_column(name, overflow="fold", no_wrap=fold is not None)
    for row in rows:
        table.add_row(*row)
    stdout().print(table)


def place(citation: Citation) -> str:
    """Return where a citation stands, in words."""
    return f"{citation.source or 'a text'}, characters {citation.span.start}–{citation.span.end}"


def cost(answer: Answer) -> str:
    """Return what an answer cost, in words."""
    usage = answer.usage
    return (
        f"{answer.mode}: {usage.prompt_tokens} prompt tokens, {usage.knowledge_tokens} of them knowledge; "
        f"{_stages(answer.timings)}"
    )


def _stages(timings: Mapping[str, float]) -> str:
    stages = ", ".join(f"{name} {ms:.0f}" for name, ms in timings.items())
    return f"{sum(timings.values()):.0f} ms" + (f" ({stages})" if stages else "")


def _routed(atoms: Sequence[RoutedAtom], *, taken: int | None = None) -> Table:
    """Return atoms with scores; with `taken`, the first so many are ticked and the reasons are given."""
    table = _table()
    numbers = ("score", *(("cosine", "BM25") if taken is not None else ()), "share")
    for name in (*numbers, *(("", "because") if taken is not None else ())):
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    table.add_column("atom", ratio=1)
    for place_, routed in enumerate(atoms):
        share = "" if routed.share is None else f"{routed.share:.0%}"
        why = () if taken is None else ("✓" if place_ < taken else "", routed.reason)
        own = () if taken is None else (_number(routed.dense, ".2f"), _number(routed.lexical, ".1f"))
        style = "dim" if taken is not None and place_ >= taken else ""
        table.add_row(f"{routed.score:.2f}", *own, share, *why, _plain(routed.atom.statement), style=style)
    return table


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _table(*, wide: bool = True) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(box=SIMPLE_HEAD, show_edge=False, expand=wide, pad_edge=False, header_style="bold")


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(" ".join(text.split()))


def _console(*, error: bool) -> Console:
    from rich.console import Console

    console = Console(stderr=error, markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH
    return console


def _size(count: int) -> str:
    size, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
