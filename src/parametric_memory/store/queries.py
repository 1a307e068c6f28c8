"""What is read from the tables: a connection comes in, nouns go out, nothing changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path

from sqlalchemy import Connection, LargeBinary, Table, cast, func, select

from parametric_memory.errors import AtomNotFoundError, CorruptAdapterError, DocumentNotFoundError
from parametric_memory.store import rows, schema
from parametric_memory.store.database import batches
from parametric_memory.store.filters import Filters, atoms_where, documents_where
from parametric_memory.store.records import Change, DocumentSummary, HistoryEvent, Manifest, Stats
from parametric_memory.types import Atom, AtomCode, Document


def read_atoms(connection: Connection, filters: Filters | None, limit: int | None, offset: int) -> list[Atom]:
    """Return atoms by the age of their document, then by position."""
    found = (
        select(schema.atoms)
        .join(schema.documents, schema.documents.c.id == schema.atoms.c.document_id)
        .where(atoms_where(filters))
        .order_by(schema.documents.c.number, schema.atoms.c.position, schema.atoms.c.number)
        .limit(-1 if limit is None else limit)
        .offset(offset)
    )
    return [rows.atom_of(row) for row in connection.execute(found)]


def read_atoms_of(connection: Connection, document_id: str) -> list[Atom]:
    """Return a document's atoms by position."""
    found = select(schema.atoms).where(schema.atoms.c.document_id == document_id)
    ordered = found.order_by(schema.atoms.c.position, schema.atoms.c.number)
    return [rows.atom_of(row) for row in connection.execute(ordered)]


def read_atoms_by_id(connection: Connection, atom_ids: Sequence[str]) -> dict[str, Atom]:
    """Return those of the atoms that are stored, by id."""
    return {id_: atom for id_, (atom, _) in read_dated_atoms(connection, atom_ids).items()}


def read_dated_atoms(connection: Connection, atom_ids: Sequence[str]) -> dict[str, tuple[Atom, float]]:
    """Return those of the atoms that are stored, by id, and when they were stored or last changed."""
    atoms: dict[str, tuple[Atom, float]] = {}
    for batch in batches(atom_ids):
        found = connection.execute(select(schema.atoms).where(schema.atoms.c.id.in_(batch)))
        atoms.update((row.id, (rows.atom_of(row), row.updated)) for row in found)
    return atoms


def read_neighbours(connection: Connection, atom_ids: Sequence[str], limit: int, filters: Filters | None) -> list[str]:
    """Return the ids of atoms that stand right before or after the given ones in their documents.

    Args:
        connection: To the database.
        atom_ids: Atoms, the most important first: theirs come first.
        limit: At most so many are returned.
        filters: Only atoms that these mean.
    """
    if limit < 1 or not atom_ids:
        return []
    here, beside = schema.atoms.alias(), schema.atoms
    distance = beside.c.position - here.c.position
    pairs = (
        select(here.c.id.label("of"), beside.c.id)
        .where(here.c.id.in_(atom_ids), beside.c.document_id == here.c.document_id, distance.in_([-1, 1]))
        .where(atoms_where(filters))
        .order_by(beside.c.position)
    )
    found: dict[str, list[str]] = {}
    for row in connection.execute(pairs):
        found.setdefault(row.of, []).append(row.id)
    new = [id_ for atom_id in atom_ids for id_ in found.get(atom_id, ()) if id_ not in set(atom_ids)]
    return list(dict.fromkeys(new))[:limit]


