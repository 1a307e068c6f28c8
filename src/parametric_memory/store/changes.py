"""What happens inside a write transaction: a connection comes in, rows change, ids of changed atoms go out.

Every change of an atom is logged in ``history`` under the store's next version. Deleting or rewriting atoms makes
their document's hash NULL, so that adding the document again is not taken for a no-op.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, insert, select, update

from parametric_memory.errors import AtomNotFoundError, ScopeConflictError, StoreError
from parametric_memory.store import rows, schema
from parametric_memory.store.database import batches
from parametric_memory.store.filters import canonical, metadata_rows
from parametric_memory.store.records import Change, Receipt
from parametric_memory.store.rows import Values
from parametric_memory.types import SCOPE_KEYS, Atom, Document, Metadata


@dataclass(frozen=True, slots=True)
class Compiled:
    """Keys and codes by atom id, checked and as they are stored."""

    vectors: Mapping[str, bytes]
    payloads: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Difference:
    """A document's atoms as given against the ones stored, by id."""

    added: list[str]
    updated: list[str]
    moved: list[str]
    deleted: list[str]
    kept: list[str]


def replace_document(connection: Connection, document: Document, atoms: Sequence[Atom], compiled: Compiled) -> Receipt:
    """Store a document and its atoms in place of what was stored under its id.

    Raises:
        StoreError: If an atom that is new or changed comes without key or code.
        ScopeConflictError: If the stored document is another user's, agent's or run's.
    """
    columns = select(schema.documents.c.hash, schema.documents.c.metadata)
    known = connection.execute(columns.where(schema.documents.c.id == document.id)).first()
    if known is not None:
        _refuse_stranger(document, known.metadata)
    given = {atom.id: rows.atom_values(atom) for atom in atoms}
    stored = stored_atoms(connection, document.id)
    difference = _difference(connection, given, stored, compiled)
    same_document = known is not None and known.hash == rows.document_hash(document)
    if same_document and not (difference.added or difference.updated or difference.moved or difference.deleted):
        return Receipt(version_of(connection), kept=tuple(difference.kept), unchanged=True)

    version, now = next_version(connection), time.time()
    delete_atoms(connection, difference.deleted, version)
    _put_document(connection, document, now)
    _insert_atoms(connection, [given[id_] for id_ in difference.added], compiled, now)
    for id_ in [*difference.updated, *difference.moved]:
        _rewrite_atom(connection, given[id_], compiled, now)
    _log(connection, Change.ADD, [(given[id_], None, given[id_]["statement"]) for id_ in difference.added], version)
    changed = [(given[id_], stored[id_]["statement"], given[id_]["statement"]) for id_ in difference.updated]
    _log(connection, Change.UPDATE, changed, version)
    return Receipt(
        version, tuple(difference.added), tuple(difference.updated), tuple(difference.deleted), tuple(difference.kept)
    )


def replace_atom(connection: Connection, atom: Atom, compiled: Compiled) -> Receipt:
    """Store an atom in place of the one that has its id.

    Raises:
        AtomNotFoundError: If there is none.
    """
    old = connection.execute(select(schema.atoms).where(schema.atoms.c.id == atom.id)).first()
    if old is None:
        raise AtomNotFoundError(f"updating atom {atom.id}: there is no such atom; add it with its document")
    version, values = next_version(connection), rows.atom_values(atom)
    _rewrite_atom(connection, values, compiled, time.time())
    forget_hashes(connection, {old.document_id})
    _log(connection, Change.UPDATE, [(values, old.statement, atom.statement)], version)
    return Receipt(version, updated=(atom.id,))


def delete_atoms(connection: Connection, atom_ids: Collection[str], version: int) -> list[str]:
    """Delete atoms with their keys and codes; return the ids that were there."""
    gone: list[Values] = []
    for batch in batches(list(atom_ids)):
        found = connection.execute(select(schema.atoms).where(schema.atoms.c.id.in_(batch)))
        gone += [dict(row) for row in found.mappings()]
        connection.execute(delete(schema.atoms).where(schema.atoms.c.id.in_(batch)))
    _log(connection, Change.DELETE, [(values, values["statement"], None) for values in gone], version)
    forget_hashes(connection, {values["document_id"] for values in gone})
    return [values["id"] for values in gone]


