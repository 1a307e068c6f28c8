"""`pmem add`: files and folders into the memory, one after the other, each kept as soon as it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parametric_memory.cli.exits import Exit
from parametric_memory.cli.memory import open_memory
from parametric_memory.cli.options import (
    AsJson,
    Base,
    CheckpointFolder,
    CompilerName,
    ConfigFile,
    Folder,
    MetadataPairs,
    UserId,
    metadata_of,
)
from parametric_memory.cli.printing import fail, show_json, stdout
from parametric_memory.cli.progress import progress
from parametric_memory.errors import IngestError, MissingDependencyError, UnreadableDocumentError
from parametric_memory.types import Document, Metadata

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory


@dataclass(slots=True)
class Added:
    """What came of adding files, as far as it got; `results` and `errors` as `ParametricMemory.add` returns them."""

    files: int
    done: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def events(self) -> Counter[str]:
        """How many atoms were added, updated, deleted, or there already (NONE)."""
        return Counter(result["event"] for result in self.results)


def add(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files and folders.")],
    memory: Folder = Path("memory"),
    base: Base = None,
    compiler: CompilerName = None,
    checkpoint: CheckpointFolder = None,
    config: ConfigFile = None,
    user_id: UserId = None,
    metadata: MetadataPairs = None,
    as_json: AsJson = False,
) -> None:
    """Compile files and folders into the memory: txt, md, html, pdf, jsonl.

    What is there already is left alone. Interrupt it whenever you like: the same command goes on from there.
    """
    pairs = metadata_of(metadata)
    files, missing = find(paths, outside=memory)
    added = Added(files=0)
    if files:
        with open_memory(
            memory, base=base, compiler=compiler, checkpoint=checkpoint, config=config, make=True
        ) as opened:
            added = add_files(opened, files, user_id=user_id, metadata=pairs)
    added.errors[:0] = missing
    if as_json:
        show_json(added_record(added))
    else:
        show_added(added)
    if added.interrupted or added.errors:
        raise typer.Exit(Exit.INTERRUPTED if added.interrupted else Exit.UNREADABLE)


def find(paths: Sequence[Path], *, outside: Path) -> tuple[list[Path], list[dict[str, Any]]]:
    """Return the files at these paths, without those of the memory itself, and an error for each that is not there."""
    from parametric_memory.ingest import find_files

    files: dict[Path, None] = {}
    errors = []
    for path in paths:
        try:
            files |= dict.fromkeys(find_files(path))
        except UnreadableDocumentError as error:
            errors.append({"source": str(path), "error": str(error)})
    own = outside.resolve()
    return [file for file in files if own not in file.resolve().parents], errors


def add_files(
    memory: ParametricMemory, files: Sequence[Path], *, user_id: str | None = None, metadata: Metadata | None = None
) -> Added:
    """Add files one by one; one that cannot be read is noted, an interrupt ends it after what is done."""
    added = Added(len(files))
    # Bytes foretell the time that is left better than files do.
    sizes = [1 + (file.stat().st_size if file.is_file() else 0) for file in files]
    ends = [0, *accumulate(sizes)]
    with progress() as show:

        def shown(compiled: float, atoms: int) -> None:
            counts = f"{added.done}/{added.files} files, {len(added.results) + atoms} atoms"
            show("compiling", ends[added.done] + compiled, ends[-1], counts)

        try:
            for file, size in zip(files, sizes, strict=True):
                _add_file(memory, file, added, _within(size, shown), user_id=user_id, metadata=metadata)
        except KeyboardInterrupt:
            added.interrupted = True
    return added


def _within(size: int, shown: Callable[[float, int], None]) -> Callable[[Document, int, int], None]:
    """Return what tells how far a file of `size` bytes is, document by document and part by part."""
    before = 0
    shown(0, 0)

    def stored(document: Document, atoms: int, of: int) -> None:
        nonlocal before
        # Characters are at most bytes, except where a format compresses them.
        shown(min(size, before + len(document.text) * atoms / max(1, of)), atoms)
        before += len(document.text) if atoms == of else 0

    return stored


def _add_file(
    memory: ParametricMemory,
    file: Path,
    added: Added,
    stored: Callable[[Document, int, int], None],
    *,
    user_id: str | None,
    metadata: Metadata | None,
) -> None:
    try:
        report = memory.add(file, user_id=user_id, metadata=metadata, progress=stored)
        added.results += report["results"]
        added.errors += report["errors"]
    except (IngestError, MissingDependencyError) as error:
        added.errors.append({"source": str(file), "error": str(error)})
    added.done += 1


def added_record(added: Added) -> dict[str, Any]:
    """Return what was added as JSON: counts of atoms, and the results and errors of `ParametricMemory.add`."""
    return {
        "files": added.files,
        "done": added.done,
        "interrupted": added.interrupted,
        "atoms": {event: added.events[event] for event in ("ADD", "UPDATE", "DELETE", "NONE")},
        "results": added.results,
        "errors": added.errors,
    }


def show_added(added: Added) -> None:
    """Print what was added, what could not be read, and what is left to do."""
    for error in added.errors:
        fail(error["error"])
    count = added.events
    compiled = count["ADD"] + count["UPDATE"]
    stdout().print(
        f"{added.done} of {added.files} files: {compiled} atoms compiled, {count['DELETE']} deleted, "
        f"{count['NONE']} there already" + ("" if compiled or not added.done else " (nothing recompiled)")
    )
    if added.interrupted:
        fail(
            f"interrupted: {added.done} of {added.files} files are done, what is compiled of the next is kept too; "
            "the same command goes on from there"
        )
