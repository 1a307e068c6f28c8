"""A parametric memory and an ordinary vector index behind one router: each question goes to one of them.

    python examples/llama_index/hybrid_router.py

The router compares questions with the tools' descriptions by their embeddings, so that no LLM has to choose. The
vector index shares the memory's key encoder, and its answers are read from the prompt by the same base model.
"""

from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool
from llama_index.memory.parametric import ParametricKeyEmbedding, ParametricMemoryLLM, ParametricQueryEngine

from parametric_memory import ParametricMemory

FERRIES = "The ferry Tern was launched in the harbour of Skarvik in 2019. Every winter Mara Lindqvist repairs the Tern."
MILLS = "The mill of Orsund grinds rye on Mondays. Its miller is Ivo Brandt."

with ParametricMemory.from_pretrained(path="./memory") as memory:
    memory.add(FERRIES)
    Settings.embed_model, Settings.llm = ParametricKeyEmbedding(memory), ParametricMemoryLLM(memory, max_tokens=32)
    mills = VectorStoreIndex.from_documents([Document(text=MILLS)])
    tools = [
        QueryEngineTool.from_defaults(
            ParametricQueryEngine(memory), name="ferries", description="Answers questions about ferries and harbours."
        ),
        QueryEngineTool.from_defaults(
            mills.as_query_engine(), name="mills", description="Answers questions about mills, millers and grain."
        ),
    ]
    router = RouterQueryEngine.from_defaults(tools, selector=EmbeddingSingleSelector.from_defaults())
    for question in ("Who repairs the ferry Tern every winter?", "Who is the miller of the mill of Orsund?"):
        response = router.query(question)
        read = (response.metadata or {}).get("knowledge_tokens")
        print(question, "->", response, "(from weights)" if read == 0 else "(from text in the prompt)")