def delete_documents(connection: Connection, document_ids: Collection[str], version: int) -> list[str]:
    """Delete documents with all their atoms; return the ids of the atoms."""
    gone: list[str] = []
    for batch in batches(list(document_ids)):
        atom_ids = connection.scalars(select(schema.atoms.c.id).where(schema.atoms.c.document_id.in_(batch))).all()
        gone += delete_atoms(connection, atom_ids, version)
        connection.execute(delete(schema.documents).where(schema.documents.c.id.in_(batch)))
    return gone


def emptied(connection: Connection, atom_ids: Collection[str]) -> list[str]:
    """Return the documents that would have no atom left without these."""
    going = set(atom_ids)
    owners: set[str] = set()
    for batch in batches(list(going)):
        owners.update(connection.scalars(select(schema.atoms.c.document_id).where(schema.atoms.c.id.in_(batch))))
    of_document = select(schema.atoms.c.id)
    return sorted(
        owner
        for owner in owners
        if going.issuperset(connection.scalars(of_document.where(schema.atoms.c.document_id == owner)))
    )


def delete_everything(connection: Connection) -> int:
    """Delete all documents, atoms and history; return the store's version."""
    for table in (schema.documents, schema.history):
        connection.execute(delete(table))
    version = next_version(connection)
    connection.execute(update(schema.manifest).where(schema.manifest.c.key == "epoch").values(value=str(version)))
    return version


def stored_atoms(connection: Connection, document_id: str) -> dict[str, Values]:
    """Return the rows of a document's atoms by id."""
    found = connection.execute(select(schema.atoms).where(schema.atoms.c.document_id == document_id))
    return {row["id"]: dict(row) for row in found.mappings()}


def uncompiled(connection: Connection, given: Mapping[str, Values], stored: Mapping[str, Values]) -> set[str]:
    """Return the ids of the given atoms that are not stored with this content, a key and a code."""
    same = {
        id_
        for id_, values in given.items()
        if id_ in stored and rows.content_of(values) == rows.content_of(stored[id_])
    }
    return set(given) - (same & _owners(connection, schema.keys, same) & _owners(connection, schema.codes, same))


def version_of(connection: Connection) -> int:
    """Return how many writes the store has seen."""
    return int(connection.scalars(select(schema.manifest.c.value).where(schema.manifest.c.key == "version")).one())


def next_version(connection: Connection) -> int:
    """Count a write."""
    version = version_of(connection) + 1
    connection.execute(update(schema.manifest).where(schema.manifest.c.key == "version").values(value=str(version)))
    return version


def forget_hashes(connection: Connection, document_ids: Collection[str]) -> None:
    """Mark documents as no longer equal to what was added."""
    for batch in batches(list(document_ids)):
        connection.execute(update(schema.documents).where(schema.documents.c.id.in_(batch)).values(hash=None))


def _refuse_stranger(document: Document, stored: Metadata) -> None:
    """Refuse a document in place of one that is somebody else's, whoever made the id that both have."""
    new, old = (
        [canonical(key, of[key]) if key in of else None for key in SCOPE_KEYS] for of in (document.metadata, stored)
    )
    if new != old:
        raise ScopeConflictError(
            f"storing document {document.id}: there is one of this id with another {' or '.join(SCOPE_KEYS)}; give "
            "this one an id of its own, or delete the other first"
        )


def _difference(
    connection: Connection, given: Mapping[str, Values], stored: Mapping[str, Values], compiled: Compiled
) -> _Difference:
    needed = uncompiled(connection, given, stored)
    bare = sorted(id_ for id_ in needed if id_ not in compiled.vectors or id_ not in compiled.payloads)
    if bare:
        raise StoreError(
            f"storing {len(given)} atoms: {len(bare)} are new or changed and came without key or code, "
            f"the first is {bare[0]}; ask missing() which to compile, once more if another process wrote meanwhile"
        )
    again = _recompiled(connection, [id_ for id_ in given if id_ in stored and id_ not in needed], compiled)
    kept = [id_ for id_ in given if id_ in stored and id_ not in needed and id_ not in again]
    return _Difference(
        added=[id_ for id_ in given if id_ not in stored],
        updated=[id_ for id_ in given if id_ in stored and (id_ in needed or id_ in again)],
        moved=[id_ for id_ in kept if any(given[id_][name] != stored[id_][name] for name in given[id_])],
        deleted=[id_ for id_ in stored if id_ not in given],
        kept=kept,
    )


