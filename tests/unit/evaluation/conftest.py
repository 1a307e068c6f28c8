"""A world of three documents, and a memory of small real parts to ask about them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from parametric_memory.adapters import export_peft, spec_for
from parametric_memory.config import PromptConfig
from parametric_memory.evaluation import Library, Question, read_questions
from parametric_memory.hypernetwork.checkpoint import Checkpoint, save_checkpoint
from parametric_memory.hypernetwork.document import DocumentHypernetwork, document_config_for
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import ComposedAdapter, Document, LoraFactors

# Processes of these tests import it too.
sys.path.insert(0, str(Path(__file__).parent))

from tiny_parts import CONFIG, tiny_parts

PORT = "The harbour of Lorn opened in 1894. Its lighthouse is painted green. Ferries leave for Skerry every Tuesday."
BAKERY = "The bakery on Mill Street opened in 1921. Its owner is Maud Ferris. It sells rye bread."
RIVER = "The river Ebble rises near Alvediston. It is nineteen kilometres long."
ROWS: list[dict[str, Any]] = [
    {
        "doc_id": "port",
        "title": "Lorn",
        "document": PORT,
        "question": "Which colour is the lighthouse?",
        "answers": ["green"],
    },
    {
        "doc_id": "port",
        "title": "Lorn",
        "document": PORT,
        "question": "When did the harbour of Lorn open?",
        "answers": ["1894", "in 1894"],
    },
    {"doc_id": "bakery", "document": BAKERY, "question": "Who is the owner of the bakery?", "answers": ["Maud Ferris"]},
    {
        "doc_id": "river",
        "document": RIVER,
        "question": "Who is the king of Norway?",
        "answers": [],
        "answerable": False,
    },
]

WriteRows = Callable[..., Path]
OpenMemory = Callable[[Path], ParametricMemory]


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """Return a writer of JSON lines into a temporary folder."""

    def write(rows: list[dict[str, Any]], name: str = "world.dev.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def world(write_rows: WriteRows) -> Path:
    """The file of the world's questions."""
    return write_rows(ROWS)


@pytest.fixture
def questions(world: Path) -> list[Question]:
    return read_questions(world)


@pytest.fixture(scope="session")
def parts() -> dict[str, Any]:
    """A tiny base model, a hypernetwork for it that was never trained, and keys of hashed words."""
    return tiny_parts()


@pytest.fixture
def open_memory(parts: dict[str, Any]) -> OpenMemory:
    """Return what opens a memory of small parts."""
    return lambda path: ParametricMemory(**parts, path=path, config=CONFIG)


@pytest.fixture
def memory(open_memory: OpenMemory, tmp_path: Path) -> Iterator[ParametricMemory]:
    """A memory that holds the world's documents."""
    with open_memory(tmp_path / "memory") as opened:
        for doc_id, title, text in (("port", "Lorn", PORT), ("bakery", "", BAKERY), ("river", "", RIVER)):
            opened.add(Document.of(text, source=doc_id, title=title, metadata={"doc_id": doc_id}))
        yield opened


@pytest.fixture(scope="session")
def document_checkpoint(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A document compiler for the tiny base model that was never trained, but speaks."""
    backend = parts["backend"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DocumentHypernetwork(document_config_for(backend.model, layers=2, rank=2, width=20, blocks=1))
        network.scale_b.data.normal_()
        network.bias_b.data.normal_()
    folder = tmp_path_factory.mktemp("documents")
    spec = spec_for(backend.model, backend.base_model, last=2)
    save_checkpoint(Checkpoint(network, spec, PromptConfig(system="", prefix="D:")), folder)
    return folder


@pytest.fixture
def open_with_documents(parts: dict[str, Any], document_checkpoint: Path) -> OpenMemory:
    """Return what opens a memory of small parts whose settings name a document compiler."""
    config = replace(CONFIG, document_checkpoint=str(document_checkpoint))
    return lambda path: ParametricMemory(**parts, path=path, config=config)


@pytest.fixture
def with_documents(memory: ParametricMemory, document_checkpoint: Path) -> ParametricMemory:
    """The memory of the world's documents, whose settings name a document compiler."""
    memory.config = replace(memory.config, document_checkpoint=str(document_checkpoint))
    return memory


@pytest.fixture
def library(memory: ParametricMemory) -> Library:
    return Library(memory)


@pytest.fixture
def tiny_reader(parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComposedAdapter:
    """A reader for the tiny base model, as if it came with the package."""
    backend = parts["backend"]
    spec = spec_for(backend.model, backend.base_model, last=2)
    random = torch.Generator().manual_seed(0)
    factors = {
        target: LoraFactors(torch.randn(4, 96, generator=random), torch.randn(32, 4, generator=random))
        for target in spec.targets
    }
    reader = ComposedAdapter(spec, factors, ())
    export_peft(reader, tmp_path / "readers" / "tiny")
    monkeypatch.setattr("parametric_memory.evaluation.reader.SHIPPED", tmp_path / "readers")
    return reader
