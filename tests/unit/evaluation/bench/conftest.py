"""A tiny architecture as `--random-weights` takes it, and memories of it that any process can open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from parametric_memory.config import MemoryConfig, StoreConfig
from parametric_memory.evaluation.bench import RandomWeights
from parametric_memory.evaluation.bench.memories import beside
from parametric_memory.memory import ParametricMemory
from parametric_memory.testing.doubles import HashingKeyEncoder, tiny_model


@pytest.fixture(scope="session")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config.json and a tokenizer of single bytes; no weights."""
    folder = tmp_path_factory.mktemp("architecture")
    model, tokenizer = tiny_model()
    # Bytes are many: four passages must fit.
    model.config.max_position_embeddings = 4096
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def opener(architecture: Path) -> RandomWeights:
    config = MemoryConfig(store=StoreConfig(index="numpy"))
    return RandomWeights(
        architecture=architecture, layers=2, width=40, config=config, key_encoder=HashingKeyEncoder(), device="cpu"
    )


@pytest.fixture(scope="session")
def parts(opener: RandomWeights, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParametricMemory]:
    """A memory whose models the others share."""
    with opener(tmp_path_factory.mktemp("parts")) as memory:
        yield memory


@pytest.fixture
def memory(parts: ParametricMemory, tmp_path: Path) -> Iterator[ParametricMemory]:
    """An empty memory."""
    with beside(parts, tmp_path / "memory") as opened:
        yield opened
