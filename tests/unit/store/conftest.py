"""A world in a line: `Page` is a document that grows sentences, with the atoms, keys and codes that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from parametric_memory.config import StoreConfig
from parametric_memory.store import AtomStore
from parametric_memory.testing.doubles import HashingKeyEncoder
from parametric_memory.types import AdapterSpec, Atom, AtomCode, AtomKey, AtomKind, Document, Scalar, Span, stable_id

SPEC = AdapterSpec("tiny", "f" * 64, ("layers.0.mlp", "layers.1.mlp"))
COMPILER = "test:1"
ENCODER = HashingKeyEncoder()


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
                Atom(id_, AtomKind.FACT, text, text, document.id, span, "Page", position, self.source, document.metadata)
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


def key_of(atom: Atom) -> AtomKey:
    return AtomKey(atom.id, ENCODER.encode_atoms([atom.statement])[0])


def code_of(atom: Atom) -> AtomCode:
    seed = int(stable_id(atom.statement), 16) % 2**32
    return AtomCode(atom.id, SPEC, COMPILER, np.random.default_rng(seed).bytes(200))


def put(store: AtomStore, page: Page):
    return store.put(page.document, page.atoms, page.keys, page.codes)


def find(store: AtomStore, question: str, k: int = 5, **filters):
    return store.search(question, ENCODER.encode_query(question), k, filters=filters or None)


def open_store(path: Path, index: str = "numpy", **changes) -> AtomStore:
    identity = {"spec": SPEC, "key_encoder": ENCODER.name, "dim": ENCODER.dim, "compiler": COMPILER}
    config = changes.pop("config", StoreConfig(index=index, lock_timeout_s=5))
    return AtomStore.open(path, **{**identity, **changes}, config=config)


ADA = Page("ada.md", ["Ada keeps her passport X1234567 in the blue drawer.", "Ada drinks green tea."], {"user_id": "ada"})
BOB = Page("bob.md", ["Bob keeps his passport in the red suitcase.", "Bob drinks black coffee."], {"user_id": "bob"})


@pytest.fixture(params=["numpy", "chroma"])
def store(tmp_path, request):
    """An empty store, once with each index."""
    with open_store(tmp_path / "store", request.param) as store:
        yield store


@pytest.fixture
def plain(tmp_path):
    """An empty store with the exact index."""
    with open_store(tmp_path / "store") as store:
        yield store
