"""The key index of a store: derived from the database, kept equal to it, thrown away whenever that is in doubt.

A process that opens the index's folder owns it until it closes; other processes meanwhile hold the database's keys in
a `NumpyIndex` of their own, because Chroma's files are not safe to share. Either way `refresh` brings the index up to
what a database snapshot says, whoever wrote it. The surprise: a folder that was not closed in order (``closed.json``
is missing) is deleted and made anew, since a torn file would crash Chroma together with our process; 10,000 keys take
two seconds. So is one that has seen what a restored backup of the database does not know.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from parametric_memory.config import StoreConfig
from parametric_memory.errors import StoreError, StoreLockedError
from parametric_memory.protocols import KeyIndex
from parametric_memory.store import schema
from parametric_memory.store.chroma_index import ChromaIndex
from parametric_memory.store.database import batches
from parametric_memory.store.lock import Lock
from parametric_memory.store.numpy_index import NumpyIndex
from parametric_memory.store.rows import vector_of
from parametric_memory.types import AtomKey

logger = logging.getLogger(__name__)

#: Keys read from the database at a time.
_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class _State:
    """What of the database an index has seen: which store, up to which version, and when that was written.

    A backup that was restored counts the same versions a second time: the time tells them from the first.
    """

    store: str
    version: int
    time: float | None


class DerivedIndex:
    """The `KeyIndex` of one store in one process. Threads may share it; the index opens on first use."""

    def __init__(self, folder: Path, config: StoreConfig) -> None:
        self._folder = folder
        self._config = config
        self._lock = Lock(folder.with_name("index.lock"), purpose="opening the key index")
        self._guard = threading.RLock()
        self._index: KeyIndex | None = None
        self._state: _State | None = None

    @property
    def kind(self) -> str:
        """``chroma`` or ``numpy``, whichever answers in this process; the configured one until the index opens."""
        if self._index is None:
            return self._config.index
        return "chroma" if isinstance(self._index, ChromaIndex) else "numpy"

    def search(
        self, connection: Connection, vector: NDArray[np.float32], k: int, *, within: list[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return up to ``k`` (atom id, cosine) pairs, best first, as of the connection's snapshot or later.

        Raises:
            StoreError: If the index fails, and fails again when made anew.
        """
        with self._guard:
            try:
                return self.refresh(connection).search(vector, k, within=within)
            except (StoreError, SQLAlchemyError):
                raise
            except Exception:
                logger.warning("the key index in %s failed; making it anew", self._folder, exc_info=True)
            try:
                self.rebuild(connection)
                return self.refresh(connection).search(vector, k, within=within)
            except Exception as error:
                raise StoreError(
                    f"searching the key index in {self._folder}: {error}; see verify(), or use index='numpy'"
                ) from error

    def refresh(self, connection: Connection) -> KeyIndex:
        """Return the index, brought up to the connection's snapshot."""
        with self._guard:
            index = self._index or self._open(connection)
            epoch, store, version = _database_state(connection)
            seen = self._state
            if seen is None or seen.store != store or seen.version < epoch:
                if index.ids():
                    index.clear()
                _load_all(connection, index)
            elif seen.version < version:
                _catch_up(connection, index, seen.version)
            else:
                # A snapshot may be older than what another thread has already brought in.
                return index
            self._state = _state_at(connection, store, version)
            return index

    def rebuild(self, connection: Connection) -> None:
        """Throw the index away and make it anew."""
        with self._guard:
            self.wipe()
            self.refresh(connection)

    def wipe(self) -> None:
        """Throw the index away; the next use makes it anew. Its files go only if this process owns or can get them."""
        with self._guard:
            self._close_index()
            if self._owns():
                shutil.rmtree(self._folder, ignore_errors=True)
            self._leave_files()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Make sure, for the length of a block, that no other process has the index's files open.

        Raises:
            StoreLockedError: Naming the process that has.
        """
        with self._guard:
            if not self._lock.held:
                self._lock.acquire(self._config.lock_timeout_s)
                # Whatever answered so far was the stand-in for a folder that someone else owned.
                self._close_index()
        try:
            yield
        finally:
            with self._guard:
                self._leave_files()

    def close(self) -> None:
        """Close the index in order and let others open it."""
        with self._guard:
            state, owned = self._state, self.kind == "chroma" and self._index is not None
            self._close_index()
            if owned and state is not None:
                _write_closed(self._folder, state)
            if self._lock.held:
                self._lock.release()

    def _open(self, connection: Connection) -> KeyIndex:
        if self._config.index == "numpy" or not self._owns():
            self._index = NumpyIndex()
            return self._index
        _, store, version = _database_state(connection)
        state = _take_closed(self._folder)
        if state is not None and (state.version > version or state != _state_at(connection, store, state.version)):
            state = None
        if state is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._index = ChromaIndex(self._folder)
        except Exception:
            logger.warning("the key index in %s does not open; making it anew", self._folder, exc_info=True)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._index, state = ChromaIndex(self._folder), None
        self._state = state
        return self._index

    def _owns(self) -> bool:
        if not self._lock.held:
            try:
                self._lock.acquire(0)
            except StoreLockedError as error:
                logger.info("searching in memory: the key index in %s is open in %s", self._folder, error.holder)
                return False
        return True

    def _leave_files(self) -> None:
        """Let other processes have the index's files, if this one does not use any."""
        if self._config.index == "numpy" and self._lock.held:
            self._lock.release()

    def _close_index(self) -> None:
        if self._index is not None:
            self._index.close()
        self._index = self._state = None


