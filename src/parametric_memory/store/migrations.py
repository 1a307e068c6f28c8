"""How the tables came to be: numbered functions, each run once, in order, in one transaction.

A released migration is never edited; a change of the schema is a new function at the end. The DDL is literal and does
not use `schema`, because it must keep meaning what it meant when it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from parametric_memory.errors import StoreError, StoreVersionError


def m001_initial(connection: Connection) -> None:
    """Make all tables and the full-text index with its triggers."""
    for statement in _INITIAL:
        connection.exec_driver_sql(statement)


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (m001_initial,)


def schema_of(connection: Connection) -> int:
    """Return the number of the last migration that was run; 0 for an empty database."""
    names = {name for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "manifest" not in names:
        if names:
            raise StoreError(
                f"opening a store: the database holds tables of something else ({', '.join(sorted(names)[:3])})"
            )
        return 0
    row = connection.exec_driver_sql("SELECT value FROM manifest WHERE key = 'schema'").first()
    return int(row[0]) if row else 0


def check_schema(connection: Connection, path: Path) -> int:
    """Return `schema_of`, if this library can read it.

    Raises:
        StoreVersionError: If a newer library wrote it.
    """
    schema = schema_of(connection)
    if schema > len(MIGRATIONS):
        raise StoreVersionError(
            f"opening the store {path}: its schema is number {schema}, this library knows up to {len(MIGRATIONS)}; "
            "upgrade parametric-memory, or use another path"
        )
    return schema


def migrate(connection: Connection, path: Path) -> None:
    """Run the migrations that the database has not seen.

    Raises:
        StoreVersionError: If a newer library wrote it.
    """
    schema = check_schema(connection, path)
    for migration in MIGRATIONS[schema:]:
        migration(connection)
    connection.exec_driver_sql(
        "INSERT INTO manifest (key, value) VALUES ('schema', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (str(len(MIGRATIONS)),),
    )


_INITIAL = (
    "CREATE TABLE manifest (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    """
    CREATE TABLE documents (
        number INTEGER NOT NULL PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        source TEXT NOT NULL,
        title TEXT NOT NULL,
        text TEXT NOT NULL,
        hash TEXT,
        metadata JSON NOT NULL,
        added FLOAT NOT NULL,
        updated FLOAT NOT NULL
    )
    """,
    """
    CREATE TABLE atoms (
        number INTEGER NOT NULL PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        document_id TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        kind TEXT NOT NULL,
        statement TEXT NOT NULL,
        text TEXT NOT NULL,
        context TEXT NOT NULL,
        span_start INTEGER NOT NULL,
        span_end INTEGER NOT NULL,
        source TEXT NOT NULL,
        metadata JSON NOT NULL,
        added FLOAT NOT NULL,
        updated FLOAT NOT NULL
    )
    """,
    "CREATE INDEX atoms_by_document ON atoms (document_id, position)",
    """
    CREATE TABLE atom_metadata (
        owner TEXT NOT NULL REFERENCES atoms (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (owner, key)
    )
    """,
    "CREATE INDEX atom_metadata_by_value ON atom_metadata (key, value, owner)",
    """
    CREATE TABLE document_metadata (
        owner TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (owner, key)
    )
    """,
    "CREATE INDEX document_metadata_by_value ON document_metadata (key, value, owner)",
    """
    CREATE TABLE keys (
        atom_id TEXT NOT NULL PRIMARY KEY REFERENCES atoms (id) ON DELETE CASCADE,
        vector BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE codes (
        atom_id TEXT NOT NULL PRIMARY KEY REFERENCES atoms (id) ON DELETE CASCADE,
        payload BLOB NOT NULL,
        checksum BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE history (
        id INTEGER NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL,
        atom_id TEXT NOT NULL,
        document_id TEXT NOT NULL,
        change TEXT NOT NULL,
        old TEXT,
        new TEXT,
        metadata JSON,
        time FLOAT NOT NULL
    )
    """,
    "CREATE INDEX history_by_atom ON history (atom_id, id)",
    "CREATE INDEX history_by_version ON history (version, atom_id)",
    """
    CREATE VIRTUAL TABLE statements USING fts5 (
        statement, content = 'atoms', content_rowid = 'number', tokenize = 'porter unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER atoms_inserted AFTER INSERT ON atoms BEGIN
        INSERT INTO statements (rowid, statement) VALUES (new.number, new.statement);
    END
    """,
    """
    CREATE TRIGGER atoms_deleted AFTER DELETE ON atoms BEGIN
        INSERT INTO statements (statements, rowid, statement) VALUES ('delete', old.number, old.statement);
    END
    """,
    """
    CREATE TRIGGER atoms_updated AFTER UPDATE OF statement ON atoms BEGIN
        INSERT INTO statements (statements, rowid, statement) VALUES ('delete', old.number, old.statement);
        INSERT INTO statements (rowid, statement) VALUES (new.number, new.statement);
    END
    """,
)
