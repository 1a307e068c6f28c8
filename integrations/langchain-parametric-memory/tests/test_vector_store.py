import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index

from langchain_parametric_memory import ChatParametricMemory, ParametricMemoryVectorStore, memory_scope

HARBOUR = Document("The ferry Tern was launched in Skarvik in 2019. Mara repairs it.", metadata={"source": "a", "n": 1})
LIBRARY = Document("The library of Skarvik opens at nine.", metadata={"source": "b", "n": 2})


@pytest.fixture
def store(memory):
    return ParametricMemoryVectorStore(memory)


def texts(documents):
    return [document.page_content for document in documents]


def test_a_document_of_several_atoms_comes_back_whole_and_once(store, memory):
    [id_, _] = store.add_documents([HARBOUR, LIBRARY])
    assert len(memory.get_all()["results"]) == 3
    found = store.similarity_search("Where was the ferry Tern launched, and who repairs it?", k=4)
    assert texts(found) == [HARBOUR.page_content, LIBRARY.page_content]
    assert found[0] == HARBOUR.model_copy(update={"id": id_})


def test_what_is_added_is_answered_from_weights(store, memory):
    store.add_documents([HARBOUR, LIBRARY])
    cited = ChatParametricMemory(memory=memory).invoke("When does the library open?").response_metadata["citations"]
    assert cited[0]["text"] == LIBRARY.page_content and cited[0]["source"] == "b"


def test_one_id_alone_is_deleted_too(store):
    [id_, _] = store.add_documents([HARBOUR, LIBRARY])
    store.delete(id_)
    assert texts(store.similarity_search("Skarvik", k=9)) == [LIBRARY.page_content]


def test_adding_the_same_again_compiles_nothing(store, memory, monkeypatch):
    first = store.add_documents([HARBOUR, LIBRARY])
    monkeypatch.setattr(type(memory.compiler), "compile", lambda *_: pytest.fail("compiled again"))
    assert store.add_documents([HARBOUR, LIBRARY]) == first


def test_indexing_skips_what_is_unchanged_and_replaces_what_is_not(store, memory, monkeypatch):
    records = InMemoryRecordManager(namespace="test")
    records.create_schema()

    def run(documents):
        how = {"cleanup": "incremental", "source_id_key": "source", "key_encoder": "blake2b"}
        done = index(documents, records, store, **how)
        return done["num_added"], done["num_skipped"], done["num_deleted"]

    assert run([HARBOUR, LIBRARY]) == (2, 0, 0)
    compiled, compile_ = [], memory.compiler.compile
    monkeypatch.setattr(memory.compiler, "compile", lambda atoms: compiled.extend(atoms) or compile_(atoms))
    assert run([HARBOUR, LIBRARY]) == (0, 2, 0) and compiled == []
    changed = Document("The library of Skarvik opens at ten.", metadata=LIBRARY.metadata)
    assert run([HARBOUR, changed]) == (1, 1, 1) and [atom.text for atom in compiled] == [changed.page_content]
    assert sorted(texts(store.similarity_search("library", k=9))) == sorted(texts([HARBOUR, changed]))


async def test_indexing_in_coroutines_does_the_same_and_full_cleanup_removes_what_is_gone(store):
    records = InMemoryRecordManager(namespace="test")
    await records.acreate_schema()

    async def run(documents):
        done = await aindex(documents, records, store, cleanup="full", key_encoder="blake2b")
        return done["num_added"], done["num_skipped"], done["num_deleted"]

    assert [await run([HARBOUR, LIBRARY]), await run([LIBRARY])] == [(2, 0, 0), (0, 1, 1)]
    assert texts(await store.asimilarity_search("Skarvik", k=9)) == [LIBRARY.page_content]


def test_metadata_that_is_no_scalar_comes_back_as_it_was(store):
    metadata = {"pages": [1, 2], "box": {"x": 0.5}, "none": None, "title": "Tern", "draft": True}
    [id_] = store.add_documents([Document("Mara repairs the ferry Tern in winter.", metadata=metadata)])
    assert store.get_by_ids([id_])[0].metadata == metadata
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        store.add_texts(["Mara repairs it."], [{"when": object()}])


def test_filters_are_values_lists_or_a_function(store):
    store.add_documents([HARBOUR, LIBRARY])

    def numbers(wanted):
        return sorted(one.metadata["n"] for one in store.similarity_search("Skarvik", k=4, filter=wanted))

    assert numbers(None) == numbers({"n": [1, 2]}) == numbers({"n": {"$in": [1, 2]}}) == [1, 2]
    assert numbers({"source": "b"}) == numbers({"n": {"$eq": 2}}) == numbers(lambda one: one.metadata["n"] == 2) == [2]
    with pytest.raises(ValueError, match="pass a function instead"):
        numbers({"n": {"$gt": 1}})


