"""Commands that look at what a memory holds. None of them loads a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parametric_memory.cli.exits import Exit
from parametric_memory.cli.memory import open_store
from parametric_memory.cli.options import AsJson, ConfigFile, Filter, Folder, UserId, filters_of
from parametric_memory.cli.printing import fail, hint, show_atom, show_json, show_stats, show_table, stdout
from parametric_memory.cli.records import event_record, stats_record

AtomId = Annotated[str, typer.Argument(metavar="ID", help="Of an atom, as `pmem list` shows it.", show_default=False)]


def list_atoms(
    memory: Folder = Path("memory"),
    config: ConfigFile = None,
    user_id: UserId = None,
    filters: Filter = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    offset: Annotated[int, typer.Option(min=0, help="Leave out the first so many.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List the atoms, in the order of their documents."""
    scope = filters_of(filters, user_id=user_id)
    with open_store(memory, config=config) as store:
        atoms = store.atoms(filters=scope or None, limit=limit + 1, offset=offset)
    shown, more = atoms[:limit], len(atoms) > limit
    if as_json:
        show_json({"results": [atom.record() for atom in shown], "more": more})
        return
    rows = [(atom.id, str(atom.kind), atom.source, " ".join(atom.statement.split())) for atom in shown]
    show_table(("id", "kind", "source", "atom"), rows, cut="atom", fold="source")
    if more:
        hint(f"there are more: --offset {offset + limit}, or a higher --limit")


def get(atom_id: AtomId, memory: Folder = Path("memory"), config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show one atom."""
    with open_store(memory, config=config) as store:
        atom = store.get(atom_id)
    if as_json:
        show_json(atom.record())
    else:
        show_atom(atom)


def history(
    atom_id: AtomId, memory: Folder = Path("memory"), config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Show what happened to an atom, oldest first."""
    with open_store(memory, config=config) as store:
        events = store.history(atom_id)
    if as_json:
        show_json({"results": [event_record(event) for event in events]})
        return
    rows = [(f"{e.time:%Y-%m-%d %H:%M:%S}", str(e.change), e.old or "", e.new or "") for e in events]
    show_table(("time (UTC)", "event", "old", "new"), rows)


def stats(memory: Folder = Path("memory"), config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show how much the memory holds."""
    with open_store(memory, config=config) as store:
        found = store.stats()
    if as_json:
        show_json(stats_record(found))
    else:
        show_stats(found)


def verify(memory: Folder = Path("memory"), config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check every checksum, and the key index against the database; exits with 1 if anything is wrong."""
    with open_store(memory, config=config) as store:
        problems, held = list(store.verify()), store.stats()
    if as_json:
        show_json({"ok": not problems, "problems": problems, "documents": held.documents, "atoms": held.atoms})
    elif not problems:
        stdout().print(f"nothing is wrong: {held.documents} documents, {held.atoms} atoms")
    for problem in problems if not as_json else ():
        fail(problem)
    if problems:
        raise typer.Exit(Exit.FAILED)
