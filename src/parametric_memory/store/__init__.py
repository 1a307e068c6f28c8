"""Where atoms live: a SQLite database is the source of truth, the key index is derived from it.

`AtomStore` holds the verbs; the rest of the room is what they are made of.
"""

from parametric_memory.store.atom_store import AtomStore
from parametric_memory.store.filters import Filters
from parametric_memory.store.records import (
    Change,
    DocumentSummary,
    Erasure,
    HistoryEvent,
    Manifest,
    Receipt,
    Stats,
)

__all__ = [
    "AtomStore",
    "Change",
    "DocumentSummary",
    "Erasure",
    "Filters",
    "HistoryEvent",
    "Manifest",
    "Receipt",
    "Stats",
]