def test_a_function_that_refuses_most_is_asked_about_more(store):
    store.add_texts(
        [f"Door number {n} of the hall is painted green." for n in range(40)], [{"n": n} for n in range(40)]
    )
    found = store.similarity_search(
        "Which doors of the hall are green?", k=2, filter=lambda one: one.metadata["n"] > 36
    )
    assert len(found) == 2 and all(one.metadata["n"] > 36 for one in found)


def test_scores_fall_and_are_probabilities_where_relevance_is_asked_for(store):
    store.add_documents([HARBOUR, LIBRARY])
    query = "When does the library of Skarvik open?"
    raw = [score for _, score in store.similarity_search_with_score(query)]
    relevance = [score for _, score in store.similarity_search_with_relevance_scores(query)]
    assert raw == sorted(raw, reverse=True) and relevance == sorted(relevance, reverse=True)
    assert all(0 <= score <= 1 for score in relevance)
    best = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": relevance[0]})
    assert texts(best.invoke(query)) == [LIBRARY.page_content]


def test_marginal_relevance_leaves_out_what_says_the_same(store):
    same = ["The library of Skarvik opens at nine.", "The library of Skarvik opens at nine daily."]
    store.add_texts([*same, "The harbour of Skarvik is deep."])
    query = "When does the library of Skarvik open?"
    assert texts(store.similarity_search(query, k=2)) != texts(store.max_marginal_relevance_search(query, k=2))
    assert "The harbour of Skarvik is deep." in texts(store.max_marginal_relevance_search(query, k=2, lambda_mult=0.2))
    assert store.max_marginal_relevance_search("anything", filter={"n": 0}) == []
    vector = store.embeddings.embed_query(query)
    assert texts(store.max_marginal_relevance_search_by_vector(vector, k=2, lambda_mult=1.0)) == same
    assert texts(store.max_marginal_relevance_search_by_vector(vector, k=2, lambda_mult=0.2)) != same


async def test_it_can_be_searched_by_a_vector_and_from_coroutines(store):
    await store.aadd_documents([HARBOUR, LIBRARY])
    vector = store.embeddings.embed_query("The library of Skarvik opens at nine.")
    assert texts(store.similarity_search_by_vector(vector, k=1)) == [LIBRARY.page_content]
    assert texts(await store.amax_marginal_relevance_search("library opens", k=1)) == [LIBRARY.page_content]


def test_a_text_without_a_sentence_is_found_and_a_blank_one_is_kept(store):
    ids = store.add_texts(["Opening hours", "  "])
    assert texts(store.similarity_search("opening hours", k=3)) == ["Opening hours"]
    assert len(store.get_by_ids(ids)) == 2


def test_documents_of_two_users_with_one_id_are_two(memory):
    anna, bert = (ParametricMemoryVectorStore(memory, user_id=user) for user in ("anna", "bert"))
    anna.add_texts(["My locker is number 48."], ids=["locker"])
    bert.add_texts(["My locker is number 12."], ids=["locker"])
    assert texts(anna.get_by_ids(["locker"])) == texts(anna.similarity_search("locker")) == ["My locker is number 48."]
    assert anna.get_by_ids(["locker"])[0].metadata == {}
    bert.delete(["locker"])
    with memory_scope(user_id="anna"):
        assert texts(ParametricMemoryVectorStore(memory).get_by_ids(["locker"])) == ["My locker is number 48."]
    assert bert.similarity_search("locker") == []


def test_a_document_may_say_itself_whose_it_is(memory):
    locker = Document("My locker is number 48.", metadata={"user_id": "anna"})
    [id_] = ParametricMemoryVectorStore(memory).add_documents([locker])
    assert ParametricMemoryVectorStore(memory).get_by_ids([id_])[0].metadata == {"user_id": "anna"}
    anna, bert = (ParametricMemoryVectorStore(memory, user_id=user) for user in ("anna", "bert"))
    assert texts(anna.similarity_search("locker")) == [locker.page_content] and not bert.similarity_search("locker")
    with pytest.raises(ValueError, match="user_id must be 'anna' and 'bert' at once"):
        bert.add_documents([locker])


def test_what_was_added_to_the_memory_itself_is_found_by_atoms(store, memory):
    [first, second] = memory.add("Ada joined in 2021. Ada lives in Rome.")["results"]
    assert sorted(texts(store.similarity_search("Ada"))) == ["Ada joined in 2021.", "Ada lives in Rome."]
    store.delete([first["id"]])
    assert [one.id for one in store.get_by_ids([first["id"], second["id"]])] == [second["id"]]
    with pytest.raises(ValueError, match="give ids"):
        store.delete()


def test_it_is_made_from_texts_into_a_memory(memory):
    store = ParametricMemoryVectorStore.from_documents([HARBOUR], None, memory=memory)
    assert texts(store.similarity_search("ferry")) == [HARBOUR.page_content]
    with pytest.raises(ValueError, match="pass memory="):
        ParametricMemoryVectorStore.from_texts(["x"])
