"""LangChain's indexing on a memory: what is unchanged is skipped, what changed is compiled anew, what is gone goes.

    python examples/langchain/indexing_with_updates.py

Run it again, and the memory of the last run goes on.
"""

from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_parametric_memory import ChatParametricMemory, ParametricMemoryVectorStore

from parametric_memory import ParametricMemory


def notices(price: int) -> list[Document]:
    """Return the notice board, with today's price of a key card."""
    return [
        Document("Hall 4B opens at seven in the morning.", metadata={"source": "halls.md"}),
        Document(f"A lost key card costs {price} crowns to replace.", metadata={"source": "cards.md"}),
    ]


with ParametricMemory.from_pretrained(path="./memory") as memory:
    store, records = ParametricMemoryVectorStore(memory), InMemoryRecordManager(namespace="notices")
    records.create_schema()
    llm = ChatParametricMemory(memory=memory)
    for price in (15, 15, 25):
        done = index(
            notices(price), records, store, cleanup="incremental", source_id_key="source", key_encoder="blake2b"
        )
        print(f"{done['num_added']} added, {done['num_skipped']} skipped, {done['num_deleted']} deleted")
        print("  a lost key card costs:", llm.invoke("What does a lost key card cost to replace?").text)
