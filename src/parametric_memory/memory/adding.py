"""One document into a memory: what is new of it is compiled and stored, part by part, and what happened is told."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any, TypeAlias

from parametric_memory.errors import IngestError, StoreError
from parametric_memory.store import Receipt
from parametric_memory.store.filters import canonical
from parametric_memory.types import Atom, Document

if TYPE_CHECKING:
    from parametric_memory.memory.memory import ParametricMemory

logger = logging.getLogger(__name__)
#: Characters of one document's atoms that are compiled and committed together, however long each of them is.
PART = 2**17
#: Called with a document, the number of its atoms that are stored, and of all its atoms.
Progress: TypeAlias = Callable[[Document, int, int], None]


def add_document(memory: ParametricMemory, document: Document, progress: Progress | None) -> list[dict[str, Any]]:
    """Bring a memory up to date with a document; return one event per atom (see `ParametricMemory.add`).

    Raises:
        IngestError: If the document cannot be extracted, compiled, or kept with the id and the metadata that it has.
        StoreError: If it is there already, with another scope, or changes again and again meanwhile.
    """
    _refuse_unstorable(document)
    if memory.store.unchanged(document):
        return [event(atom, "NONE") for atom in memory.store.atoms_of(document.id)]
    atoms = memory.extract(document)
    known = {atom.id: atom for atom in [*memory.store.atoms_of(document.id), *atoms]}
    events: dict[str, str] = {}
    for receipt, done in _put_in_parts(memory, document, atoms):
        parts = {"NONE": receipt.kept, "ADD": receipt.added, "UPDATE": receipt.updated, "DELETE": receipt.deleted}
        for happened, ids in parts.items():
            # What an earlier part added, a later one finds there already.
            events |= {id_: happened for id_ in ids if happened != "NONE" or id_ not in events}
        if progress:
            progress(document, done, len(atoms))
    logger.info("added %s: %s", document.source or document.id, Counter(events.values()))
    # Another writer may have stored a version of the document meanwhile: what of it is deleted was never known here.
    return [event(known[id_], happened) for id_, happened in events.items() if id_ in known]


def event(atom: Atom, happened: str) -> dict[str, Any]:
    """Return what happened to an atom, in the shape that memory libraries share."""
    return {"id": atom.id, "memory": atom.statement, "event": happened, "source": atom.source}


def _refuse_unstorable(document: Document) -> None:
    try:
        for kept in (document.id, *starmap(canonical, document.metadata.items())):
            kept.encode()
    except ValueError as error:
        raise IngestError(
            f"adding {document.source or document.id!r}: {error}; correct the document's id or metadata",
            document_id=document.id,
        ) from error


def _put_in_parts(memory: ParametricMemory, document: Document, atoms: Sequence[Atom]) -> Iterator[tuple[Receipt, int]]:
    """Compile and store a document, a long one part by part: an interrupt loses little. Yield what is done."""
    missing = set(memory.store.missing(document, atoms))
    new = [atom for atom in atoms if atom.id in missing]
    for part in _parts(new):
        missing -= {atom.id for atom in part}
        there = [atom for atom in atoms if atom.id not in missing]
        yield _put(memory, document, there, complete=not missing), len(there)


def _put(memory: ParametricMemory, document: Document, atoms: Sequence[Atom], *, complete: bool) -> Receipt:
    """Compile and store what is missing of these atoms now: since the last part another writer may have taken some."""
    missing = set(memory.store.missing(document, atoms))
    new = [atom for atom in atoms if atom.id in missing]
    keys, codes = memory.encode_keys(new), memory.compile(new)
    try:
        return memory.store.put(document, atoms, keys, codes, complete=complete)
    except StoreError:
        taken = set(memory.store.missing(document, atoms)) - missing
        if not taken:
            raise
        # Another version of the document was stored while this one was compiled.
        again = [atom for atom in atoms if atom.id in taken]
        keys, codes = keys + memory.encode_keys(again), codes + memory.compile(again)
        return memory.store.put(document, atoms, keys, codes, complete=complete)


def _parts(atoms: Sequence[Atom]) -> Iterator[list[Atom]]:
    """Yield runs of atoms of at most `PART` characters, or of one atom; a single empty run if there are none."""
    part: list[Atom] = []
    chars = 0
    for atom in atoms:
        if part and chars + len(atom.text) > PART:
            yield part
            part, chars = [], 0
        part.append(atom)
        chars += len(atom.text)
    yield part
