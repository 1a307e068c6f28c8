"""Nouns to rows and back: what the tables hold of a document, an atom, a key and a code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row

from parametric_memory.store.filters import canonical
from parametric_memory.types import Atom, AtomKind, Document, Metadata, Span

#: A row to insert; values are what SQLite stores.
Values: TypeAlias = dict[str, Any]


def document_values(document: Document) -> Values:
    """Return the row of a document, without its times."""
    return {
        "id": document.id,
        "source": document.source,
        "title": document.title,
        "text": document.text,
        "hash": document_hash(document),
        "metadata": plain(document.metadata),
    }


def document_hash(document: Document) -> str:
    """Return a hash of everything that is stored of a document: equal hashes, nothing to do."""
    parts = [document.source, document.title, document.text, plain(document.metadata)]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def atom_values(atom: Atom) -> Values:
    """Return the row of an atom, without its times."""
    return {
        "id": atom.id,
        "document_id": atom.document_id,
        "position": atom.position,
        "kind": str(atom.kind),
        "statement": atom.statement,
        "text": atom.text,
        "context": atom.context,
        "span_start": atom.span.start,
        "span_end": atom.span.end,
        "source": atom.source,
        "metadata": plain(atom.metadata),
    }


#: What an atom is compiled from: if none of these changed, its key and its code still hold.
CONTENT = ("kind", "statement", "text", "context")


def content_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the fields of an atom's row that its key and code were made from."""
    return tuple(values[name] for name in CONTENT)


def atom_of(row: Row[Any]) -> Atom:
    """Return the atom of a row of ``atoms``."""
    return Atom(
        id=row.id,
        kind=AtomKind(row.kind),
        statement=row.statement,
        text=row.text,
        document_id=row.document_id,
        span=Span(row.span_start, row.span_end),
        context=row.context,
        position=row.position,
        source=row.source,
        metadata=row.metadata,
    )


def document_of(row: Row[Any]) -> Document:
    """Return the document of a row of ``documents``; its blocks are not stored."""
    return Document(row.id, row.text, row.source, row.title, row.metadata)


def plain(metadata: Metadata) -> Values:
    """Return metadata as a dict of its own.

    Raises:
        ValueError: If a value is not a string, a bool or a finite number.
    """
    for key, value in metadata.items():
        canonical(key, value)
    return dict(metadata)


def vector_bytes(atom_id: str, vector: NDArray[np.float32], dim: int) -> bytes:
    """Return a key as it is stored.

    Raises:
        ValueError: If it is not (dim,), or not of unit norm.
    """
    if vector.shape != (dim,):
        raise ValueError(f"the key of atom {atom_id} has shape {vector.shape}, this store holds keys of ({dim},)")
    norm = float(np.linalg.norm(vector))
    if not abs(norm - 1) < 1e-3:
        raise ValueError(f"the key of atom {atom_id} has norm {norm:g}; a key encoder returns keys of norm 1")
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def vector_of(blob: bytes) -> NDArray[np.float32]:
    """Return the key of stored bytes, (dim,) float32; read-only."""
    return np.frombuffer(blob, dtype="<f4")


def checksum(payload: bytes) -> bytes:
    """Return what a payload is checked against when it is read."""
    return hashlib.blake2b(payload, digest_size=16).digest()


def moment(seconds: float) -> datetime:
    """Return a stored time."""
    return datetime.fromtimestamp(seconds, UTC)
