"""`pmem delete` and `pmem export`: atoms out of the memory, for good or as a PEFT adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parametric_memory.cli.exits import Exit
from parametric_memory.cli.memory import open_memory, open_store
from parametric_memory.cli.options import (
    AsJson,
    Base,
    CheckpointFolder,
    ConfigFile,
    Filter,
    Folder,
    UserId,
    filters_of,
)
from parametric_memory.cli.printing import fail, show_json, stdout


def delete(
    atom_ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Of atoms.", show_default=False)] = None,
    source: Annotated[
        str | None, typer.Option(metavar="FILE", help="All atoms of this source, as `pmem list` shows it.")
    ] = None,
    memory: Folder = Path("memory"),
    config: ConfigFile = None,
    user_id: UserId = None,
    filters: Filter = None,
    as_json: AsJson = False,
) -> None:
    """Delete atoms, by id or by what they match. A document goes with its last atom.

    An id that is not there, or a filter that matches nothing, exits with 1: a misspelt name must not pass for something
    that is gone. With --json, a filter that matched nothing still prints its empty list.
    """
    scope = filters_of(filters, user_id=user_id, source=source)
    if bool(atom_ids) == bool(scope):
        raise typer.BadParameter("pass either ids, or --source, --user-id or --filter")
    with open_store(memory, config=config) as store:
        for atom_id in atom_ids or ():
            store.get(atom_id)
        deleted = (store.delete(atom_ids) if atom_ids else store.delete_where(scope)).deleted
    if as_json:
        show_json({"deleted": list(deleted)})
    elif deleted:
        stdout().print(f"deleted {len(deleted)} {'atom' if len(deleted) == 1 else 'atoms'}")
    if not deleted:
        asked = atom_ids or [f"{key}={value}" for key, value in scope.items()]
        fail(f"nothing was deleted: no atom matches {', '.join(asked)}")
        raise typer.Exit(Exit.FAILED)


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.", show_default=False)],
    atom_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Export this atom.")] = None,
    question: Annotated[str | None, typer.Option(metavar="Q", help="Export what answers this question.")] = None,
    memory: Folder = Path("memory"),
    base: Base = None,
    checkpoint: CheckpointFolder = None,
    config: ConfigFile = None,
    user_id: UserId = None,
    filters: Filter = None,
    as_json: AsJson = False,
) -> None:
    """Write an atom's adapter, or a question's composed one, as a folder that PEFT loads."""
    scope = filters_of(filters, user_id=user_id)
    if bool(atom_id) == bool(question):
        raise typer.BadParameter("pass either --id or --question")
    with open_memory(memory, base=base, checkpoint=checkpoint, config=config) as opened:
        if question and opened.explain(question, filters=scope).abstained:
            fail(f"nothing in the memory answers {question!r}, so there is nothing to export")
            raise typer.Exit(Exit.ABSTAINED)
        folder = opened.export(out, question=question, memory_id=atom_id, filters=scope)
    if as_json:
        show_json({"path": str(folder)})
    else:
        stdout().print(f"wrote {folder}", soft_wrap=True)