def _database_state(connection: Connection) -> tuple[int, str, int]:
    """Return the version since which ``history`` is complete, the store's id and its version."""
    values = {row.key: row.value for row in connection.execute(select(schema.manifest))}
    return int(values["epoch"]), values["id"], int(values["version"])


def _state_at(connection: Connection, store: str, version: int) -> _State:
    """Return what an index has seen that was brought up to a version."""
    history = schema.history.c
    times = select(history.time).where(history.version <= version)
    # In the order of the index by version, so that one row is read and not all of them.
    last = times.order_by(history.version.desc(), history.atom_id.desc()).limit(1)
    return _State(store, version, connection.scalar(last))


def _load_all(connection: Connection, index: KeyIndex) -> None:
    found = connection.execution_options(stream_results=True).execute(select(schema.keys))
    for part in found.partitions(_CHUNK):
        index.upsert([AtomKey(row.atom_id, vector_of(row.vector)) for row in part])


def _catch_up(connection: Connection, index: KeyIndex, version: int) -> None:
    """Apply what changed after ``version``. Doing so twice does no harm."""
    # Not DISTINCT: SQLite would read all of the history in the order of the atoms rather than the few last versions.
    changed = connection.scalars(select(schema.history.c.atom_id).where(schema.history.c.version > version))
    for batch in batches(list(dict.fromkeys(changed))):
        found = connection.execute(select(schema.keys).where(schema.keys.c.atom_id.in_(batch)))
        keys = [AtomKey(row.atom_id, vector_of(row.vector)) for row in found]
        index.delete(set(batch) - {key.atom_id for key in keys})
        index.upsert(keys)


def _write_closed(folder: Path, state: _State) -> None:
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    (folder / "closed.json").write_text(json.dumps({**asdict(state), "sizes": sizes}), encoding="utf-8")


def _take_closed(folder: Path) -> _State | None:
    """Return the state in which the folder was closed, and mark it open; None if its files cannot be trusted."""
    path = folder / "closed.json"
    try:
        closed = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        whole = all((folder / name).stat().st_size == size for name, size in closed["sizes"].items())
        # One that was closed without a time is made anew like one that was not closed in order.
        return _State(closed["store"], closed["version"], closed["time"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
