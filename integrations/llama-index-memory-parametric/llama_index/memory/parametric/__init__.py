"""Parametric memory for LlamaIndex: answers from weights where LlamaIndex expects an LLM, an engine or a store.

Importing this package loads no model and no tensor library.
"""

from __future__ import annotations

from llama_index.memory.parametric.block import ParametricMemoryBlock
from llama_index.memory.parametric.embedding import ParametricKeyEmbedding
from llama_index.memory.parametric.events import MemoryComposeEvent, MemoryGenerateEvent, MemoryRouteEvent
from llama_index.memory.parametric.llm import ParametricMemoryLLM
from llama_index.memory.parametric.query_engine import ParametricQueryEngine
from llama_index.memory.parametric.retriever import ParametricMemoryRetriever
from llama_index.memory.parametric.vector_store import ParametricVectorStore
from parametric_memory.conversation import memory_scope

__version__ = "0.1.0"

# What the LangChain package calls these two.
ParametricEmbedding = ParametricKeyEmbedding
ParametricMemoryVectorStore = ParametricVectorStore

__all__ = [
    "MemoryComposeEvent",
    "MemoryGenerateEvent",
    "MemoryRouteEvent",
    "ParametricEmbedding",
    "ParametricKeyEmbedding",
    "ParametricMemoryBlock",
    "ParametricMemoryLLM",
    "ParametricMemoryRetriever",
    "ParametricMemoryVectorStore",
    "ParametricQueryEngine",
    "ParametricVectorStore",
    "__version__",
    "memory_scope",
]
