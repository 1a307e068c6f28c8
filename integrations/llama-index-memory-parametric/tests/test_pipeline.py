"""`IngestionPipeline` with its docstore and cache: what is compiled, what is not, and what goes."""

import pytest
from llama_index.core import Document
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore

from llama_index.memory.parametric import ParametricKeyEmbedding, ParametricVectorStore

BOARD = "Hall 4B opens at seven. A lost key card costs {} crowns. The kiosk sells stamps."


def pipeline(memory, **more):
    return IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=256, chunk_overlap=0), ParametricKeyEmbedding(memory)],
        vector_store=ParametricVectorStore(memory),
        docstore=SimpleDocumentStore(),
        **{"docstore_strategy": DocstoreStrategy.UPSERTS_AND_DELETE, **more},
    )


def board(price):
    return Document(text=BOARD.format(price), doc_id="board.md")


def texts(memory):
    return [one["memory"] for one in memory.get_all()["results"]]


@pytest.fixture
def pipe(memory):
    return pipeline(memory)


def test_a_second_run_compiles_nothing_and_a_changed_document_only_what_changed(pipe, memory, counted):
    compiled = counted(memory)
    pipe.run(documents=[board(15)])
    assert len(compiled) == 3
    pipe.run(documents=[board(15)])
    assert len(compiled) == 3
    pipe.run(documents=[board(25)])
    assert compiled[3:] == ["A lost key card costs 25 crowns."]
    assert len(texts(memory)) == 3 and not [one for one in texts(memory) if "15 crowns" in one]


async def test_the_same_holds_from_coroutines(pipe, memory, counted):
    compiled = counted(memory)
    await pipe.arun(documents=[board(15)])
    await pipe.arun(documents=[board(25)])
    assert compiled[3:] == ["A lost key card costs 25 crowns."]


def test_a_document_that_is_gone_goes(pipe, memory):
    pipe.run(documents=[board(15), Document(text="Bo bakes bread.", doc_id="b.md")])
    pipe.run(documents=[Document(text="Bo bakes bread.", doc_id="b.md")])
    assert texts(memory) == ["Bo bakes bread."]


def test_a_cache_of_transformations_does_not_keep_nodes_from_being_compiled(make_memory, memory):
    cache, other = IngestionCache(), make_memory()
    pipeline(memory, cache=cache).run(documents=[board(15)])
    pipeline(other, cache=cache).run(documents=[board(15)])
    assert texts(other) == texts(memory) != []


def test_only_duplicates_are_left_out_where_that_is_asked_for(memory):
    pipe = pipeline(memory, docstore_strategy=DocstoreStrategy.DUPLICATES_ONLY)
    pipe.run(documents=[board(15), board(15)])
    assert len(texts(memory)) == 3


def test_a_pipeline_goes_on_in_another_run_of_the_program(memory, counted, tmp_path):
    first = pipeline(memory)
    first.run(documents=[board(15)])
    first.persist(str(tmp_path / "pipe"))
    again = pipeline(memory)
    again.load(str(tmp_path / "pipe"))
    compiled = counted(memory)
    again.run(documents=[board(15)])
    assert compiled == [] and len(texts(memory)) == 3
