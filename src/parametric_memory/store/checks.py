"""What may be wrong with a store: every check reads, none repairs, each returns its problems as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Table, func, select

from parametric_memory.errors import StoreError, StoreLockedError
from parametric_memory.protocols import KeyIndex
from parametric_memory.store import rows, schema
from parametric_memory.store.database import Database

#: Keys that are looked up in the index one by one, spread over the store.
_PROBES = 64


def database_problems(connection: Connection, dim: int) -> Iterator[str]:
    """Yield what SQLite finds, atoms without key or code, and payloads and keys that are not what was stored."""
    for (message,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if message != "ok":
            yield f"database: {message}; restore a backup"
    for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"database: a row of {row[0]} belongs to nothing; restore a backup"
    for table, what in ((schema.keys, "key"), (schema.codes, "code")):
        for atom_id in _without(connection, table):
            yield f"atom {atom_id}: it has no {what}; delete it and add its document again"
    for row in connection.execute(select(schema.codes)):
        if rows.checksum(row.payload) != row.checksum:
            yield f"atom {row.atom_id}: its code does not match its checksum; delete it and add its document again"
    wrong = select(schema.keys.c.atom_id).where(func.length(schema.keys.c.vector) != 4 * dim)
    for atom_id in connection.scalars(wrong):
        yield f"atom {atom_id}: its key is not {dim} numbers; delete it and add its document again"


def lexical_problems(database: Database) -> Iterator[str]:
    """Yield whether the full-text index and the statements disagree.

    Raises:
        StoreLockedError: If another process keeps writing: nothing is known then.
    """
    try:
        with database.write() as connection:
            # Its name notwithstanding, FTS5's check is an INSERT that stores nothing.
            connection.exec_driver_sql("INSERT INTO statements (statements, rank) VALUES ('integrity-check', 1)")
    except StoreLockedError:
        raise
    except StoreError as error:
        yield f"full-text index: it disagrees with the statements ({error.__cause__}); call rebuild_index()"


def index_problems(connection: Connection, index: KeyIndex) -> Iterator[str]:
    """Yield where the key index holds other atoms than the database, or does not find a key by itself."""
    stored, indexed = set(connection.scalars(select(schema.keys.c.atom_id))), index.ids()
    if missing := len(stored - indexed):
        yield f"key index: {missing} of {len(stored)} keys are missing; call rebuild_index()"
    if extra := len(indexed - stored):
        yield f"key index: {extra} keys belong to no atom; call rebuild_index()"
    probes = sorted(stored & indexed)[:: max(1, len(stored) // _PROBES)]
    lost = [id_ for id_ in probes if not _found(connection, index, id_)]
    if lost:
        yield f"key index: {len(lost)} of {len(probes)} probed keys are not found ({lost[0]}, …); call rebuild_index()"


def _without(connection: Connection, table: Table) -> list[str]:
    owned = select(table.c.atom_id).where(table.c.atom_id == schema.atoms.c.id)
    return list(connection.scalars(select(schema.atoms.c.id).where(~owned.exists())))


def _found(connection: Connection, index: KeyIndex, atom_id: str) -> bool:
    blob = connection.scalars(select(schema.keys.c.vector).where(schema.keys.c.atom_id == atom_id)).one()
    nearest = index.search(rows.vector_of(blob), 1)
    # Another atom may have the same key; none can be nearer.
    return bool(nearest) and nearest[0][1] > 1 - 1e-4