def _recompiled(connection: Connection, atom_ids: Sequence[str], compiled: Compiled) -> set[str]:
    """Return the ids whose given key or code is another one than is stored."""
    changed: set[str] = set()
    for batch in batches([id_ for id_ in atom_ids if id_ in compiled.vectors]):
        found = connection.execute(select(schema.keys).where(schema.keys.c.atom_id.in_(batch)))
        changed.update(row.atom_id for row in found if row.vector != compiled.vectors[row.atom_id])
    for batch in batches([id_ for id_ in atom_ids if id_ in compiled.payloads]):
        sums = select(schema.codes.c.atom_id, schema.codes.c.checksum).where(schema.codes.c.atom_id.in_(batch))
        found = connection.execute(sums)
        changed.update(row.atom_id for row in found if row.checksum != rows.checksum(compiled.payloads[row.atom_id]))
    return changed


def _owners(connection: Connection, table: Table, atom_ids: Collection[str]) -> set[str]:
    found: set[str] = set()
    for batch in batches(list(atom_ids)):
        found.update(connection.scalars(select(table.c.atom_id).where(table.c.atom_id.in_(batch))))
    return found


def _put_document(connection: Connection, document: Document, now: float) -> None:
    values = {**rows.document_values(document), "updated": now}
    if connection.scalar(select(exists().where(schema.documents.c.id == document.id))):
        connection.execute(update(schema.documents).where(schema.documents.c.id == document.id).values(values))
    else:
        connection.execute(insert(schema.documents).values({**values, "added": now}))
    _put_metadata(connection, schema.document_metadata, document.id, document.metadata)


def _insert_atoms(connection: Connection, atoms: Sequence[Values], compiled: Compiled, now: float) -> None:
    tagged = [row for values in atoms for row in metadata_rows(values["id"], values["metadata"])]
    codes = [_code_values(values["id"], compiled.payloads[values["id"]]) for values in atoms]
    keys = [{"atom_id": values["id"], "vector": compiled.vectors[values["id"]]} for values in atoms]
    timed = [{**values, "added": now, "updated": now} for values in atoms]
    for table, values in (
        (schema.atoms, timed),
        (schema.atom_metadata, tagged),
        (schema.keys, keys),
        (schema.codes, codes),
    ):
        if values:
            connection.execute(insert(table), values)


def _rewrite_atom(connection: Connection, values: Values, compiled: Compiled, now: float) -> None:
    id_ = values["id"]
    connection.execute(update(schema.atoms).where(schema.atoms.c.id == id_).values({**values, "updated": now}))
    _put_metadata(connection, schema.atom_metadata, id_, values["metadata"])
    if id_ in compiled.vectors:
        connection.execute(delete(schema.keys).where(schema.keys.c.atom_id == id_))
        connection.execute(insert(schema.keys).values(atom_id=id_, vector=compiled.vectors[id_]))
    if id_ in compiled.payloads:
        connection.execute(delete(schema.codes).where(schema.codes.c.atom_id == id_))
        connection.execute(insert(schema.codes).values(_code_values(id_, compiled.payloads[id_])))


def _put_metadata(connection: Connection, table: Table, owner: str, metadata: Mapping[str, Any]) -> None:
    connection.execute(delete(table).where(table.c.owner == owner))
    if metadata:
        connection.execute(insert(table), metadata_rows(owner, metadata))


def _code_values(atom_id: str, payload: bytes) -> Values:
    return {"atom_id": atom_id, "payload": payload, "checksum": rows.checksum(payload)}


def _log(
    connection: Connection, change: Change, atoms: Sequence[tuple[Values, str | None, str | None]], version: int
) -> None:
    now = time.time()
    events = [
        {
            "version": version,
            "atom_id": values["id"],
            "document_id": values["document_id"],
            "change": str(change),
            "old": old,
            "new": new,
            "metadata": {"kind": values["kind"], "source": values["source"], **values["metadata"]},
            "time": now,
        }
        for values, old, new in atoms
    ]
    if events:
        connection.execute(insert(schema.history), events)
