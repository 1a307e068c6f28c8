"""Filters: which atoms or documents are meant, by equality of metadata.

``{"user_id": "ada", "year": [2023, 2024]}`` means: the user is ada and the year is one of these. ``document_id``,
``kind`` and ``source`` also match an atom's own fields. Numbers are equal as in Python (1 == 1.0), but a bool is not a
number and a string is never either.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import TypeAlias

from sqlalchemy import ColumnElement, Table, and_, or_, select, true

from parametric_memory.store.schema import atom_metadata, atoms, document_metadata, documents
from parametric_memory.types import Metadata, Scalar

Filters: TypeAlias = Mapping[str, Scalar | Collection[Scalar]]


def canonical(key: str, value: object) -> str:
    """Return the JSON that equal values share.

    Raises:
        ValueError: If the value is not a string, a bool or a finite number.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"metadata {key!r} must be a string, a bool or a finite number, got {value!r}")
    return json.dumps(value, ensure_ascii=False)


def metadata_rows(owner: str, metadata: Metadata) -> list[dict[str, str]]:
    """Return the rows that make an atom's or a document's metadata findable."""
    return [{"owner": owner, "key": key, "value": canonical(key, value)} for key, value in metadata.items()]


def matches(metadata: Metadata, filters: Filters) -> bool:
    """Whether metadata alone satisfies the filters: what `atoms_where` asks of the database, asked of a dict."""
    return all(
        key in metadata and canonical(key, metadata[key]) in _wanted(key, value) for key, value in filters.items()
    )


def atoms_where(filters: Filters | None) -> ColumnElement[bool]:
    """Return the condition on ``atoms`` that the filters mean; everything, if there are none."""
    own = {"document_id": atoms.c.document_id, "kind": atoms.c.kind, "source": atoms.c.source}
    return _where(filters, atom_metadata, atoms.c.id, own)


def documents_where(filters: Filters | None) -> ColumnElement[bool]:
    """Return the condition on ``documents`` that the filters mean; everything, if there are none."""
    own = {"document_id": documents.c.id, "source": documents.c.source}
    return _where(filters, document_metadata, documents.c.id, own)


def _where(
    filters: Filters | None, table: Table, owner: ColumnElement[str], own: Mapping[str, ColumnElement[str]]
) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = []
    for key, value in (filters or {}).items():
        wanted = _wanted(key, value)
        found: ColumnElement[bool] = owner.in_(
            select(table.c.owner).where(table.c.key == key, table.c.value.in_(wanted))
        )
        if key in own:
            found = or_(found, own[key].in_([json.loads(one) for one in wanted if one.startswith('"')]))
        conditions.append(found)
    return and_(true(), *conditions)


def _wanted(key: str, value: Scalar | Collection[Scalar]) -> list[str]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        return [canonical(key, value)]
    return sorted({canonical(key, one) for one in value})
