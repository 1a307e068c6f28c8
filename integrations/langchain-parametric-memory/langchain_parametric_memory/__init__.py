"""Parametric memory for LangChain: answers from weights where LangChain expects a model, a retriever or a store.

Importing this package loads no model and no tensor library, and the middleware's module (which alone needs the package
``langchain``) only when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_parametric_memory.chat_models import ChatParametricMemory
from langchain_parametric_memory.embeddings import ParametricMemoryEmbeddings
from langchain_parametric_memory.question import standalone_question
from langchain_parametric_memory.retrievers import ParametricMemoryRetriever
from langchain_parametric_memory.tools import create_memory_tools
from langchain_parametric_memory.vectorstores import ParametricMemoryVectorStore
from parametric_memory.conversation import memory_scope

__version__ = "0.1.0"

if TYPE_CHECKING:
    from langchain_parametric_memory.middleware import ParametricMemoryMiddleware

__all__ = [
    "ChatParametricMemory",
    "ParametricMemoryEmbeddings",
    "ParametricMemoryMiddleware",
    "ParametricMemoryRetriever",
    "ParametricMemoryVectorStore",
    "__version__",
    "create_memory_tools",
    "memory_scope",
    "standalone_question",
]


def __getattr__(name: str) -> object:
    """Import the middleware on first use: it needs ``langchain``, the rest only ``langchain-core``."""
    if name == "ParametricMemoryMiddleware":
        from langchain_parametric_memory.middleware import ParametricMemoryMiddleware

        return ParametricMemoryMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
