"""The query engine and the retriever: alone, as tools, and inside LlamaIndex's own engines beside a vector index."""

import pytest
from llama_index.core import Document, QueryBundle, VectorStoreIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import AsyncStreamingResponse, Response, StreamingResponse
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.postprocessor import LongContextReorder, SimilarityPostprocessor
from llama_index.core.query_engine import (
    CitationQueryEngine,
    RetrieverQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
)
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.schema import NodeRelationship, TextNode
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters

from llama_index.memory.parametric import (
    ParametricKeyEmbedding,
    ParametricMemoryLLM,
    ParametricMemoryRetriever,
    ParametricQueryEngine,
    ParametricVectorStore,
    memory_scope,
)
from parametric_memory.errors import AbstainedError

PAGE = "The ferry Tern was launched in Skarvik in 2019. Mara Lindqvist repairs the ferry Tern every winter."
WHEN, WHO = "When was the ferry Tern launched?", "Who repairs the ferry Tern every winter?"


@pytest.fixture
def ferries(either_memory):
    either_memory.add([Document(text=PAGE, metadata={"source": "ferries.md", "year": 2024})])
    return either_memory


@pytest.fixture
def tiny(memory):
    memory.add([Document(text=PAGE, metadata={"source": "ferries.md", "year": 2024})])
    return memory


# ---------------------------------------------------------------- the engine


def test_the_classes_are_an_engine_and_a_retriever():
    assert BaseQueryEngine.__name__ in [base.__name__ for base in ParametricQueryEngine.__mro__]
    assert BaseRetriever.__name__ in [base.__name__ for base in ParametricMemoryRetriever.__mro__]


def test_a_question_is_answered_as_the_memory_answers_it_with_its_sources(ferries):
    answer, response = ferries.ask(WHO), ParametricQueryEngine(ferries).query(WHO)
    assert isinstance(response, Response) and str(response) == answer.text
    best = next(one.node for one in response.source_nodes if "Mara" in one.node.text)
    assert best.metadata["source"] == "ferries.md" and best.metadata["year"] == 2024
    assert PAGE[best.start_char_idx : best.end_char_idx] == "Mara Lindqvist repairs the ferry Tern every winter."
    assert [one.node.node_id for one in response.source_nodes] == [one["id"] for one in response.metadata["atoms"]]
    assert all(0 <= one.score <= 1 for one in response.source_nodes)
    assert response.metadata["knowledge_tokens"] == 0 and response.metadata["usage"]["prompt_tokens"] > 0


async def test_the_async_form_gives_the_same(ferries):
    engine = ParametricQueryEngine(ferries)
    assert str(await engine.aquery(WHEN)) == str(engine.query(WHEN))


def test_a_streaming_engine_knows_its_sources_first_and_its_cost_last(ferries):
    response = ParametricQueryEngine(ferries, streaming=True).query(WHEN)
    assert isinstance(response, StreamingResponse) and response.source_nodes and "usage" not in response.metadata
    assert "".join(response.response_gen) == ferries.ask(WHEN).text
    assert response.metadata["usage"]["completion_tokens"] > 0


async def test_a_streaming_engine_streams_from_coroutines(ferries):
    response = await ParametricQueryEngine(ferries, streaming=True).aquery(WHEN)
    assert isinstance(response, AsyncStreamingResponse) and response.source_nodes
    assert "".join([piece async for piece in response.async_response_gen()]) == ferries.ask(WHEN).text
    assert response.metadata["usage"]["completion_tokens"] > 0


def test_a_memory_that_holds_no_answer_says_so_or_lets_the_base_answer_or_raises(abstaining_memory):
    abstaining_memory.add(PAGE)
    response = ParametricQueryEngine(abstaining_memory).query("How many moons has Jupiter?")
    assert str(response) == "I don't know." and response.source_nodes == [] and response.metadata["abstained"]
    fallen_back = ParametricQueryEngine(abstaining_memory, fallback="base", settings={"max_new_tokens": 4})
    assert fallen_back.query("How many moons has Jupiter?").metadata["usage"]["completion_tokens"] <= 4
    with pytest.raises(AbstainedError):
        ParametricQueryEngine(abstaining_memory, fallback="raise").query("How many moons has Jupiter?")


def test_an_engine_keeps_to_its_user_and_to_the_scope_it_is_called_in(memory):
    for user, number in (("anna", 48), ("bert", 12)):
        memory.add(f"My locker is number {number}.", user_id=user)
    question = "Which number is my locker?"

    def sources(engine):
        return [one.node.text for one in engine.query(question).source_nodes]

    assert sources(ParametricQueryEngine(memory, user_id="anna")) == ["My locker is number 48."]
    with memory_scope(user_id="bert"):
        assert sources(ParametricQueryEngine(memory)) == ["My locker is number 12."]
        with pytest.raises(ValueError, match="cannot leave the scope"):
            ParametricQueryEngine(memory, user_id="anna").query(question)


