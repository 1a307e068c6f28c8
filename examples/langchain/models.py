"""What every app has already: documents in pieces, embeddings, a chat model. Here they are the built-in ones."""

from __future__ import annotations

from pathlib import Path

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_text_splitters import RecursiveCharacterTextSplitter

HANDBOOK = Path(__file__).resolve().parents[1] / "handbook" / "documents"
FILES = ("catering.md", "buildings.txt")


def load_pieces() -> list[Document]:
    """Return two files of the handbook, in pieces."""
    files = [HANDBOOK / name for name in FILES]
    documents = [Document(file.read_text(encoding="utf-8"), metadata={"source": file.name}) for file in files]
    return RecursiveCharacterTextSplitter(chunk_size=400, chunk_overlap=0).split_documents(documents)


def load_embeddings() -> Embeddings:
    """Return the built-in key encoder as embeddings: any of LangChain's will do."""
    from langchain_parametric_memory import ParametricMemoryEmbeddings

    from parametric_memory.backends import BUILTIN_KEY_ENCODER, resolve_key_encoder
    from parametric_memory.routing import SentenceTransformerEncoder

    encoder = SentenceTransformerEncoder(resolve_key_encoder(BUILTIN_KEY_ENCODER), name=BUILTIN_KEY_ENCODER)
    return ParametricMemoryEmbeddings(encoder)


def load_chat_model() -> BaseChatModel:
    """Return the bare built-in base model: any of LangChain's chat models will do."""
    from langchain_parametric_memory import ChatParametricMemory

    return ChatParametricMemory(max_tokens=32)
