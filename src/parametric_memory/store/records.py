"""What the store says about itself: its manifest, the receipts of its writes, its history and its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from parametric_memory.types import AdapterSpec, Metadata


@dataclass(frozen=True, slots=True)
class Manifest:
    """Whom a store belongs to; ``id`` is made anew with every store, ``schema`` is the number of its last migration."""

    id: str
    schema: int
    spec: AdapterSpec
    key_encoder: str
    dim: int
    compiler: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a write did, by atom id; ``version`` is the store's version after it.

    ``kept`` atoms were there already and stay as they are. A write that added, updated and deleted nothing and left
    the document as it was is ``unchanged``: it wrote nothing.
    """

    version: int
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Erasure:
    """The proof of an erasure: what was searched for afterwards, and where it was still found.

    Attributes:
        deleted: Ids of the erased atoms.
        files_scanned: Number of files of the store that were searched for the erased bytes.
        residuals: Files that still hold erased bytes, each with what was found. Empty if the erasure is complete.
        shared: Parts of erased texts that documents outside the erasure say as well; they stay where those are stored.
    """

    deleted: tuple[str, ...]
    files_scanned: int
    residuals: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


class Change(StrEnum):
    """What happened to an atom."""

    ADD = "ADD"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One change of one atom; a statement is None before an ADD, after a DELETE, and wherever it was erased."""

    atom_id: str
    document_id: str
    change: Change
    old: str | None
    new: str | None
    time: datetime


@dataclass(frozen=True, slots=True)
class DocumentSummary:
    """A stored document without its text; ``characters`` is the text's length, ``atoms`` their number."""

    id: str
    source: str
    title: str
    characters: int
    atoms: int
    added: datetime
    updated: datetime
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stats:
    """How much the store holds, in bytes; ``index`` says which key index answers in this process."""

    documents: int
    atoms: int
    kinds: Mapping[str, int]
    text_bytes: int
    key_bytes: int
    code_bytes: int
    index_bytes: int
    database_bytes: int
    path: Path
    index: str
