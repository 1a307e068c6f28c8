"""One SQLite file: its connections, its transactions, and its errors in words that say what to do.

`read` gives a snapshot that later commits do not change; `write` gives a transaction that is whole or not there.
Deleted content is overwritten with zeros (``secure_delete``), though only `compact` reaches the write-ahead log.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DatabaseError

from parametric_memory.errors import StoreError, StoreLockedError

Item = TypeVar("Item")

#: Ids in one statement; SQLite's own limit of bound values is 32766.
BATCH = 1000


def batches(items: Sequence[Item], size: int = BATCH) -> Iterator[Sequence[Item]]:
    """Yield the items in slices of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


class Database:
    """A SQLite file in WAL mode. Threads may share it; after a fork it must be opened again."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self.path = path
        self._pid = os.getpid()
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"timeout": timeout_s},
            json_serializer=lambda value: json.dumps(value, ensure_ascii=False, sort_keys=True),
            pool_size=16,
            max_overflow=48,
        )
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give one consistent view of what is committed."""
        with self._errors("reading"), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a transaction that is committed at the end of the block, or not at all if it raises."""
        with self._errors("writing"), self._engine.connect() as connection:
            connection.execution_options(immediate=True)
            with connection.begin():
                yield connection

    def log_ahead(self) -> None:
        """Switch the file to write-ahead logging, for good: readers and the writer no longer wait for one another."""
        self._outside("PRAGMA journal_mode = WAL")

    def compact(self) -> None:
        """Rewrite the file without its free pages and empty the write-ahead log.

        Raises:
            StoreLockedError: If another connection kept reading meanwhile.
        """
        self._outside("PRAGMA wal_checkpoint(TRUNCATE)")
        self._outside("VACUUM")
        [(busy, *_)] = self._outside("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise StoreLockedError(f"compacting {self.path}: another process is reading it", holder="a reader")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _outside(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement that SQLite allows only outside of transactions."""
        with self._errors("maintaining"), closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            return list(cursor.fetchall())

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        if os.getpid() != self._pid:
            raise StoreError(
                f"{doing} {self.path}: it was opened before this process was forked; open the store again here"
            )
        try:
            yield
        except (DatabaseError, sqlite3.DatabaseError) as error:
            cause = getattr(error, "orig", error)
            if "locked" in str(cause) or "busy" in str(cause):
                raise StoreLockedError(
                    f"{doing} {self.path}: {cause}; try again, or raise lock_timeout_s", holder="unknown"
                ) from error
            if "malformed" in str(cause) or "not a database" in str(cause):
                raise StoreError(
                    f"{doing} {self.path}: {cause}; restore a backup, or add the documents to a new path"
                ) from error
            raise StoreError(f"{doing} {self.path}: {cause}") from error


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    # The driver would begin transactions by its own rules, after the first read: `_begin` does it instead.
    connection.isolation_level = None
    for pragma in ("foreign_keys = ON", "secure_delete = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