def test_what_an_engine_would_stand_on_can_be_retrieved_alone(tiny):
    engine = ParametricQueryEngine(tiny)
    sources = {one.node.node_id for one in engine.query(WHEN).source_nodes}
    assert {one.node.node_id for one in engine.retrieve(QueryBundle(WHEN))} == sources


def test_queries_tell_their_events_in_order(tiny, told):
    ParametricQueryEngine(tiny).query(WHEN)
    ours = ["MemoryRouteEvent", "MemoryComposeEvent", "MemoryGenerateEvent"]
    assert [event.class_name() for event in told] == ["QueryStartEvent", *ours, "QueryEndEvent"]


# ---------------------------------------------------------------- the retriever


def test_atoms_are_nodes_with_spans_a_source_and_a_score(ferries):
    [best] = ParametricMemoryRetriever(ferries, similarity_top_k=1).retrieve(WHO)
    assert best.node.text.endswith("Mara Lindqvist repairs the ferry Tern every winter.") and 0 <= best.score <= 1
    assert best.node.relationships[NodeRelationship.SOURCE].metadata["source"] == "ferries.md"
    assert best.node.ref_doc_id == ferries.get(best.node.node_id)["document_id"]
    assert best.node.get_content("llm") == best.node.text  # nothing of the metadata enters a prompt


def test_atoms_of_a_vector_store_s_node_name_the_node_and_its_document(memory):
    store = ParametricVectorStore(memory)
    node = TextNode(id_="n", text=PAGE, start_char_idx=100)
    node.relationships[NodeRelationship.SOURCE] = Document(doc_id="page", text="…").as_related_node_info()
    store.add([node])
    [best] = ParametricMemoryRetriever(memory, similarity_top_k=1).retrieve(WHO)
    assert (best.node.parent_node.node_id, best.node.ref_doc_id) == ("n", "page")
    assert PAGE[best.node.start_char_idx - 100 : best.node.end_char_idx - 100].startswith("Mara")


async def test_a_gated_retriever_returns_what_would_be_composed(abstaining_memory):
    abstaining_memory.add(PAGE)
    gated = ParametricMemoryRetriever(abstaining_memory, gated=True)
    assert await gated.aretrieve("How many moons has Jupiter?") == []
    assert any(one.node.text.startswith("Mara") for one in gated.retrieve(WHO))


def test_a_retriever_takes_llama_index_s_filters_and_the_memory_s(memory):
    for year in (2020, 2021, 2022):
        memory.add(f"Hall {year} opens at seven.", metadata={"year": year})
    newer = MetadataFilters(filters=[MetadataFilter(key="year", operator=FilterOperator.GT, value=2021)])
    for filters in (newer, {"year": 2022}):
        found = ParametricMemoryRetriever(memory, filters=filters).retrieve("When does the hall open?")
        assert [one.node.metadata["year"] for one in found] == [2022]


def test_postprocessors_understand_its_scores(ferries):
    retriever = ParametricMemoryRetriever(ferries)
    nodes = retriever.retrieve(WHO)
    kept = SimilarityPostprocessor(similarity_cutoff=nodes[0].score).postprocess_nodes(nodes)
    assert [one.node.node_id for one in kept] == [nodes[0].node.node_id]
    assert len(LongContextReorder().postprocess_nodes(nodes)) == len(nodes)


async def test_an_evaluator_of_retrievers_runs_on_it(tiny):
    retriever = ParametricMemoryRetriever(tiny)
    wanted = retriever.retrieve(WHO)[0].node.node_id
    evaluator = RetrieverEvaluator.from_metric_names(["hit_rate", "mrr"], retriever=retriever)
    result = await evaluator.aevaluate(query=WHO, expected_ids=[wanted])
    assert result.metric_vals_dict == {"hit_rate": 1.0, "mrr": 1.0}


# ---------------------------------------------------------------- inside LlamaIndex's engines


def test_a_rag_engine_reads_its_sentences(ferries):
    rag = RetrieverQueryEngine.from_args(ParametricMemoryRetriever(ferries), llm=ParametricMemoryLLM(ferries))
    response = rag.query(WHEN)
    assert str(response).strip() and "Tern" in response.source_nodes[0].node.text


def test_a_citation_engine_numbers_its_sentences(ferries):
    engine = CitationQueryEngine.from_args(
        None, llm=ParametricMemoryLLM(ferries), retriever=ParametricMemoryRetriever(ferries, similarity_top_k=2)
    )
    response = engine.query(WHEN)
    assert str(response).strip()
    assert [one.node.text.startswith(f"Source {n}:") for n, one in enumerate(response.source_nodes, 1)] == [True] * 2
    assert all(one.node.metadata["source"] == "ferries.md" for one in response.source_nodes)


