"""The RAG app of rag_before.py on a parametric memory: three lines differ, the prompt holds no text of the documents.

    python examples/llama_index/rag_after.py "What does a staff lunch cost at Café Fathom?"

The memory stays in ./memory: run it twice, and nothing is compiled again.
"""

import sys

import models
from llama_index.core import VectorStoreIndex
from llama_index.memory.parametric import ParametricQueryEngine, ParametricVectorStore

question = sys.argv[1] if len(sys.argv) > 1 else "What does a staff lunch cost at Café Fathom?"
models.configure()

documents = models.load_documents()
index = VectorStoreIndex.from_documents(documents, ParametricVectorStore(path="./memory").storage_context)
engine = ParametricQueryEngine(index.vector_store.memory)

print(engine.query(question))
