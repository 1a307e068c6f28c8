"""A memory's key encoder where LangChain expects embeddings."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from parametric_memory.protocols import KeyEncoder


class ParametricMemoryEmbeddings(Embeddings):
    """Unit-norm vectors of texts and questions, from the encoder that a memory's keys are made with."""

    def __init__(self, key_encoder: KeyEncoder) -> None:
        self._key_encoder = key_encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text."""
        vectors: list[list[float]] = self._key_encoder.encode_atoms(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        vector: list[float] = self._key_encoder.encode_query(text).tolist()
        return vector
