from __future__ import annotations

from pathlib import Path

import pytest

from parametric_memory.store.chroma_index import ChromaIndex
from parametric_memory.store.numpy_index import NumpyIndex
from parametric_memory.testing.key_index import KeyIndexConformance, unit_keys


class TestNumpyIndex(KeyIndexConformance):
    @pytest.fixture
    def index(self):
        index = NumpyIndex()
        yield index
        index.close()


class TestChromaIndex(KeyIndexConformance):
    @pytest.fixture
    def index(self, tmp_path):
        index = ChromaIndex(tmp_path / "index")
        yield index
        index.close()

    def test_keys_outlive_the_object(self, tmp_path):
        keys = unit_keys(20)
        first = ChromaIndex(tmp_path / "index")
        first.upsert(keys)
        first.close()
        second = ChromaIndex(tmp_path / "index")
        assert second.search(keys[7].vector, 1)[0][0] == "atom-7"
        second.close()

    def test_within_may_name_more_unknown_ids_than_one_statement_of_its_database(self, index: ChromaIndex):
        index.upsert(unit_keys(2))
        found = index.search(unit_keys(2)[1].vector, 5, within=[*(f"nobody-{n}" for n in range(33_000)), "atom-1"])
        assert [id_ for id_, _ in found] == ["atom-1"]

    def test_no_model_is_downloaded_and_no_text_is_kept(self, index: ChromaIndex, tmp_path: Path):
        index.upsert(unit_keys(3))
        stored = index._collection.get(include=["documents", "metadatas"])
        assert stored["documents"] == [None] * 3
        assert stored["metadatas"] == [None] * 3
        assert index._collection._embedding_function is None
