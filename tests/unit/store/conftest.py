from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from store_world import open_store


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
