"""`ParametricKeyEmbedding`: a memory's key encoder where LlamaIndex expects an embedding model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import PrivateAttr

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory
    from parametric_memory.protocols import KeyEncoder


class ParametricKeyEmbedding(BaseEmbedding):
    """Unit-norm vectors of texts and questions, from the encoder that a memory's keys are made with.

    An index beside a memory then shares its encoder, and caches of LlamaIndex know it by its name.

    Args:
        source: A memory, or a key encoder; the built-in key encoder is loaded if there is none.
        settings: Of LlamaIndex's `BaseEmbedding`.
    """

    _encoder: KeyEncoder = PrivateAttr()

    def __init__(self, source: ParametricMemory | KeyEncoder | None = None, **settings: Any) -> None:
        encoder: Any = getattr(source, "key_encoder", source)
        if encoder is None:
            from parametric_memory.backends import BUILTIN_KEY_ENCODER, resolve_key_encoder
            from parametric_memory.routing import SentenceTransformerEncoder

            encoder = SentenceTransformerEncoder(resolve_key_encoder(BUILTIN_KEY_ENCODER), name=BUILTIN_KEY_ENCODER)
        super().__init__(**{"model_name": encoder.name, **settings})
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        """Return the name that it is serialised under."""
        return "ParametricKeyEmbedding"

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be sent to another process, where a model would have to be loaded again.

        Raises:
            TypeError: Always.
        """
        raise TypeError("sending a ParametricKeyEmbedding to another process: it cannot go; leave num_workers out")

    def _get_query_embedding(self, query: str) -> Embedding:
        vector: Embedding = self._encoder.encode_query(query).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        vectors: list[Embedding] = self._encoder.encode_atoms(texts).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
