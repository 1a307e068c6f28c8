"""`AtomStore`: documents, atoms, keys and codes in one folder, and the verbs on them.

The database ``store.db`` is the truth. A write is one transaction: it is there or it is not, also after ``kill -9``.
The key index in ``index/`` is derived and may lag behind; every search brings it up to date first. Writers, in this
process or another, take turns (``write.lock``); readers never wait and see what is committed.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, exists, select
from sqlalchemy.exc import SQLAlchemyError

from parametric_memory.config import StoreConfig
from parametric_memory.errors import (
    AtomNotFoundError,
    ConfigError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
)
from parametric_memory.store import changes, checks, erasure, lexical, manifests, queries, rows, schema
from parametric_memory.store.changes import Compiled
from parametric_memory.store.database import Database
from parametric_memory.store.filters import Filters
from parametric_memory.store.key_index import DerivedIndex
from parametric_memory.store.migrations import MIGRATIONS, check_schema
from parametric_memory.store.records import DocumentSummary, Erasure, HistoryEvent, Manifest, Receipt, Stats
from parametric_memory.types import AdapterSpec, Atom, AtomCode, AtomKey, Candidate, Document

logger = logging.getLogger(__name__)

_DATABASE = "store.db"

#: Changed atoms that may wait before a write brings the key index up to date; searching and closing always do.
_PENDING = 2000


class AtomStore:
    """The memory's atoms on disk. Threads may share one; processes open their own.

    Use `open`; close it, or use it in a ``with`` block. What is not closed in order has its key index made anew.
    """

    def __init__(self, folder: Path, database: Database, manifest: Manifest, config: StoreConfig) -> None:
        self.path = folder
        self.manifest = manifest
        self._config = config
        self._database = database
        self._lock = manifests.write_lock(folder)
        self._index = DerivedIndex(folder / "index", config)
        self._pending = 0
        self._closed = False
        self._finalizer = weakref.finalize(self, _let_go, self._index, database, os.getpid())

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        spec: AdapterSpec,
        key_encoder: str,
        dim: int,
        compiler: str,
        config: StoreConfig | None = None,
        create: bool = True,
    ) -> Self:
        """Open the store in a folder, or make one there.

        Args:
            path: The store's folder.
            spec: What the codes to come fit.
            key_encoder: Name of the space of the keys.
            dim: Length of a key.
            compiler: Name of the compiler of the codes.
            config: Which key index, and how long to wait for locks.
            create: Whether to make a store where there is none.

        Raises:
            StoreNotFoundError: If there is no store and ``create`` is false.
            AdapterMismatchError: If the store was made for another base model, key encoder or compiler.
            StoreVersionError: If a newer version of this library wrote the store.
            StoreLockedError: If the store must be made or migrated while another process writes to it.
            StoreError: If the folder holds something else, or the database is damaged.
        """
        config = config or StoreConfig()
        if config.index not in {"chroma", "numpy"}:
            raise ConfigError("opening a store:", problems=[f"store.index: 'chroma' or 'numpy', not {config.index!r}"])
        if not create and not (path / _DATABASE).is_file():
            raise _not_found(path)
        wanted = Manifest(uuid.uuid4().hex, len(MIGRATIONS), spec, key_encoder, dim, compiler, rows.moment(time.time()))
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"making a store in {path}: {error}; give the path of a folder") from error
        database = Database(path / _DATABASE, timeout_s=config.lock_timeout_s)
        try:
            manifest = manifests.prepare(database, path, wanted, config.lock_timeout_s)
            manifests.refuse_strangers(path, manifest, wanted)
        except BaseException:
            database.close()
            raise
        # Codes are loaded where the base model is now, not where it was when the store was made.
        return cls(path, database, replace(manifest, spec=spec), config)

    @staticmethod
    def inspect(path: Path) -> Manifest:
        """Return whom the store in a folder belongs to, changing nothing.

        Raises:
            StoreNotFoundError: If there is none.
            StoreVersionError: If a newer version of this library wrote it.
        """
        if not (path / _DATABASE).is_file():
            raise _not_found(path)
        database = Database(path / _DATABASE, timeout_s=StoreConfig().lock_timeout_s)
        try:
            with database.read() as connection:
                if check_schema(connection, path) == 0:
                    raise _not_found(path)
                return manifests.read_manifest(connection)
        finally:
            database.close()

    def close(self) -> None:
        """Bring the key index up to date, if this object wrote, and let go of all files. Closing twice does no harm."""
        if self._closed:
            return
        if self._pending:
            self._index_now()
        self._closed = True
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- adding ------------------------------------------------------------------------------------------------

    def unchanged(self, document: Document) -> bool:
        """Whether adding this document again would change nothing: same text, title, source and metadata."""
        with self._read() as connection:
            same = exists().where(
                schema.documents.c.id == document.id, schema.documents.c.hash == rows.document_hash(document)
            )
            return bool(connection.scalar(select(same)))

    def missing(self, document: Document, atoms: Sequence[Atom]) -> tuple[str, ...]:
        """Return the ids, in order, of the atoms that need a key and a code before `put`: new ones and changed ones."""
        given = {atom.id: rows.atom_values(atom) for atom in atoms}
        with self._read() as connection:
            needed = changes.uncompiled(connection, given, changes.stored_atoms(connection, document.id))
        return tuple(id_ for id_ in given if id_ in needed)

    def put(
        self,
        document: Document,
        atoms: Sequence[Atom],
        keys: Sequence[AtomKey],
        codes: Sequence[AtomCode],
        *,
        complete: bool = True,
    ) -> Receipt:
        """Store a document in place of what was stored under its id, atom by atom, in one transaction.

        Args:
            document: The document; its blocks are not kept.
            atoms: All its atoms. Stored ones that are not among them are deleted.
            keys: At least one per atom of `missing`; more replace what is stored.
            codes: Likewise.
            complete: False while more of the document's atoms are to come: it does not count as `unchanged` until then.

        Raises:
            ValueError: If an atom belongs to another document or comes twice, or a key or metadata value is malformed.
            AdapterMismatchError: If a code was made by another compiler or for another base model.
            StoreError: If an atom that is new or changed has no key or no code.
            StoreLockedError: If another process keeps writing.
        """
        _check_atoms(document, atoms)
        compiled = self._compiled(keys, codes)
        with self._write() as connection:
            receipt = changes.replace_document(connection, document, atoms, compiled)
            if not complete:
                changes.forget_hashes(connection, [document.id])
        return self._written(receipt)

    def update(self, atom: Atom, key: AtomKey, code: AtomCode) -> Receipt:
        """Store an atom in place of the one with its id; its document's text stays as it is.

        Raises:
            AtomNotFoundError: If there is none.
            ValueError: If the key or a metadata value is malformed, or they name another atom.
            AdapterMismatchError: If the code was made by another compiler or for another base model.
            StoreLockedError: If another process keeps writing.
        """
        if not atom.id == key.atom_id == code.atom_id:
            raise ValueError(f"updating atom {atom.id}: the key is for {key.atom_id}, the code for {code.atom_id}")
        compiled = self._compiled([key], [code])
        with self._write() as connection:
            receipt = changes.replace_atom(connection, atom, compiled)
        return self._written(receipt)

    # -- finding -----------------------------------------------------------------------------------------------

    def search(
        self,
        text: str,
        vector: NDArray[np.float32],
        k: int,
        *,
        filters: Filters | None = None,
        neighbours: int = 0,
    ) -> list[Candidate]:
        """Return the atoms nearest to a query's key and the best by BM25, up to ``k`` of each, by falling cosine.

        Args:
            text: Any text; its words are looked for in the statements.
            vector: The query's key, (dim,), unit norm.
            k: How many atoms each of the two searches returns.
            filters: Which atoms may be found at all.
            neighbours: So many atoms more at most: those that stand beside the found ones in their documents.
        """
        query = rows.vector_of(rows.vector_bytes("(query)", vector, self.manifest.dim))
        with self._read() as connection:
            within = queries.atom_ids_where(connection, filters) if filters else None
            dense = [id_ for id_, _ in self._index.search(connection, query, k, within=within)]
            scores = dict(lexical.lexical_search(connection, text, k, filters))
            ids = queries.in_turns(dense, list(scores))
            ids += queries.read_neighbours(connection, ids, neighbours, filters)
            atoms, vectors = queries.read_dated_atoms(connection, ids), queries.read_vectors(connection, ids)
        # The cosine is the stored key's, whichever search found the atom: both indexes give the same candidates.
        found = [
            Candidate(atom, float(np.clip(rows.vector_of(vectors[id_]) @ query, -1, 1)), scores.get(id_, 0.0), updated)
            for id_, (atom, updated) in atoms.items()
        ]
        return sorted(found, key=lambda candidate: (-candidate.dense, candidate.atom.id))

    def codes(self, atom_ids: Sequence[str]) -> list[AtomCode]:
        """Return one code per id, in order.

        Raises:
            AtomNotFoundError: If an atom is not stored.
            CorruptAdapterError: If a code does not match its checksum, naming its atom.
        """
        with self._read() as connection:
            return queries.read_codes(connection, atom_ids, self.manifest)

    def keys(self, atom_ids: Sequence[str]) -> list[AtomKey]:
        """Return one key per id, in order.

        Raises:
            AtomNotFoundError: If an atom is not stored.
        """
        with self._read() as connection:
            vectors = queries.read_vectors(connection, atom_ids)
        if lost := [id_ for id_ in atom_ids if id_ not in vectors]:
            raise AtomNotFoundError(f"reading the keys of {len(atom_ids)} atoms: there is no atom {lost[0]}")
        return [AtomKey(id_, rows.vector_of(vectors[id_])) for id_ in atom_ids]

    def get(self, atom_id: str) -> Atom:
        """Return an atom.

        Raises:
            AtomNotFoundError: If it is not stored.
        """
        with self._read() as connection:
            atoms = queries.read_atoms_by_id(connection, [atom_id])
        if atom_id not in atoms:
            raise AtomNotFoundError(
                f"there is no atom {atom_id} in {self.path}; it may have been deleted (see history)"
            )
        return atoms[atom_id]

    def atoms(self, filters: Filters | None = None, *, limit: int | None = None, offset: int = 0) -> list[Atom]:
        """Return atoms by the age of their document, then by position."""
        with self._read() as connection:
            return queries.read_atoms(connection, filters, limit, offset)

    def atoms_of(self, document_id: str) -> list[Atom]:
        """Return a document's atoms in order; none if it is not stored."""
        with self._read() as connection:
            return queries.read_atoms_of(connection, document_id)

    def document(self, document_id: str) -> Document:
        """Return a document, without its blocks.

        Raises:
            DocumentNotFoundError: If it is not stored.
        """
        with self._read() as connection:
            return queries.read_document(connection, document_id)

    def documents(self, filters: Filters | None = None) -> list[DocumentSummary]:
        """Return the documents, oldest first, without their texts."""
        with self._read() as connection:
            return queries.read_documents(connection, filters)

    def history(self, atom_id: str) -> list[HistoryEvent]:
        """Return what happened to an atom, oldest first; also after it was deleted."""
        with self._read() as connection:
            return queries.read_history(connection, [atom_id])

    # -- deleting ----------------------------------------------------------------------------------------------

    def delete(self, atom_ids: Collection[str]) -> Receipt:
        """Delete atoms, and documents that have none left; unknown ids are ignored: see `Receipt.deleted`.

        A document that keeps other atoms keeps its text with the deleted sentences blanked, until it is put again.
        """
        return self._delete(atom_ids=atom_ids)

    def delete_document(self, document_id: str) -> Receipt:
        """Delete a document and its atoms.

        Raises:
            DocumentNotFoundError: If it is not stored.
        """
        with self._write() as connection:
            queries.read_document(connection, document_id)
            version = changes.next_version(connection)
            receipt = Receipt(version, deleted=tuple(changes.delete_documents(connection, [document_id], version)))
        return self._written(receipt)

    def delete_where(self, filters: Filters) -> Receipt:
        """Delete all atoms and documents that the filters mean.

        Raises:
            ValueError: If there are no filters: `reset` deletes everything.
        """
        return self._delete(filters=_not_empty(filters))

    def reset(self) -> None:
        """Delete everything, history included; whom the store belongs to stays."""
        with self._write() as connection:
            changes.delete_everything(connection)
        self._index.wipe()
        self._pending = 0
        self._compact()

    def erase(self, atom_ids: Collection[str] = (), *, filters: Filters | None = None) -> Erasure:
        """Delete atoms so that no file of the store holds them any more, and prove it by searching the files.

        Documents that have no atom left go as well; others keep their text with the erased sentences blanked. The key
        index is made anew.

        Raises:
            ValueError: If neither ids nor filters say what to erase: `reset` deletes everything.
            StoreLockedError: If another process has the key index open or keeps writing; nothing was erased.
        """
        if not atom_ids:
            _not_empty(filters or {})
        self._check_open()
        with self._lock.hold(self._config.lock_timeout_s), self._index.claimed():
            with self._database.write() as connection:
                subject = erasure.subject_of(connection, atom_ids=atom_ids, filters=filters)
                erased = erasure.erase_rows(connection, subject, filters)
            self._index.wipe()
            self._compact()
            self._index_now()
            return erasure.prove(self._database, self.path, erased)

    # -- caring ------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Number of writes that the store has seen, from any process: what is cached from an older one is stale."""
        with self._read() as connection:
            return changes.version_of(connection)

    def stats(self) -> Stats:
        """Return how much the store holds."""
        with self._read() as connection:
            return queries.read_stats(connection, self.path, self._index.kind)

    def verify(self) -> list[str]:
        """Return everything that is wrong with the store, each with what to do; reads all of it."""
        with self._read() as connection:
            problems = list(checks.database_problems(connection, self.manifest.dim))
            try:
                problems += checks.index_problems(connection, self._index.refresh(connection))
            except (StoreError, SQLAlchemyError):
                raise
            except Exception as error:
                # Whatever the index's library raises: the next search makes the index anew.
                problems.append(f"key index: it fails with {error}; call rebuild_index()")
        return problems + list(checks.lexical_problems(self._database))

    def rebuild_index(self) -> None:
        """Make the key index and the full-text index anew from the database."""
        with self._write() as connection:
            lexical.rebuild_lexical(connection)
        with self._read() as connection:
            self._index.rebuild(connection)

    # -- inside ------------------------------------------------------------------------------------------------

    def _delete(self, *, atom_ids: Collection[str] = (), filters: Filters | None = None) -> Receipt:
        with self._write() as connection:
            subject = erasure.subject_of(connection, atom_ids=atom_ids, filters=filters)
            if not subject.document_ids and not queries.read_atoms_by_id(connection, list(subject.atom_ids)):
                return Receipt(changes.version_of(connection), unchanged=True)
            version = changes.next_version(connection)
            # Where a sentence stood is forgotten with its atom: an erasure could not blank it any more.
            erasure.blank(connection, subject.atom_ids, subject.document_ids)
            deleted = changes.delete_atoms(connection, subject.atom_ids, version)
            deleted += changes.delete_documents(connection, subject.document_ids, version)
            receipt = Receipt(version, deleted=tuple(deleted))
        return self._written(receipt)

    def _compiled(self, keys: Sequence[AtomKey], codes: Sequence[AtomCode]) -> Compiled:
        """Check keys and codes against the manifest."""
        manifests.refuse_strange_codes(self.path, self.manifest, codes)
        vectors = {key.atom_id: rows.vector_bytes(key.atom_id, key.vector, self.manifest.dim) for key in keys}
        return Compiled(vectors, {code.atom_id: code.payload for code in codes})

    def _written(self, receipt: Receipt) -> Receipt:
        """Let the key index follow, once enough has changed to be worth it."""
        self._pending += len(receipt.added) + len(receipt.updated) + len(receipt.deleted)
        if self._pending >= _PENDING:
            self._index_now()
        return receipt

    def _index_now(self) -> None:
        try:
            with self._database.read() as connection:
                self._index.refresh(connection)
            self._pending = 0
        except Exception:
            # The write is committed and stays; the next search repairs the index or says why it cannot.
            logger.warning(
                "bringing the key index of %s up to date failed; the next search tries again", self.path, exc_info=True
            )

    def _compact(self) -> None:
        try:
            self._database.compact()
        except StoreLockedError as error:
            logger.warning("%s; deleted content may remain in its files until the next erase", error)

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        self._check_open()
        with self._database.read() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        self._check_open()
        with self._lock.hold(self._config.lock_timeout_s), self._database.write() as connection:
            yield connection

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"using the store {self.path}, which was closed; open it again")


def _check_atoms(document: Document, atoms: Sequence[Atom]) -> None:
    strange = [atom.id for atom in atoms if atom.document_id != document.id]
    if strange:
        raise ValueError(f"storing document {document.id}: atom {strange[0]} belongs to another document")
    if len({atom.id for atom in atoms}) < len(atoms):
        raise ValueError(f"storing document {document.id}: two of its {len(atoms)} atoms have the same id")


def _not_empty(filters: Filters) -> Filters:
    if not filters:
        raise ValueError("deleting by filters needs at least one; reset() deletes everything")
    return filters


def _not_found(path: Path) -> StoreNotFoundError:
    return StoreNotFoundError(f"opening the store {path}: there is none; check the path, or add documents to make one")


def _let_go(index: DerivedIndex, database: Database, pid: int) -> None:
    # A forked child that ends must not close what its parent goes on using.
    if os.getpid() == pid:
        index.close()
        database.close()
