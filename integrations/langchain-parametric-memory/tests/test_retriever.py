import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from langchain_parametric_memory import ChatParametricMemory, ParametricMemoryRetriever, memory_scope
from parametric_memory.config import MemoryConfig, StoreConfig

ADA = "Ada joined the Rotterdam office in 2021."
WHEN = "When did Ada join the Rotterdam office?"


def test_a_document_says_where_its_sentence_stands(memory, tmp_path):
    path = tmp_path / "office.txt"
    path.write_text(f"Office hours are short.\n\n{ADA}\n")
    memory.add(path, metadata={"year": 2021})
    [found] = ParametricMemoryRetriever(memory=memory, k=1).invoke(WHEN)
    start, end = found.metadata["span"]
    assert path.read_text()[start:end] == ADA and found.page_content.endswith(ADA)
    assert found.metadata["source"] == path.as_posix() and found.metadata["year"] == 2021
    assert found.metadata["kind"] and isinstance(found.metadata["score"], float)
    assert memory.get(found.id)["memory"] == found.page_content


def test_gated_it_returns_what_would_be_composed(make_memory):
    memory = make_memory(config=MemoryConfig(store=StoreConfig(index="numpy")))
    memory.add([ADA, "Bob keeps the red key of Hall 48."])
    gated = ParametricMemoryRetriever(memory=memory, gated=True)
    route = memory.explain(WHEN)
    assert [found.id for found in gated.invoke(WHEN)] == [routed.atom.id for routed in route.selected] != []
    assert gated.invoke("How many moons has Jupiter?") == []
    assert len(ParametricMemoryRetriever(memory=memory).invoke("How many moons has Jupiter?")) == 2


def test_it_sees_one_user_s_atoms_only(memory):
    memory.add("My locker is number 48.", user_id="anna")
    memory.add("My locker is number 12.", user_id="bert")
    retriever = ParametricMemoryRetriever(memory=memory)
    found = {one.page_content for one in ParametricMemoryRetriever(memory=memory, user_id="anna").invoke("locker")}
    assert found == {"My locker is number 48."}
    assert {one.page_content for one in retriever.invoke("locker", user_id="bert")} == {"My locker is number 12."}
    with memory_scope(user_id="anna"):
        assert {one.page_content for one in retriever.invoke("locker")} == found
        with pytest.raises(ValueError, match="cannot leave the scope"):
            retriever.invoke("locker", user_id="bert")


def test_a_rag_chain_and_the_model_alone_run_on_the_same_weights(memory):
    memory.add([ADA, "Bob keeps the red key of Hall 48."])
    llm, retriever = ChatParametricMemory(memory=memory), ParametricMemoryRetriever(memory=memory, k=2)
    prompt = ChatPromptTemplate.from_template("Context:\n{context}\n\nQuestion: {question}")
    context = retriever | (lambda found: "\n\n".join(one.page_content for one in found))
    rag = {"context": context, "question": RunnablePassthrough()} | prompt | llm
    with memory.disabled():
        read = rag.invoke(WHEN)
    known = llm.invoke(WHEN)
    assert read.usage_metadata["input_tokens"] > known.usage_metadata["input_tokens"]
    assert read.response_metadata["mode"] == "closed_book" and known.response_metadata["mode"] == "atoms"
    hybrid = (llm.bind(mode="hybrid") | StrOutputParser()).invoke(WHEN)
    assert hybrid == memory.ask(WHEN, mode="hybrid").text


def test_a_rag_chain_in_hybrid_mode_reads_its_text_under_the_route_of_its_question(memory, monkeypatch):
    memory.add([ADA, "Bob keeps the red key of Hall 48."])
    backend, seen = type(memory.backend), []
    generate = backend.generate
    monkeypatch.setattr(backend, "generate", lambda self, *a, **k: seen.append((a[0], k)) or generate(self, *a, **k))
    llm = ChatParametricMemory(
        memory=memory, mode="hybrid", question=lambda messages: messages[-1].text.rpartition("Question: ")[2]
    )
    rag = ChatPromptTemplate.from_template("Context: {context}\n\nQuestion: {question}") | llm
    message = rag.invoke({"context": "Ada's team came by ferry.", "question": WHEN})
    [([read], called)] = seen
    assert called["adapters"] != [None] and message.response_metadata["citations"][0]["text"] == ADA
    assert read[1]["content"] == (f"Passage: {ADA}\nQuestion: Context: Ada's team came by ferry.\n\nQuestion: {WHEN}")
