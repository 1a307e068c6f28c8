"""A world in a line: a `Page` is a document of given sentences, with the atoms, keys and codes that go with it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from parametric_memory.config import StoreConfig
from parametric_memory.store import AtomStore
from parametric_memory.types import AdapterSpec, Atom, AtomCode, AtomKey, AtomKind, Document, Scalar, Span, stable_id

SPEC = AdapterSpec("tiny", "f" * 64, ("layers.0.mlp", "layers.1.mlp"))
COMPILER = "test:1"
DIM = 64


@dataclass
class Page:
    """A document of the given sentences, one atom each."""

    source: str
    sentences: Sequence[str]
    metadata: dict[str, Scalar] = field(default_factory=dict)

    @property
    def document(self) -> Document:
        return Document.of("\n".join(self.sentences), source=self.source, title="Page", metadata=self.metadata)

    @property
    def atoms(self) -> list[Atom]:
        document, atoms, start = self.document, [], 0
        for position, text in enumerate(self.sentences):
            span = Span(start, start + len(text))
            id_ = stable_id(document.id, text, str(self.sentences[:position].count(text)))
            atoms.append(
                Atom(
                    id_, AtomKind.FACT, text, text, document.id, span, "Page", position, self.source, document.metadata
                )
            )
            start = span.end + 1
        return atoms

    @property
    def keys(self) -> list[AtomKey]:
        return [key_of(atom) for atom in self.atoms]

    @property
    def codes(self) -> list[AtomCode]:
        return [code_of(atom) for atom in self.atoms]

    @property
    def ids(self) -> list[str]:
        return [atom.id for atom in self.atoms]


def key(text: str) -> np.ndarray:
    """A key by the words of a text, made without a model, so that child processes start fast."""
    vector = np.zeros(DIM, np.float32)
    for word in re.findall(r"\w+", text.lower()) or [text]:
        vector += np.random.default_rng(int(stable_id(word), 16) % 2**32).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def key_of(atom: Atom) -> AtomKey:
    return AtomKey(atom.id, key(atom.statement))


def code_of(atom: Atom) -> AtomCode:
    seed = int(stable_id(atom.statement), 16) % 2**32
    return AtomCode(atom.id, SPEC, COMPILER, np.random.default_rng(seed).bytes(200))


def put(store: AtomStore, page: Page):
    return store.put(page.document, page.atoms, page.keys, page.codes)


def find(store: AtomStore, question: str, k: int = 5, **filters):
    return store.search(question, key(question), k, filters=filters or None)


def open_store(path: Path, index: str = "numpy", **changes) -> AtomStore:
    identity = {"spec": SPEC, "key_encoder": "words", "dim": DIM, "compiler": COMPILER}
    config = changes.pop("config", StoreConfig(index=index, lock_timeout_s=5))
    return AtomStore.open(path, **{**identity, **changes}, config=config)


@contextmanager
def writing_to(store: AtomStore) -> Iterator[None]:
    """Keep the store's database locked, as somebody else who writes to it does."""
    with closing(sqlite3.connect(store.path / "store.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield


ADA = Page(
    "ada.md", ["Ada keeps her passport X1234567 in the blue drawer.", "Ada drinks green tea."], {"user_id": "ada"}
)
BOB = Page("bob.md", ["Bob keeps his passport in the red suitcase.", "Bob drinks black coffee."], {"user_id": "bob"})
