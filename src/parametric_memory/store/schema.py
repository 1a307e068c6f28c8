"""The tables, as queries see them; `migrations` makes them, and a test holds the two together.

``statements`` is the full-text index (SQLite's FTS5) over ``atoms.statement``, kept equal to it by triggers.
Everything except that table and its triggers is plain SQL.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    column,
    table,
)

tables = MetaData()

#: Single values by name: whom the store belongs to, its schema and its version.
manifest = Table(
    "manifest",
    tables,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

#: ``hash`` covers everything that was given; it is NULL once atoms were taken away, so that adding again repairs.
documents = Table(
    "documents",
    tables,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("hash", Text),
    Column("metadata", JSON, nullable=False),
    Column("added", Float, nullable=False),
    Column("updated", Float, nullable=False),
)

#: ``number`` is what the full-text index knows an atom by.
atoms = Table(
    "atoms",
    tables,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("document_id", Text, ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("statement", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("context", Text, nullable=False),
    Column("span_start", Integer, nullable=False),
    Column("span_end", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("added", Float, nullable=False),
    Column("updated", Float, nullable=False),
)

#: Metadata once more, one row per key, for filters; ``value`` is canonical JSON (see `filters`).
atom_metadata = Table(
    "atom_metadata",
    tables,
    Column("owner", Text, ForeignKey("atoms.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
document_metadata = Table(
    "document_metadata",
    tables,
    Column("owner", Text, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

#: ``vector`` is (dim,) float32, little-endian, unit norm.
keys = Table(
    "keys",
    tables,
    Column("atom_id", Text, ForeignKey("atoms.id", ondelete="CASCADE"), primary_key=True),
    Column("vector", LargeBinary, nullable=False),
)

codes = Table(
    "codes",
    tables,
    Column("atom_id", Text, ForeignKey("atoms.id", ondelete="CASCADE"), primary_key=True),
    Column("payload", LargeBinary, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
)

#: Every change of every atom; also the log from which other processes bring their key index up to date. ``metadata``
#: holds the atom's kind and source too: filters mean it by them, also after it was deleted.
history = Table(
    "history",
    tables,
    Column("id", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("atom_id", Text, nullable=False),
    Column("document_id", Text, nullable=False),
    Column("change", Text, nullable=False),
    Column("old", Text),
    Column("new", Text),
    Column("metadata", JSON(none_as_null=True)),
    Column("time", Float, nullable=False),
)

#: Full-text index; ``statements MATCH query`` and ``rank`` (BM25, smaller is better) are FTS5's.
statements = table("statements", column("rowid", Integer), column("statements", Text), column("rank", Float))
