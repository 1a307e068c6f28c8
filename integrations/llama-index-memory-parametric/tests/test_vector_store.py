"""What LlamaIndex's own repository tests of a vector store, on the tiny base model and on the real one.

That is: the class, add, query by words and by vector, filters of every operator and condition, delete, get_nodes,
delete_nodes, clear, their async forms; and beyond: what is compiled, and what is not compiled again.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQueryMode

from llama_index.memory.parametric import (
    ParametricKeyEmbedding,
    ParametricMemoryLLM,
    ParametricQueryEngine,
    ParametricVectorStore,
    memory_scope,
)

ROWS = {
    "tern": ("The ferry Tern was launched in Skarvik in 2019.", {"place": "Skarvik", "year": 2019, "tags": ["sea"]}),
    "library": ("The library of Skarvik opens at nine.", {"place": "Skarvik", "year": 1950, "tags": ["books", "town"]}),
    "mill": ("The mill of Orsund grinds rye.", {"place": "Orsund", "year": 1899, "tags": []}),
    "bell": ("The bell of Vik rings at noon.", {"year": 1700.5, "note": ""}),
}


def node(id_, text, metadata=None, source=None):
    made = TextNode(id_=id_, text=text, metadata=dict(metadata or {}))
    made.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=source or f"doc-{id_}")
    return made


@pytest.fixture
def nodes():
    return [node(id_, text, metadata) for id_, (text, metadata) in ROWS.items()]


@pytest.fixture
def store(either_memory, nodes):
    store = ParametricVectorStore(either_memory)
    assert store.add(nodes) == list(ROWS)
    return store


def ids(result):
    return list(result.ids)


def ask(words, k=1, **more):
    return VectorStoreQuery(query_str=words, similarity_top_k=k, **more)


def test_the_class_is_a_vector_store_that_stores_text():
    assert BasePydanticVectorStore.__name__ in [base.__name__ for base in ParametricVectorStore.__mro__]
    assert ParametricVectorStore.model_fields["stores_text"].default is True


def test_a_query_finds_the_node_whole_with_its_relationships_and_metadata(store, nodes):
    found = store.query(ask("When was the ferry Tern launched?"))
    assert ids(found) == ["tern"] and found.nodes[0].get_content() == nodes[0].text
    assert found.nodes[0].metadata == nodes[0].metadata and found.nodes[0].ref_doc_id == "doc-tern"
    assert 0 <= found.similarities[0] <= 1


def test_similarities_fall_and_no_more_than_k_come_back(store):
    found = store.query(ask("What opens in Skarvik?", k=3))
    assert len(found.nodes) == len(found.ids) == len(found.similarities) == 3
    assert found.similarities == sorted(found.similarities, reverse=True)
    assert len(store.query(ask("What opens?", k=100)).nodes) == len(ROWS)


def test_a_query_may_be_a_vector_of_the_memory_s_own_encoder(store):
    vector = ParametricKeyEmbedding(store.memory).get_query_embedding("The mill of Orsund grinds rye.")
    assert ids(store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=1))) == ["mill"]
    with pytest.raises(ValueError, match="neither words"):
        store.query(VectorStoreQuery(similarity_top_k=1))


def test_an_empty_store_finds_nothing(either_memory):
    found = ParametricVectorStore(either_memory).query(ask("Anything?"))
    assert (found.nodes, found.ids, found.similarities) == ([], [], [])


@pytest.mark.parametrize(
    ("mode", "best"),
    [(mode, "library") for mode in ("default", "hybrid", "semantic_hybrid", "text_search", "sparse", "mmr")],
)
def test_every_mode_that_is_known_finds_the_node(store, mode, best):
    query = ask("When does the library open?", mode=VectorStoreQueryMode(mode), mmr_threshold=0.9)
    assert ids(store.query(query)) == [best]


def test_other_modes_are_refused_by_name(store):
    with pytest.raises(ValueError, match="mode 'svm': it knows default"):
        store.query(ask("x", mode=VectorStoreQueryMode.SVM))


def test_what_says_the_same_is_left_out_where_marginal_relevance_is_asked_for(either_memory):
    store = ParametricVectorStore(either_memory)
    same = "The library of Skarvik opens at nine."
    store.add([node("a", same), node("b", f"{same[:-1]} daily."), node("c", "The harbour of Skarvik is deep.")])
    query = "When does the library of Skarvik open?"
    assert set(ids(store.query(ask(query, k=2)))) == {"a", "b"}
    diverse = ask(query, k=2, mode=VectorStoreQueryMode.MMR, mmr_threshold=0.2)
    assert "c" in ids(store.query(diverse))


# ---------------------------------------------------------------- filters


def where(*filters, condition="and"):
    return MetadataFilters(
        filters=[
            one if isinstance(one, MetadataFilters) else MetadataFilter(key=one[0], operator=one[1], value=one[2])
            for one in filters
        ],
        condition=FilterCondition(condition),
    )


FILTERS = [
    (where(("place", "==", "Skarvik")), {"tern", "library"}),
    (where(("year", "==", 1899)), {"mill"}),
    (where(("place", "!=", "Skarvik")), {"mill", "bell"}),
    (where(("year", ">", 1899)), {"tern", "library"}),
    (where(("year", ">=", 1899)), {"tern", "library", "mill"}),
    (where(("year", "<", 1899)), {"bell"}),
    (where(("year", "<=", 1899)), {"mill", "bell"}),
    (where(("place", "in", ["Orsund", "Vik"])), {"mill"}),
    (where(("year", "in", [2019, 1899])), {"tern", "mill"}),
    (where(("place", "nin", ["Orsund"])), {"tern", "library", "bell"}),
    (where(("tags", "contains", "books")), {"library"}),
    (where(("tags", "any", ["sea", "town"])), {"tern", "library"}),
    (where(("tags", "all", ["books", "town"])), {"library"}),
    (where(("place", "text_match", "kar")), {"tern", "library"}),
    (where(("place", "text_match", "KAR")), set()),
    (where(("place", "text_match_insensitive", "KAR")), {"tern", "library"}),
    (where(("tags", "is_empty", None)), {"mill", "bell"}),
    (where(("note", "is_empty", None)), {"tern", "library", "mill", "bell"}),
    (where(("place", "==", "Skarvik"), ("year", ">", 2000)), {"tern"}),
    (where(("place", "==", "Skarvik"), ("place", "==", "Orsund")), set()),
    (where(("place", "==", "Orsund"), ("year", ">", 2000), condition="or"), {"tern", "mill"}),
    (where(("place", "==", "Skarvik"), ("year", "<", 1800), condition="not"), {"mill"}),
    (where(("place", "==", "Skarvik"), condition="not"), {"mill", "bell"}),
    (where(where(("year", ">", 2000), ("year", "<", 1800), condition="or"), ("place", "==", "Skarvik")), {"tern"}),
]


def test_every_operator_and_condition_has_a_case():
    seen = {one.operator for filters, _ in FILTERS for one in filters.filters if isinstance(one, MetadataFilter)}
    assert seen == set(FilterOperator)
    assert {filters.condition for filters, _ in FILTERS} == set(FilterCondition)


@pytest.mark.parametrize(("filters", "expected"), FILTERS, ids=range(len(FILTERS)))
def test_filters_mean_what_llama_index_means_by_them(store, filters, expected):
    assert set(ids(store.query(ask("Skarvik Orsund Vik", k=9, filters=filters)))) == expected
    assert {one.node_id for one in store.get_nodes(filters=filters)} == expected


def test_a_filter_that_cannot_be_compared_says_which(store):
    with pytest.raises(TypeError, match="filtering by 'year' > 'x'"):
        store.get_nodes(filters=where(("year", ">", "x")))


def test_queries_can_be_kept_to_documents_and_to_nodes(store):
    assert ids(store.query(ask("Skarvik", k=9, doc_ids=["doc-mill", "doc-bell"]))) != []
    assert set(ids(store.query(ask("Skarvik", k=9, doc_ids=["doc-mill", "doc-bell"])))) == {"mill", "bell"}
    assert ids(store.query(ask("Skarvik", k=9, node_ids=["library"]))) == ["library"]


def test_a_filter_that_refuses_most_is_asked_about_more(either_memory):
    store = ParametricVectorStore(either_memory)
    store.add([node(f"{n}", f"Door number {n} of the hall is green.", {"n": n}) for n in range(40)])
    found = store.query(ask("Which doors of the hall are green?", k=2, filters=where(("n", ">", 37))))
    assert set(ids(found)) == {"38", "39"}


# ---------------------------------------------------------------- deleting and looking up


def test_deleting_a_document_removes_its_nodes_and_their_weights(store):
    store.delete("doc-tern")
    store.delete("never there")
    assert {one.node_id for one in store.get_nodes()} == set(ROWS) - {"tern"}
    assert "tern" not in ids(store.query(ask("When was the ferry Tern launched?", k=9)))
    assert not [one for one in store.memory.get_all()["results"] if "Tern" in one["memory"]]


def test_nodes_come_back_in_the_order_of_their_ids_and_unknown_ones_are_left_out(store, nodes):
    found = store.get_nodes(["mill", "nobody", "tern"])
    assert [one.node_id for one in found] == ["mill", "tern"]
    assert found[1].model_dump(exclude={"embedding"}) == nodes[0].model_dump(exclude={"embedding"})
    assert store.get_nodes([]) == []


def test_nodes_are_deleted_by_id_by_filter_and_altogether(store):
    store.delete_nodes(["tern", "nobody"])
    store.delete_nodes(filters=where(("place", "==", "Orsund")))
    store.delete_nodes(["library"], filters=where(("place", "==", "Orsund")))
    assert {one.node_id for one in store.get_nodes()} == {"library", "bell"}
    with pytest.raises(ValueError, match="give node_ids or filters"):
        store.delete_nodes()
    store.memory.add("The keeper of the gate is Bastian Orme.")
    store.clear()
    assert store.get_nodes() == [] and len(store.memory.get_all()["results"]) == 1


def test_adding_a_node_of_the_same_id_replaces_it(store):
    store.add([node("mill", "The mill of Orsund grinds wheat.")])
    assert [one.get_content() for one in store.get_nodes(["mill"])] == ["The mill of Orsund grinds wheat."]


async def test_the_async_forms_do_the_same(either_memory, nodes):
    store = ParametricVectorStore(either_memory)
    assert await store.async_add(nodes) == list(ROWS)
    assert ids(await store.aquery(ask("When does the library open?"))) == ["library"]
    await store.adelete("doc-tern")
    await store.adelete_nodes(["mill"])
    assert [one.node_id for one in await store.aget_nodes()] == ["library", "bell"]
    assert [one.node_id for one in await store.aget_nodes(filters=where(("year", ">", 1800)))] == ["library"]
    await store.aclear()
    assert await store.aget_nodes() == []


def test_two_nodes_with_the_same_text_are_two(either_memory):
    store = ParametricVectorStore(either_memory)
    store.add([node("a", "lorem ipsum", source="1"), node("b", "lorem ipsum", source="2")])
    assert set(ids(store.query(ask("lorem", k=9)))) == {"a", "b"}
    store.delete("1")
    assert ids(store.query(ask("lorem", k=9))) == ["b"]


# ---------------------------------------------------------------- what is kept, and what is compiled


def test_a_node_of_several_sentences_comes_back_whole_and_once(memory):
    store = ParametricVectorStore(memory)
    text = "The ferry Tern was launched in 2019. Mara Lindqvist repairs the ferry Tern."
    store.add([node("a", text)])
    assert len(memory.get_all()["results"]) == 2
    assert [one.get_content() for one in store.query(ask("Who repairs the ferry Tern?", k=4)).nodes] == [text]


def test_a_text_without_a_sentence_is_found_and_a_blank_one_is_kept(memory):
    store = ParametricVectorStore(memory)
    store.add([node("a", "Opening hours"), node("b", "  ")])
    assert ids(store.query(ask("opening hours", k=3))) == ["a"] and len(store.get_nodes()) == 2


def test_metadata_of_any_shape_comes_back_as_it_was(memory):
    metadata = {"pages": [1, 2], "box": {"x": 0.5}, "none": None, "draft": True, "user_id": "anna"}
    store = ParametricVectorStore(memory)
    store.add([node("a", "Mara repairs the ferry Tern in winter.", metadata)])
    assert store.get_nodes(["a"])[0].metadata == metadata


def test_what_was_added_to_the_memory_itself_is_found_by_atoms(memory):
    memory.add("Ada joined in 2021. Ada lives in Rome.")
    found = ParametricVectorStore(memory).query(ask("Where does Ada live?", k=2))
    assert [one.get_content() for one in found.nodes] == ["Ada lives in Rome.", "Ada joined in 2021."]


def test_nodes_of_two_users_with_one_id_are_two(memory):
    anna, bert = (ParametricVectorStore(memory, user_id=user) for user in ("anna", "bert"))
    anna.add([node("locker", "My locker is number 48.")])
    bert.add([node("locker", "My locker is number 12.")])
    assert [one.get_content() for one in anna.get_nodes(["locker"])] == ["My locker is number 48."]
    bert.clear()
    assert bert.query(ask("locker")).ids == []
    with memory_scope(user_id="anna"):
        assert ParametricVectorStore(memory).query(ask("locker")).ids == ["locker"]
    with memory_scope(user_id="bert"), pytest.raises(ValueError, match="cannot leave the scope"):
        anna.get_nodes()


def test_it_is_made_of_a_memory_or_a_path_and_of_settings_that_exist(memory):
    for wrong in ({}, {"memory": memory, "path": "x"}):
        with pytest.raises(ValueError, match="pass a memory, or path="):
            ParametricVectorStore(**wrong)
    with pytest.raises(ValueError, match="no setting userid"):
        ParametricVectorStore(memory, userid="anna")


# ---------------------------------------------------------------- in an index

BOARD = "Hall 4B opens at seven. A lost key card costs {} crowns. The kiosk sells stamps. Dogs stay outside."


@pytest.fixture
def index(memory):
    return new_index(memory, [Document(text=BOARD.format(15), doc_id="board"), Document(text="Bo bakes.", doc_id="b")])


def new_index(memory, documents):
    context = ParametricVectorStore(memory).storage_context
    splitter = SentenceSplitter(chunk_size=24, chunk_overlap=0)
    return VectorStoreIndex.from_documents(
        documents, context, embed_model=ParametricKeyEmbedding(memory), transformations=[splitter]
    )


def texts(memory):
    return sorted(one["memory"] for one in memory.get_all()["results"])


def test_an_index_compiles_as_it_indexes_and_its_engine_answers(index, memory):
    assert len(texts(memory)) == 5
    engine = index.as_query_engine(llm=ParametricMemoryLLM(memory), similarity_top_k=1)
    response = engine.query("What does a lost key card cost?")
    assert "15 crowns" in response.source_nodes[0].node.get_content()
    sources = ParametricQueryEngine(memory).query("What does a lost key card cost?").source_nodes
    assert any("15 crowns" in one.node.text for one in sources)


def test_a_refreshed_document_compiles_only_what_changed(index, memory, counted):
    compiled = counted(memory)
    documents = [Document(text=BOARD.format(25), doc_id="board"), Document(text="Bo bakes.", doc_id="b")]
    assert index.refresh_ref_docs(documents) == [True, False]
    assert compiled == ["A lost key card costs 25 crowns."]
    assert len(texts(memory)) == 5 and not [one for one in texts(memory) if "15 crowns" in one]


async def test_the_same_holds_from_coroutines(index, memory, counted):
    compiled = counted(memory)
    assert await index.arefresh_ref_docs([Document(text=BOARD.format(35), doc_id="board")]) == [True]
    assert compiled == ["A lost key card costs 35 crowns."]


def test_a_document_indexed_again_under_its_id_compiles_nothing(memory, index, counted):
    compiled, before = counted(memory), texts(memory)
    new_index(memory, [Document(text=BOARD.format(15), doc_id="board")])
    assert compiled == [] and texts(memory) == before


def test_what_waits_for_a_document_s_return_is_bounded_and_leaves_with_it(index, memory):
    store = index.vector_store
    index.delete_ref_doc("board")
    assert list(store._returning) == ["board"]
    index.insert(Document(text=BOARD.format(15), doc_id="board"))
    assert not store._returning
    for number in range(40):
        store.add([node(f"{number}", f"Door number {number} is green.", source=f"door-{number}")])
        store.delete(f"door-{number}")
    assert len(store._returning) == 16


def test_deleting_a_document_of_an_index_leaves_the_others(index, memory):
    index.delete_ref_doc("board")
    assert texts(memory) == ["Bo bakes."]


def test_an_index_is_loaded_from_its_storage_and_from_its_store_and_compiles_nothing(index, memory, counted, tmp_path):
    index.storage_context.persist(tmp_path / "storage")
    compiled, store = counted(memory), ParametricVectorStore(memory)
    context = StorageContext.from_defaults(persist_dir=str(tmp_path / "storage"), vector_store=store)
    loaded = load_index_from_storage(context, embed_model=ParametricKeyEmbedding(memory))
    from_store = VectorStoreIndex.from_vector_store(store, embed_model=ParametricKeyEmbedding(memory))
    for one in (loaded, from_store):
        [found] = one.as_retriever(similarity_top_k=1).retrieve("What does a lost key card cost?")
        assert "15 crowns" in found.node.get_content()
    # The storage knows the documents' hashes: a refresh leaves alone what is as it was.
    assert loaded.refresh_ref_docs([Document(text=BOARD.format(15), doc_id="board")]) == [False]
    assert compiled == []


RELOADED = """
import sys, tiny_memory
from llama_index.core import VectorStoreIndex
from llama_index.memory.parametric import ParametricKeyEmbedding, ParametricQueryEngine, ParametricVectorStore
path, question = sys.argv[1:]
with tiny_memory.open_at(path) as memory:
    memory.compiler.compile = lambda atoms: sys.exit("compiled again")
    index = VectorStoreIndex.from_vector_store(ParametricVectorStore(memory), ParametricKeyEmbedding(memory))
    [found] = index.as_retriever(similarity_top_k=1).retrieve(question)
    print(found.node.node_id, ParametricQueryEngine(memory).query(question), sep="|", end="")
"""


def test_an_index_is_there_in_the_next_process_with_the_same_answers_and_nothing_compiled(make_memory, tmp_path):
    question, tests = "What does a lost key card cost?", Path(__file__).parent
    memory = make_memory(path=tmp_path / "memory")
    index = new_index(memory, [Document(text=BOARD.format(15), doc_id="board")])
    [found] = index.as_retriever(similarity_top_k=1).retrieve(question)
    said = f"{found.node.node_id}|{ParametricQueryEngine(memory).query(question)}"
    memory.close()
    paths = f"{tests}:{tests.parent}:{tests.parents[2] / 'src'}"
    command = [sys.executable, "-c", RELOADED, str(tmp_path / "memory"), question]
    done = subprocess.run(command, env={"PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.stdout == said, done.stderr