def in_turns(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """Return the ids of two rankings, the first of either first, each once."""
    pairs = zip_longest(one, other)
    return list(dict.fromkeys(id_ for pair in pairs for id_ in pair if id_ is not None))


def atom_ids_where(connection: Connection, filters: Filters | None) -> list[str]:
    """Return the ids of the atoms that the filters mean."""
    return list(connection.scalars(select(schema.atoms.c.id).where(atoms_where(filters))))


def document_ids_where(connection: Connection, filters: Filters) -> list[str]:
    """Return the ids of the documents whose own metadata the filters mean."""
    return list(connection.scalars(select(schema.documents.c.id).where(documents_where(filters))))


def read_vectors(connection: Connection, atom_ids: Sequence[str]) -> dict[str, bytes]:
    """Return stored keys by atom id."""
    vectors: dict[str, bytes] = {}
    for batch in batches(atom_ids):
        found = connection.execute(select(schema.keys).where(schema.keys.c.atom_id.in_(batch)))
        vectors.update((row.atom_id, row.vector) for row in found)
    return vectors


def read_codes(connection: Connection, atom_ids: Sequence[str], manifest: Manifest) -> list[AtomCode]:
    """Return one code per id, in order.

    Raises:
        AtomNotFoundError: If an atom is not stored.
        CorruptAdapterError: If a payload does not match its checksum.
    """
    stored: dict[str, bytes] = {}
    for batch in batches(atom_ids):
        for row in connection.execute(select(schema.codes).where(schema.codes.c.atom_id.in_(batch))):
            if rows.checksum(row.payload) != row.checksum:
                raise CorruptAdapterError(
                    f"loading the code of atom {row.atom_id}: its bytes do not match their checksum; "
                    "delete the atom and add its document again, or restore a backup"
                )
            stored[row.atom_id] = row.payload
    unknown = [id_ for id_ in atom_ids if id_ not in stored]
    if unknown:
        raise AtomNotFoundError(
            f"loading {len(atom_ids)} codes: atom {unknown[0]} is not in the store, {len(unknown)} in all"
        )
    return [AtomCode(id_, manifest.spec, manifest.compiler, stored[id_]) for id_ in atom_ids]


def read_document(connection: Connection, document_id: str) -> Document:
    """Return a document without its blocks.

    Raises:
        DocumentNotFoundError: If it is not stored.
    """
    row = connection.execute(select(schema.documents).where(schema.documents.c.id == document_id)).first()
    if row is None:
        raise DocumentNotFoundError(f"there is no document {document_id} in this store")
    return rows.document_of(row)


def read_documents(connection: Connection, filters: Filters | None) -> list[DocumentSummary]:
    """Return the documents, oldest first, without their texts."""
    documents, atoms = schema.documents.c, schema.atoms.c
    number = select(func.count()).where(atoms.document_id == documents.id).scalar_subquery()
    columns = (documents.id, documents.source, documents.title, documents.metadata, documents.added, documents.updated)
    found = select(*columns, func.length(documents.text).label("characters"), number.label("atoms"))
    return [
        DocumentSummary(
            id=row.id,
            source=row.source,
            title=row.title,
            characters=row.characters,
            atoms=row.atoms,
            added=rows.moment(row.added),
            updated=rows.moment(row.updated),
            metadata=row.metadata,
        )
        for row in connection.execute(found.where(documents_where(filters)).order_by(documents.number))
    ]


def read_history(connection: Connection, atom_ids: Collection[str]) -> list[HistoryEvent]:
    """Return what happened to atoms, oldest first."""
    events = select(schema.history).where(schema.history.c.atom_id.in_(list(atom_ids))).order_by(schema.history.c.id)
    return [
        HistoryEvent(row.atom_id, row.document_id, Change(row.change), row.old, row.new, rows.moment(row.time))
        for row in connection.execute(events)
    ]


def read_stats(connection: Connection, folder: Path, index: str) -> Stats:
    """Return how much the store holds."""
    kinds = select(schema.atoms.c.kind, func.count()).group_by(schema.atoms.c.kind).order_by(schema.atoms.c.kind)
    by_kind = {str(kind): int(number) for kind, number in connection.execute(kinds)}
    return Stats(
        documents=int(connection.scalar(select(func.count()).select_from(schema.documents)) or 0),
        atoms=sum(by_kind.values()),
        kinds=by_kind,
        text_bytes=_bytes(connection, schema.documents, "text") + _bytes(connection, schema.atoms, "statement"),
        key_bytes=_bytes(connection, schema.keys, "vector"),
        code_bytes=_bytes(connection, schema.codes, "payload"),
        index_bytes=_size(folder / "index"),
        database_bytes=sum(path.stat().st_size for path in folder.glob("store.db*")),
        path=folder,
        index=index,
    )


def _bytes(connection: Connection, table: Table, name: str) -> int:
    return int(connection.scalar(select(func.sum(func.length(cast(table.c[name], LargeBinary))))) or 0)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
