"""What a source token costs on disk, and where the bytes go, against the KV cache of the same text."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from parametric_memory.backends import HuggingFaceBackend
from parametric_memory.evaluation.prompts import ReadingChoice
from parametric_memory.evaluation.rag import split
from parametric_memory.store import Stats
from parametric_memory.types import Document

#: Bytes per source token of Doc-to-LoRA's adapters for gemma-2-2b, as its authors give them.
DOC_TO_LORA = 9_400


def measure_bytes(folder: Path, stats: Stats, *, empty: int, source_tokens: int) -> dict[str, Any]:
    """Return bytes per source token of a memory that was closed, so that nothing waits in a log.

    ``beyond_empty`` is the total without what a memory takes that holds nothing: what more text would cost. ``other``
    is what is left of the database: full-text index, history, ids, trees, free space. ``tables`` are the pages of every
    table and index, where SQLite can tell.

    Args:
        folder: Of the memory.
        stats: As it was when it was closed.
        empty: Bytes of an empty memory of the same kind.
        source_tokens: Of its documents' texts.
    """
    total, index = size_of(folder), size_of(folder / "index")
    payloads = {"codes": stats.code_bytes, "keys": stats.key_bytes, "text": stats.text_bytes}
    parts = payloads | {"index": index, "other": total - index - sum(payloads.values()), "total": total}
    parts["beyond_empty"] = total - empty
    return {
        "source_tokens": source_tokens,
        "atoms": stats.atoms,
        "documents": stats.documents,
        "index_kind": stats.index,
        "bytes": parts | {"empty": empty},
        "per_token": {name: size / source_tokens for name, size in parts.items()},
        "tables_per_token": {name: size / source_tokens for name, size in _tables(folder / "store.db").items()},
    }


def rag_bytes(documents: Sequence[Document], choice: ReadingChoice, *, dim: int) -> dict[str, int]:
    """Return the bytes that RAG keeps of documents, by its arm: the text of its chunks, and with keys a vector of each.

    No database around them is counted: it is the least that a RAG app keeps.

    Args:
        documents: What is cut into chunks.
        choice: How large each arm's chunks are.
        dim: Of a key, in floats of four bytes.

    Raises:
        MissingDependencyError: If the extra ``eval`` is not installed.
    """

    def kept(chunk_chars: int, vector: int) -> int:
        chunks = [chunk for document in documents for chunk in split(document, chunk_chars=chunk_chars)]
        return sum(len(chunk.text.encode()) + vector for chunk in chunks)

    return {"rag_bm25": kept(choice.bm25.chunk_chars, 0), "rag_dense": kept(choice.dense.chunk_chars, 4 * dim)}


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kv_cache_bytes(backend: HuggingFaceBackend, *, itemsize: int | None = None) -> int:
    """Return the bytes that keys and values of one token take, in the model's dtype or in one of ``itemsize`` bytes."""
    config = backend.model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * (itemsize or backend.model.dtype.itemsize))


def _tables(path: Path) -> dict[str, int]:
    """Return bytes by table or index, largest first; nothing if this SQLite keeps no such figures."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            found = connection.execute("SELECT name, SUM(pgsize) AS size FROM dbstat GROUP BY name ORDER BY size DESC")
            return {str(name): int(size) for name, size in found}
        except sqlite3.OperationalError:
            return {}
