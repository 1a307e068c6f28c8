"""An ingestion pipeline on a memory: what is unchanged is skipped, of what changed only the new sentences are compiled.

    python examples/llama_index/ingestion_with_updates.py

Its docstore is kept in ./pipeline, the memory in ./memory: run it again, and both go on.
"""

from pathlib import Path

from llama_index.core import Document
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.memory.parametric import ParametricKeyEmbedding, ParametricQueryEngine, ParametricVectorStore

from parametric_memory import ParametricMemory


def notices(price: int) -> list[Document]:
    """Return the notice board, with today's price of a key card."""
    return [
        Document(doc_id="halls.md", text="Hall 4B opens at seven in the morning."),
        Document(doc_id="cards.md", text=f"A lost key card costs {price} crowns to replace. Cards are blue."),
    ]


with ParametricMemory.from_pretrained(path="./memory") as memory:
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=256, chunk_overlap=0), ParametricKeyEmbedding(memory)],
        vector_store=ParametricVectorStore(memory),
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )
    if Path("./pipeline").is_dir():
        pipeline.load("./pipeline")
    engine = ParametricQueryEngine(memory)
    for price in (15, 15, 25):
        before = memory.store.version
        nodes = pipeline.run(documents=notices(price))
        print(f"{len(nodes)} nodes added, {memory.store.version - before} writes")
        print("  a lost key card costs:", engine.query("What does a lost key card cost to replace?"))
    pipeline.persist("./pipeline")
