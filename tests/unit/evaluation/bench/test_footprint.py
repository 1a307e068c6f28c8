from __future__ import annotations

from dataclasses import replace

import torch

from parametric_memory.config import PromptConfig
from parametric_memory.evaluation.bench.footprint import kv_cache_bytes, measure_bytes, rag_bytes, size_of
from parametric_memory.evaluation.bench.memories import beside
from parametric_memory.evaluation.prompts import reading_choice
from parametric_memory.evaluation.rag import split
from parametric_memory.types import Document


def test_the_kv_cache_is_as_large_as_the_one_that_the_model_makes(parts):
    model = parts.backend.model
    with torch.no_grad():
        cache = model(torch.tensor([[1, 2, 3, 4, 5]]), use_cache=True).past_key_values
    real = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
    assert kv_cache_bytes(parts.backend) * 5 == real
    assert kv_cache_bytes(parts.backend, itemsize=2) * 10 == real


def test_parts_add_up_to_the_bytes_on_disk(parts, tmp_path):
    with beside(parts, tmp_path / "empty") as memory:
        pass
    with beside(parts, tmp_path / "memory") as memory:
        # More than fits into the pages that an empty database has already.
        memory.add(" ".join(f"The harbour of Lorn opened pier {number} in {1894 + number}." for number in range(40)))
        stats = memory.stats()
    found = measure_bytes(tmp_path / "memory", stats, empty=size_of(tmp_path / "empty"), source_tokens=60)
    split = found["bytes"]
    assert sum(split[name] for name in ("codes", "keys", "text", "index", "other")) == split["total"]
    assert split["total"] == size_of(tmp_path / "memory")
    assert split["keys"] == 40 * 256 * 4 and split["index"] == 0
    assert 0 < split["beyond_empty"] < split["total"]
    assert found["per_token"]["codes"] == split["codes"] / 60


def test_rag_keeps_the_text_of_its_chunks_and_of_those_with_keys_a_vector_each():
    document = Document.of("Ébble water. " * 40, source="a.md", title="Ébble")
    choice = reading_choice("nobody's", PromptConfig())
    choice = replace(choice, bm25=replace(choice.bm25, chunk_chars=100))
    small, large = (split(document, chunk_chars=chars) for chars in (100, choice.dense.chunk_chars))
    kept = rag_bytes([document, document], choice, dim=8)
    assert kept["rag_bm25"] == 2 * sum(len(chunk.text.encode()) for chunk in small)
    assert kept["rag_dense"] == 2 * sum(len(chunk.text.encode()) + 32 for chunk in large)
    assert len(small) > len(large) > 1


def test_tables_are_told_apart_where_sqlite_can(parts, tmp_path):
    with beside(parts, tmp_path / "memory") as memory:
        memory.add("The harbour of Lorn opened in 1894.")
        stats = memory.stats()
    tables = measure_bytes(tmp_path / "memory", stats, empty=0, source_tokens=1)["tables_per_token"]
    database = (tmp_path / "memory" / "store.db").stat().st_size
    assert not tables or ({"codes", "keys", "atoms"} <= set(tables) and sum(tables.values()) <= database)
