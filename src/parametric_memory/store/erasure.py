"""Erasing: rows overwritten, everything derived made anew, and a scan of all files that proves it.

A plain delete leaves traces: words in the full-text index, statements in the history, pages in the write-ahead log,
keys in Chroma's files. An erasure removes these too. A document that keeps other atoms keeps its text, with the erased
sentences blanked, character for character, so that the other citations still stand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Text, cast, func, null, or_, select, update

from parametric_memory.store import changes, queries, schema
from parametric_memory.store.database import Database, batches
from parametric_memory.store.filters import Filters, matches
from parametric_memory.store.lexical import rebuild_lexical
from parametric_memory.store.records import Erasure
from parametric_memory.store.residue import pieces, scan, vector_pieces


@dataclass(frozen=True, slots=True)
class Erased:
    """What a transaction erased: atom ids, and the pieces of text and keys that must not be found any more."""

    atom_ids: tuple[str, ...]
    texts: frozenset[bytes]
    vectors: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is erased: atoms, and documents with everything that was learned from them."""

    atom_ids: frozenset[str]
    document_ids: frozenset[str]


def subject_of(connection: Connection, *, atom_ids: Collection[str] = (), filters: Filters | None = None) -> Subject:
    """Return what atom ids or filters mean; documents that would have no atom left are meant as a whole."""
    meant = {*atom_ids, *(queries.atom_ids_where(connection, filters) if filters else ())}
    documents = {
        *changes.emptied(connection, meant),
        *(queries.document_ids_where(connection, filters) if filters else ()),
    }
    return Subject(frozenset(meant), frozenset(documents))


def erase_rows(connection: Connection, subject: Subject, filters: Filters | None) -> Erased:
    """Delete the subject's rows, blank its sentences in texts that stay, and take its statements out of the history."""
    of_documents = select(schema.atoms.c.id).where(schema.atoms.c.document_id.in_(list(subject.document_ids)))
    atom_ids = sorted(subject.atom_ids | set(connection.scalars(of_documents)))
    texts = _texts_of(connection, atom_ids, subject.document_ids)
    vectors = queries.read_vectors(connection, atom_ids)
    version = changes.next_version(connection)
    _blank(connection, atom_ids, subject.document_ids)
    deleted = changes.delete_atoms(connection, atom_ids, version)
    changes.delete_documents(connection, subject.document_ids, version)
    texts |= _forget_history(connection, {*atom_ids}, subject.document_ids, filters)
    rebuild_lexical(connection)
    return Erased(
        tuple(deleted),
        frozenset(piece for text in texts for piece in pieces(text)),
        frozenset(piece for vector in vectors.values() for piece in vector_pieces(vector)),
    )


def prove(database: Database, folder: Path, erased: Erased) -> Erasure:
    """Search all files of the folder for what was erased."""
    files, found = scan(folder, erased.texts | erased.vectors)
    residuals, shared = [], []
    with database.read() as connection:
        for piece, places in sorted(found.items()):
            what = piece.decode(errors="replace") if piece in erased.texts else "part of a key"
            if _lives(connection, piece, is_text=piece in erased.texts):
                shared.append(what)
            else:
                residuals.append(f"{', '.join(sorted(places))}: {what}")
    return Erasure(erased.atom_ids, files, tuple(residuals), tuple(shared))


def _texts_of(connection: Connection, atom_ids: Iterable[str], document_ids: Collection[str]) -> set[str]:
    texts: set[str] = set()
    for atom in queries.read_atoms_by_id(connection, list(atom_ids)).values():
        texts |= {atom.statement, atom.text}
    for batch in batches(list(document_ids)):
        texts.update(connection.scalars(select(schema.documents.c.text).where(schema.documents.c.id.in_(batch))))
    return texts


def _blank(connection: Connection, atom_ids: Collection[str], document_ids: Collection[str]) -> None:
    """Replace the atoms' characters with spaces in the documents that stay."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for atom in queries.read_atoms_by_id(connection, list(atom_ids)).values():
        if atom.document_id not in document_ids:
            spans.setdefault(atom.document_id, []).append((atom.span.start, atom.span.end))
    for document_id, places in spans.items():
        text = queries.read_document(connection, document_id).text
        for start, end in places:
            text = text[:start] + " " * len(text[start:end]) + text[end:]
        connection.execute(update(schema.documents).where(schema.documents.c.id == document_id).values(text=text))


def _forget_history(
    connection: Connection, atom_ids: Collection[str], document_ids: Collection[str], filters: Filters | None
) -> set[str]:
    """Take the subject's statements out of the history, also those of atoms deleted long ago; return them."""
    texts: set[str] = set()
    events: list[int] = []
    for row in connection.execute(select(schema.history).where(schema.history.c.metadata.is_not(null()))):
        own = {**(row.metadata or {}), "document_id": row.document_id}
        if row.atom_id in atom_ids or row.document_id in document_ids or (filters and matches(own, filters)):
            texts.update(text for text in (row.old, row.new) if text)
            events.append(row.id)
    for batch in batches(events):
        gone = update(schema.history).where(schema.history.c.id.in_(batch))
        connection.execute(gone.values(old=None, new=None, metadata=None))
    return texts


def _lives(connection: Connection, piece: bytes, *, is_text: bool) -> bool:
    """Whether a row that was not erased holds the piece."""
    if not is_text:
        return (
            connection.scalar(select(schema.keys.c.atom_id).where(func.instr(schema.keys.c.vector, piece) > 0))
            is not None
        )
    text = piece.decode()
    places = {
        schema.documents: ("text", "title", "source", "metadata"),
        schema.atoms: ("statement", "text", "context", "source", "metadata"),
        schema.history: ("old", "new"),
    }
    for table, names in places.items():
        holds = or_(*(func.instr(cast(table.c[name], Text), text) > 0 for name in names))
        if connection.execute(select(1).select_from(table).where(holds).limit(1)).first():
            return True
    return False
