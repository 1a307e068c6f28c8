"""LlamaIndex's starter RAG app: a vector index of some files, and an engine that puts what it finds into the prompt.

    python examples/llama_index/rag_before.py "What does a staff lunch cost at Café Fathom?"

The same app on a parametric memory: rag_after.py, in which three lines differ.
"""

import sys

import models
from llama_index.core import VectorStoreIndex

question = sys.argv[1] if len(sys.argv) > 1 else "What does a staff lunch cost at Café Fathom?"
models.configure()

documents = models.load_documents()
index = VectorStoreIndex.from_documents(documents)
engine = index.as_query_engine(similarity_top_k=3)

print(engine.query(question))
