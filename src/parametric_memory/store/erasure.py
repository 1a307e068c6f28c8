"""Erasing: rows overwritten, everything derived made anew, and a scan of all files that proves it.

A plain delete leaves traces: words in the full-text index, statements in the history, pages in the write-ahead log,
keys in Chroma's files. An erasure removes these too. A document that keeps other atoms keeps its text, with the erased
sentences blanked, character for character, so that the other citations still stand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Text, cast, null, select, update

from parametric_memory.store import changes, queries, schema
from parametric_memory.store.database import Database, batches
from parametric_memory.store.filters import Filters, matches
from parametric_memory.store.lexical import rebuild_lexical
from parametric_memory.store.records import Erasure
from parametric_memory.store.residue import held, pieces, scan, stretches, vector_pieces

#: Rows read at a time where they are searched for what was erased.
_CHUNK = 100

#: Where text stands that may say again what was erased.
_TEXTS = {
    schema.documents: ("text", "title", "source", "metadata"),
    schema.atoms: ("statement", "text", "context", "source", "metadata"),
    schema.history: ("old", "new"),
}


@dataclass(frozen=True, slots=True)
class Erased:
    """What a transaction erased: atom ids, and the texts and keys that must not be found any more."""

    atom_ids: tuple[str, ...]
    texts: frozenset[str]
    vectors: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is erased: atoms, and documents with everything that was learned from them."""

    atom_ids: frozenset[str]
    document_ids: frozenset[str]


def subject_of(connection: Connection, *, atom_ids: Collection[str] = (), filters: Filters | None = None) -> Subject:
    """Return what atom ids or filters mean; documents that would have no atom left are meant as a whole.

    Raises:
        TypeError: If the ids are one string: its letters are no ids.
    """
    if isinstance(atom_ids, str):
        raise TypeError(f"deleting {atom_ids!r}: ids takes several, and this is one string; pass [{atom_ids!r}]")
    meant = {*atom_ids, *(queries.atom_ids_where(connection, filters) if filters else ())}
    documents = {
        *changes.emptied(connection, meant),
        *(queries.document_ids_where(connection, filters) if filters else ()),
    }
    return Subject(frozenset(meant), frozenset(documents))


def erase_rows(connection: Connection, subject: Subject, filters: Filters | None) -> Erased:
    """Delete the subject's rows, blank its sentences in texts that stay, and take its statements out of the history."""
    meant = set(subject.atom_ids)
    for batch in batches(sorted(subject.document_ids)):
        meant.update(connection.scalars(select(schema.atoms.c.id).where(schema.atoms.c.document_id.in_(batch))))
    atom_ids = sorted(meant)
    texts = _texts_of(connection, atom_ids, subject.document_ids)
    vectors = queries.read_vectors(connection, atom_ids)
    version = changes.next_version(connection)
    blank(connection, atom_ids, subject.document_ids)
    deleted = changes.delete_atoms(connection, atom_ids, version)
    changes.delete_documents(connection, subject.document_ids, version)
    texts |= _forget_history(connection, {*atom_ids}, subject.document_ids, filters)
    rebuild_lexical(connection)
    return Erased(tuple(deleted), frozenset(texts), frozenset(vectors.values()))


def prove(database: Database, folder: Path, erased: Erased) -> Erasure:
    """Search all files of the folder for what was erased."""
    of_texts = {piece for text in erased.texts for piece in pieces(text)}
    of_keys = {piece for vector in erased.vectors for piece in vector_pieces(vector)}
    files, found = scan(folder, of_texts | of_keys)
    with database.read() as connection:
        alive = held(_live_rows(connection), found) if found else set()
    left: dict[str, set[bytes]] = defaultdict(set)
    for piece in found.keys() - alive:
        left[", ".join(sorted(found[piece]))].add(piece)

    def shown(some: set[bytes]) -> list[str]:
        return stretches(erased.texts, some) + ["part of a key"] * bool(some & of_keys)

    residuals = [f"{places}: {what}" for places in sorted(left) for what in shown(left[places])]
    return Erasure(erased.atom_ids, files, tuple(residuals), tuple(shown(alive)))


def blank(connection: Connection, atom_ids: Collection[str], document_ids: Collection[str]) -> None:
    """Replace the characters that atoms cite with spaces, in all their documents but those of `document_ids`.

    What other atoms cite of the same characters is gone with them; their statements and all other citations stay.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    for atom in queries.read_atoms_by_id(connection, list(atom_ids)).values():
        if atom.document_id not in document_ids:
            spans.setdefault(atom.document_id, []).append((atom.span.start, atom.span.end))
    for document_id, places in spans.items():
        text = queries.read_document(connection, document_id).text
        for start, end in places:
            text = text[:start] + " " * len(text[start:end]) + text[end:]
        connection.execute(update(schema.documents).where(schema.documents.c.id == document_id).values(text=text))


def _texts_of(connection: Connection, atom_ids: Iterable[str], document_ids: Collection[str]) -> set[str]:
    texts: set[str] = set()
    for atom in queries.read_atoms_by_id(connection, list(atom_ids)).values():
        texts |= {atom.statement, atom.text}
    for batch in batches(list(document_ids)):
        texts.update(connection.scalars(select(schema.documents.c.text).where(schema.documents.c.id.in_(batch))))
    return texts


def _forget_history(
    connection: Connection, atom_ids: Collection[str], document_ids: Collection[str], filters: Filters | None
) -> set[str]:
    """Take the subject's statements out of the history, also those of atoms deleted long ago; return them.

    Events count for the atom, not for themselves: when it was added it may not have had the tag that is erased.
    """
    events = select(schema.history).where(schema.history.c.metadata.is_not(null()))
    meant = set(atom_ids)
    for row in connection.execute(events):
        own = {**row.metadata, "document_id": row.document_id}
        if row.document_id in document_ids or (filters and matches(own, filters)):
            meant.add(row.atom_id)
    texts: set[str] = set()
    for batch in batches(sorted(meant)):
        of_atoms = schema.history.c.atom_id.in_(batch)
        texts.update(text for row in connection.execute(events.where(of_atoms)) for text in (row.old, row.new) if text)
        connection.execute(update(schema.history).where(of_atoms).values(old=None, new=None, metadata=None))
    return texts


def _live_rows(connection: Connection) -> Iterator[bytes]:
    """Yield the texts and the keys that were not erased, some rows at a time."""
    for table, names in _TEXTS.items():
        rows = connection.execution_options(stream_results=True).execute(
            select(*(cast(table.c[name], Text) for name in names))
        )
        for part in rows.partitions(_CHUNK):
            # Two rows must not make up a sentence that neither says.
            yield "\0".join(text for row in part for text in row if text).encode()
    for part in connection.execute(select(schema.keys.c.vector)).partitions(_CHUNK):
        yield b"".join(row.vector for row in part)
