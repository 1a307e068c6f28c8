"""The ways through an application that the design promises, as they are printed there, with the built-in base model."""

import subprocess
import sys
from pathlib import Path

import pytest

JOURNEYS = {
    "query engine": """
from llama_index.core import Document
from parametric_memory import ParametricMemory
from llama_index.memory.parametric import ParametricMemoryLLM, ParametricMemoryRetriever, ParametricQueryEngine
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.tools import QueryEngineTool

mem = ParametricMemory.from_pretrained(path="./memory")
mem.add([Document(text="Ada joined in 2021.", metadata={"source": "hr.md"})])
engine = ParametricQueryEngine(mem)                       # zero context tokens
resp = engine.query("When did Ada join?"); print(resp.response, resp.source_nodes[0].node.metadata, resp.metadata)
rag = RetrieverQueryEngine.from_args(ParametricMemoryRetriever(mem), llm=ParametricMemoryLLM(mem))  # classic RAG
print(rag.query("When did Ada join?"))
tool = QueryEngineTool.from_defaults(engine, name="memory", description="Company memory")
""",
    "memory block": """
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import Memory
from parametric_memory import ParametricMemory
from llama_index.memory.parametric import ParametricMemoryBlock, ParametricMemoryLLM

mem = ParametricMemory.from_pretrained(path="./memory")
memory = Memory.from_defaults(session_id="s1", token_limit=4000, token_flush_size=500,
                              memory_blocks=[ParametricMemoryBlock(mem, user_id="alice", priority=1)])
chat = SimpleChatEngine.from_defaults(llm=ParametricMemoryLLM(mem), memory=memory)
print(chat.chat("My desk is 4B."))
print(chat.chat("Where is my desk?"))
""",
    "ingestion": """
from llama_index.core import Document
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from parametric_memory import ParametricMemory
from llama_index.memory.parametric import ParametricEmbedding, ParametricMemoryVectorStore

mem = ParametricMemory.from_pretrained(path="./memory")
pipe = IngestionPipeline(transformations=[SentenceSplitter(chunk_size=256, chunk_overlap=0), ParametricEmbedding()],
    vector_store=ParametricMemoryVectorStore(mem), docstore=SimpleDocumentStore(),
    docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE)
pipe.run(documents=[Document(text="Ada joined in 2021.", doc_id="hr.md")])      # compile
pipe.run(documents=[Document(text="Ada joined in 2022.", doc_id="hr.md")])      # update: old atom dropped
print([r["memory"] for r in mem.get_all()["results"]])
""",
    "streaming": """
from parametric_memory import ParametricMemory
from llama_index.memory.parametric import ParametricMemoryLLM, ParametricQueryEngine

mem = ParametricMemory.from_pretrained(path="./memory"); mem.add("Ada joined in 2021.")
for r in ParametricMemoryLLM(mem).stream_complete("When did Ada join?"): print(r.delta, end="")
for tok in ParametricQueryEngine(mem, streaming=True).query("When did Ada join?").response_gen: print(tok, end="")
""",
    "async": """
import asyncio
from parametric_memory import ParametricMemory
from llama_index.memory.parametric import ParametricQueryEngine

async def main():
    mem = ParametricMemory.from_pretrained(path="./memory"); mem.add("Ada joined in 2021.")
    print(await ParametricQueryEngine(mem).aquery("When did Ada join?"))
asyncio.run(main())
""",
}


@pytest.mark.model
@pytest.mark.parametrize("name", JOURNEYS)
def test_a_journey_runs_as_printed(name, tmp_path):
    here = Path(__file__).parents[1]
    environment = {"PYTHONPATH": f"{here}:{here.parents[1] / 'src'}", "HOME": str(Path.home()), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", JOURNEYS[name]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = {"memory block": "\n", "ingestion": "['Ada joined in 2022.']"}.get(name, "2021")
    assert expected in done.stdout


@pytest.mark.parametrize("name", JOURNEYS)
def test_a_journey_runs_on_the_tiny_base(name, make_memory, monkeypatch, tmp_path, capsys):
    from parametric_memory import ParametricMemory

    monkeypatch.chdir(tmp_path)
    memory = make_memory(path=tmp_path / "memory")
    monkeypatch.setattr(ParametricMemory, "from_pretrained", staticmethod(lambda **_: memory))
    monkeypatch.setattr("parametric_memory.routing.SentenceTransformerEncoder", lambda *_, **__: memory.key_encoder)
    exec(compile(JOURNEYS[name], name, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()
