"""What every app has already: documents, an embedding model, an LLM. Here they are the built-in ones."""

from __future__ import annotations

from pathlib import Path

from llama_index.core import Document, Settings, SimpleDirectoryReader
from llama_index.core.node_parser import SentenceSplitter
from llama_index.memory.parametric import ParametricKeyEmbedding, ParametricMemoryLLM

HANDBOOK = Path(__file__).resolve().parents[1] / "handbook" / "documents"
FILES = ("catering.md", "buildings.txt")


def configure() -> None:
    """Let LlamaIndex use the built-in key encoder and the bare built-in base model: any of LlamaIndex's will do."""
    Settings.embed_model = ParametricKeyEmbedding()
    Settings.llm = ParametricMemoryLLM(max_tokens=32)
    Settings.node_parser = SentenceSplitter(chunk_size=128, chunk_overlap=0)


def load_documents() -> list[Document]:
    """Return two files of the handbook; a file is the same document in every run."""
    return SimpleDirectoryReader(input_files=[HANDBOOK / name for name in FILES], filename_as_id=True).load_data()