@pytest.fixture
def tools(ferries):
    mill = VectorStoreIndex.from_documents(
        [Document(text="The mill of Orsund grinds rye.")], embed_model=ParametricKeyEmbedding(ferries)
    )
    llm = ParametricMemoryLLM(ferries)
    return [
        QueryEngineTool.from_defaults(ParametricQueryEngine(ferries), name="ferries", description="About ferries."),
        QueryEngineTool.from_defaults(mill.as_query_engine(llm=llm), name="mills", description="About mills."),
    ]


def test_an_engine_is_a_tool(tools, ferries):
    output = tools[0](input=WHEN)
    assert output.content == ferries.ask(WHEN).text and output.raw_output.source_nodes


async def test_a_router_chooses_between_the_memory_and_a_vector_index(tools, ferries, spoken):
    for index, source in ((1, "Tern"), (2, "mill")):
        chooser = ParametricMemoryLLM(backend=spoken(f'"index": {index}, "reason": "it is"}}}}'))
        router = RouterQueryEngine.from_defaults(tools, llm=chooser)
        response = router.query(WHEN)
        assert str(response).strip() and source in response.source_nodes[0].node.text
    chooser = ParametricMemoryLLM(backend=spoken('"index": 1, "reason": "it is"}}'))
    assert str(await RouterQueryEngine.from_defaults(tools, llm=chooser).aquery(WHEN)) == ferries.ask(WHEN).text


class TwoQuestions(BaseQuestionGenerator):
    """Asks both tools what they are about."""

    def generate(self, tools, query):
        return [
            SubQuestion(sub_question=WHEN, tool_name="ferries"),
            SubQuestion(sub_question="What does the mill of Orsund grind?", tool_name="mills"),
        ]

    async def agenerate(self, tools, query):
        return self.generate(tools, query)

    def _get_prompts(self):
        return {}

    def _update_prompts(self, prompts):
        pass


@pytest.mark.parametrize("use_async", [True, False])
def test_a_question_in_parts_is_asked_of_the_memory_and_of_a_vector_index(tools, ferries, use_async):
    engine = SubQuestionQueryEngine.from_defaults(
        tools, llm=ParametricMemoryLLM(ferries), question_gen=TwoQuestions(), use_async=use_async, verbose=False
    )
    response = engine.query("When was the Tern launched, and what does the mill grind?")
    texts = " ".join(one.node.text for one in response.source_nodes)
    assert str(response).strip() and ferries.ask(WHEN).text in texts and "Tern" in texts and "mill" in texts


@pytest.mark.model
def test_on_the_real_base_embeddings_choose_the_tool_and_the_memory_answers(real_memory):
    real_memory.reset()
    real_memory.add(PAGE)
    mill = VectorStoreIndex.from_documents(
        [Document(text="The mill of Orsund grinds rye.")], embed_model=ParametricKeyEmbedding(real_memory)
    )
    llm = ParametricMemoryLLM(real_memory, max_tokens=16)
    tools = [
        QueryEngineTool.from_defaults(mill.as_query_engine(llm=llm), name="mills", description="About mills and rye."),
        QueryEngineTool.from_defaults(ParametricQueryEngine(real_memory), name="ferries", description="About ferries."),
    ]
    selector = EmbeddingSingleSelector.from_defaults(embed_model=ParametricKeyEmbedding(real_memory))
    response = RouterQueryEngine.from_defaults(tools, llm=llm, selector=selector).query(WHO)
    assert "Mara" in str(response) and response.metadata["knowledge_tokens"] == 0


def test_embeddings_are_the_memory_s_keys_and_stay_in_their_process(tiny):
    import pickle

    embedding = ParametricKeyEmbedding(tiny)
    assert embedding.get_text_embedding(PAGE) == tiny.key_encoder.encode_atoms([PAGE])[0].tolist()
    assert embedding.get_query_embedding(WHEN) == tiny.key_encoder.encode_query(WHEN).tolist()
    assert embedding.model_name == tiny.key_encoder.name == embedding.to_dict()["model_name"]
    assert embedding.get_text_embedding_batch([PAGE, WHEN])[1] == tiny.key_encoder.encode_atoms([WHEN])[0].tolist()
    with pytest.raises(TypeError, match="leave num_workers out"):
        pickle.dumps(embedding)


async def test_embeddings_come_from_coroutines_too(tiny):
    embedding = ParametricKeyEmbedding(tiny.key_encoder)
    assert await embedding.aget_query_embedding(WHEN) == embedding.get_query_embedding(WHEN)
    assert await embedding.aget_text_embedding_batch([PAGE]) == [embedding.get_text_embedding(PAGE)]
