import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField

from langchain_parametric_memory import ChatParametricMemory, memory_scope
from parametric_memory.config import GenerationConfig, MemoryConfig, StoreConfig
from parametric_memory.errors import GenerationError

ADA = "Ada joined the Rotterdam office in 2021."
BOB = "Bob keeps the red key of Hall 48."
WHEN, WHO = "When did Ada join the Rotterdam office?", "Who keeps the red key of Hall 48?"


@pytest.fixture
def llm(memory):
    memory.add([ADA, BOB])
    return ChatParametricMemory(memory=memory)


def prompts_of(backend, monkeypatch):
    """Record the batches of conversations that the base model reads."""
    seen, generate = [], type(backend).generate

    def spying(self, conversations, **kwargs):
        seen.append([list(one) for one in conversations])
        return generate(self, conversations, **kwargs)

    monkeypatch.setattr(type(backend), "generate", spying)
    return seen


def test_a_bare_question_is_answered_as_the_memory_answers_it(llm, memory):
    answer, message = memory.ask(WHEN), llm.invoke(WHEN)
    assert message.text == answer.text
    assert message.usage_metadata == {
        "input_tokens": answer.usage.prompt_tokens,
        "output_tokens": answer.usage.completion_tokens,
        "total_tokens": answer.usage.prompt_tokens + answer.usage.completion_tokens,
    }
    assert [atom["id"] for atom in message.response_metadata["atoms"]] == [
        routed.atom.id for routed in answer.route.selected
    ]
    assert message.response_metadata["knowledge_tokens"] == 0


def test_citations_are_annotations_of_the_text(llm):
    message = llm.invoke(WHEN)
    [block] = message.content_blocks
    cited = block["annotations"][0]
    assert (block["text"], cited["type"], cited["cited_text"]) == (message.text, "citation", ADA)
    assert message.text[cited["start_index"] : cited["end_index"]] == message.text
    assert isinstance(message.content, str)


def test_citations_are_in_the_content_where_version_1_of_it_is_wanted(memory):
    memory.add(ADA)
    llm = ChatParametricMemory(memory=memory, output_version="v1")
    assert llm.invoke(WHEN).content[0]["annotations"][0]["cited_text"] == ADA
    whole = None
    for chunk in llm.stream(WHEN):
        whole = chunk if whole is None else whole + chunk
    [block] = whole.content_blocks
    assert block["text"] == llm.invoke(WHEN).text and block["annotations"][0]["cited_text"] == ADA


def test_without_a_memory_it_is_the_bare_base_model(backend):
    llm = ChatParametricMemory(backend=backend, max_tokens=6)
    [made] = backend.generate([[{"role": "user", "content": "hi"}]], config=GenerationConfig(max_new_tokens=6))
    assert llm.invoke("hi").text == made.text.strip()
    assert llm.invoke("hi").response_metadata["mode"] == "closed_book"


def test_a_disabled_memory_answers_as_no_memory_does(llm, memory, backend):
    bare = ChatParametricMemory(backend=backend).invoke(WHEN)
    with memory.disabled():
        assert llm.invoke(WHEN).text == bare.text
    assert llm.invoke(WHEN, mode="closed_book").text == bare.text


def test_what_the_caller_says_stays_in_the_prompt(llm, backend, monkeypatch):
    seen = prompts_of(backend, monkeypatch)
    llm.invoke([SystemMessage("Be kind."), HumanMessage("Hello."), AIMessage("Hi."), HumanMessage(WHEN)])
    assert seen[0][0] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": WHEN},
        {"role": "assistant", "content": "Answer:"},
    ]


def test_history_can_be_kept_from_the_base_model(llm, backend, monkeypatch):
    seen = prompts_of(backend, monkeypatch)
    llm.model_copy(update={"history": False}).invoke([HumanMessage("Hello."), AIMessage("Hi."), HumanMessage(WHEN)])
    assert [turn["content"] for turn in seen[0][0]] == ["Answer briefly.", WHEN, "Answer:"]
    # What a question leans on is put into it, since it is kept from the base model.
    llm.model_copy(update={"history": False}).invoke(
        [HumanMessage(WHO), AIMessage("Bob"), HumanMessage("Where does he live?")]
    )
    assert seen[1][0][1]["content"] == "Where does Bob live?"


def test_a_follow_up_is_routed_with_the_turn_before_it_and_read_as_it_is(llm, backend, monkeypatch):
    seen = prompts_of(backend, monkeypatch)
    talk = [HumanMessage(WHO), AIMessage("Bob"), HumanMessage("Where does he live?")]
    assert llm.invoke(talk).response_metadata["citations"][0]["text"] == BOB
    assert [turn["content"] for turn in seen[0][0]][1:4] == [WHO, "Bob", "Where does he live?"]
    assert (
        llm.invoke([HumanMessage(WHO), AIMessage("Bob"), HumanMessage(WHEN)]).response_metadata["citations"][0]["text"]
        == ADA
    )


def test_another_rule_for_the_question_takes_its_place(memory):
    memory.add([ADA, BOB])
    llm = ChatParametricMemory(memory=memory, question=lambda messages: WHO)
    assert llm.invoke("?").response_metadata["citations"][0]["text"] == BOB


def test_images_are_refused_not_dropped(llm):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    with pytest.raises(ValueError, match="reads only text"):
        llm.invoke([HumanMessage([{"type": "text", "text": "What is it?"}, picture])])


# ---------------------------------------------------------------- abstaining


def test_a_memory_that_holds_no_answer_says_so_or_lets_the_base_answer(make_memory):
    memory = make_memory(config=MemoryConfig(store=StoreConfig(index="numpy")))
    memory.add(ADA)
    message = ChatParametricMemory(memory=memory).invoke("How many moons has Jupiter?")
    assert message.text == "I don't know." and message.response_metadata["abstained"]
    assert message.usage_metadata["total_tokens"] == 0 and message.response_metadata["citations"] == []
    fallen_back = ChatParametricMemory(memory=memory, fallback="base", max_tokens=5).invoke("How many moons?")
    bare = ChatParametricMemory(backend=memory.backend, max_tokens=5).invoke("How many moons?")
    assert fallen_back.text == bare.text and fallen_back.usage_metadata == bare.usage_metadata
    assert fallen_back.response_metadata["abstained"]


# ---------------------------------------------------------------- settings


def test_a_call_s_settings_go_before_the_model_s_and_these_before_the_memory_s(llm):
    assert llm.invoke(WHEN).usage_metadata["output_tokens"] <= 8
    longer = llm.model_copy(update={"max_tokens": 12})
    assert longer.invoke(WHEN, max_tokens=3).usage_metadata["output_tokens"] <= 3
    text = longer.invoke(WHEN).text
    assert longer.invoke(WHEN, stop=[text[3]]).text == text[: text.index(text[3])].strip()
    assert longer.bind(stop=[text[3]]).invoke(WHEN).text == text[: text.index(text[3])].strip()


def test_a_seed_makes_drawing_repeatable(llm):
    drawn = {llm.invoke(WHEN, temperature=1.5, seed=seed).text for seed in range(4)}
    assert len(drawn) > 1
    assert llm.invoke(WHEN, temperature=1.5, seed=1).text == llm.invoke(WHEN, temperature=1.5, seed=1).text


@pytest.mark.parametrize("wrong", [{"userid": "anna"}, {"filter": {}}])
def test_a_misspelt_setting_is_refused(llm, memory, wrong):
    with pytest.raises(TypeError, match="no setting"):
        llm.invoke(WHEN, **wrong)
    with pytest.raises(ValueError, match="no setting"):
        ChatParametricMemory(memory=memory, **wrong)


def test_tokens_are_counted_by_the_base_model_s_tokenizer(llm, backend):
    assert llm.get_num_tokens("one two") == backend.count_tokens("one two") == len(llm.get_token_ids("one two"))
    counted = llm.get_num_tokens_from_messages([SystemMessage("Answer briefly."), HumanMessage(WHEN)])
    opened = backend.count_tokens("Answer:")
    assert counted == llm.invoke(WHEN).usage_metadata["input_tokens"] - opened


def test_the_profile_says_what_it_can_do(llm, backend):
    assert llm.profile["max_input_tokens"] == backend.model.config.max_position_embeddings
    assert llm.profile["tool_calling"] and not llm.profile["image_inputs"] and not llm.profile["structured_output"]


# ---------------------------------------------------------------- caching


def test_a_cache_never_serves_what_was_true_before_the_memory_changed(memory):
    memory.add(ADA)
    llm = ChatParametricMemory(memory=memory, cache=InMemoryCache())
    llm.invoke(WHEN)
    [record] = memory.get_all()["results"]
    memory.delete(record["id"])
    memory.add(BOB)
    assert [one["text"] for one in llm.invoke(WHEN).response_metadata["citations"]] == [BOB]


def test_a_cached_answer_is_served_while_nothing_has_changed(memory, backend, monkeypatch):
    memory.add(ADA)
    llm = ChatParametricMemory(memory=memory, cache=InMemoryCache())
    seen = prompts_of(backend, monkeypatch)
    assert llm.invoke(WHEN).text == llm.invoke(WHEN).text and len(seen) == 1


def test_a_cache_keeps_users_and_arms_apart(memory):
    memory.add("My locker is number 48.", user_id="anna")
    memory.add("My locker is number 12.", user_id="bert")
    llm = ChatParametricMemory(memory=memory, cache=InMemoryCache())

    def cited(**kwargs):
        return [
            one["text"] for one in llm.invoke("Which number is my locker?", **kwargs).response_metadata["citations"]
        ]

    assert cited(user_id="anna") == ["My locker is number 48."]
    assert cited(user_id="bert") == ["My locker is number 12."]
    with memory_scope(user_id="anna"):
        assert cited() == ["My locker is number 48."]
    with memory_scope(user_id="bert"):
        assert cited() == ["My locker is number 12."]
    with memory.disabled():
        assert cited() == []


def test_a_cache_tells_two_rules_for_the_question_apart(memory):
    memory.add([ADA, BOB])
    cache = InMemoryCache()
    first, second = (
        ChatParametricMemory(memory=memory, cache=cache, question=lambda messages, one=one: one) for one in (WHEN, WHO)
    )
    cited = [llm.invoke("Well?").response_metadata["citations"][0]["text"] for llm in (first, second)]
    assert cited == [ADA, BOB]


# ---------------------------------------------------------------- batches


def test_a_batch_is_one_pass_with_a_route_per_row(llm, backend, monkeypatch):
    alone = [llm.invoke(one).text for one in (WHEN, WHO, WHEN)]
    seen = prompts_of(backend, monkeypatch)
    batch = llm.batch([WHEN, WHO, WHEN])
    assert [message.text for message in batch] == alone and [len(one) for one in seen] == [3]
    assert [m.response_metadata["citations"][0]["text"] for m in batch] == [ADA, BOB, ADA]


async def test_an_async_batch_is_one_pass_too(llm, backend, monkeypatch):
    seen = prompts_of(backend, monkeypatch)
    batch = await llm.abatch([WHEN, WHO, WHEN], {"max_concurrency": 2})
    assert [len(one) for one in seen] == [3]
    assert [m.response_metadata["citations"][0]["text"] for m in batch] == [ADA, BOB, ADA]


def test_a_row_that_fails_leaves_the_others_alone(llm, backend):
    long = "word " * (backend.model.config.max_position_embeddings // 4)  # its tokens are bytes
    first, second, third = llm.batch([WHEN, long, WHO], return_exceptions=True)
    assert isinstance(second, GenerationError)
    assert (first.text, third.text) == (llm.invoke(WHEN).text, llm.invoke(WHO).text)
    with pytest.raises(GenerationError):
        llm.batch([WHEN, long])


def test_a_batch_in_a_chain_takes_every_row_s_own_user(memory):
    for number, user in enumerate(["anna", "bert"]):
        memory.add(f"My locker is number {number}{number}.", user_id=user)
    llm = ChatParametricMemory(memory=memory).configurable_fields(user_id=ConfigurableField(id="user_id"))
    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | llm
    users = ["anna", "bert", "anna"]
    answers = chain.batch(
        [{"question": "Which number is my locker?"}] * 3, [{"configurable": {"user_id": user}} for user in users]
    )
    cited = [[one["text"] for one in m.response_metadata["citations"]] for m in answers]
    assert cited == [["My locker is number 00."], ["My locker is number 11."], ["My locker is number 00."]]


# ---------------------------------------------------------------- streaming


def whole(chunks):
    total = None
    for chunk in chunks:
        total = chunk if total is None else total + chunk
    return total


def test_streamed_chunks_add_up_to_the_answer(llm):
    message, chunks = llm.invoke(WHEN), list(llm.stream(WHEN))
    total = whole(chunks)
    assert len(chunks) > 2 and total.text == message.text
    assert total.response_metadata["atoms"] == message.response_metadata["atoms"]
    assert total.usage_metadata["input_tokens"] == message.usage_metadata["input_tokens"]


def test_the_first_token_comes_before_the_last_is_computed(llm, backend, monkeypatch):
    from parametric_memory.backends.decoding import Decoding

    events, step = [], Decoding.step
    monkeypatch.setattr(Decoding, "step", lambda self: events.append("step") or step(self))
    events.extend("chunk" for _ in llm.stream(WHEN))
    assert events.index("chunk") < 3
    assert events.index("chunk") < len(events) - 1 - events[::-1].index("step")


def test_a_stream_that_is_closed_half_way_leaves_the_base_clean(llm, backend):
    bare = ChatParametricMemory(backend=backend, max_tokens=6)
    before = bare.invoke("hi").text
    weights = {name: tensor.clone() for name, tensor in backend.model.state_dict().items()}
    stream = llm.stream(WHEN)
    next(stream)
    assert bare.invoke("hi").text == before  # between two pieces
    stream.close()
    assert bare.invoke("hi").text == before
    assert all(torch.equal(tensor, weights[name]) for name, tensor in backend.model.state_dict().items())


async def test_a_coroutine_s_stream_that_is_closed_half_way_leaves_the_base_clean(llm, backend):
    bare = ChatParametricMemory(backend=backend, max_tokens=6)
    before = bare.invoke("hi").text
    stream = llm.astream(WHEN)
    await anext(stream)
    assert (await bare.ainvoke("hi")).text == before
    await stream.aclose()
    assert (await bare.ainvoke("hi")).text == before


@pytest.mark.parametrize("streaming", [False, True])
def test_callbacks_are_told_every_token(llm, streaming):
    tokens = []

    class Listener(BaseCallbackHandler):
        def on_llm_new_token(self, token, **kwargs):
            tokens.append(token)

    if streaming:  # set to False, it would keep `stream` from streaming: that is LangChain's rule
        llm = llm.model_copy(update={"streaming": True})
    config = {"callbacks": [Listener()]}
    text = llm.invoke(WHEN, config).text if streaming else whole(llm.stream(WHEN, config)).text
    assert len([token for token in tokens if token]) > 1 and "".join(tokens) == text == llm.invoke(WHEN).text


async def test_events_carry_tokens(llm):
    tokens = [
        event["data"]["chunk"].text
        async for event in llm.astream_events(WHEN, version="v2")
        if event["event"] == "on_chat_model_stream"
    ]
    assert len([token for token in tokens if token]) > 1 and "".join(tokens) == llm.invoke(WHEN).text


async def test_interleaved_async_streams_do_not_meet(llm):
    alone = {question: llm.invoke(question).text for question in (WHEN, WHO)}

    async def read(question):
        return "".join([chunk.text async for chunk in llm.astream(question)])

    questions = [WHEN, WHO] * 4
    assert await asyncio.gather(*map(read, questions)) == [alone[question] for question in questions]


# ---------------------------------------------------------------- users

USERS = ("anna", "bert", "cleo", "dora")


@pytest.fixture(scope="module")
def shared(make_memory):
    memory = make_memory()
    for number, user in enumerate(USERS):
        for thing in ("locker", "desk", "bicycle"):
            memory.add(f"The number of my {thing} is {number}{len(thing)}.", user_id=user)
    return ChatParametricMemory(memory=memory, max_tokens=4)


@pytest.fixture(scope="module")
def expected(shared):
    return {(user, thing): answer(shared, user, thing) for user in USERS for thing in ("locker", "desk", "bicycle")}


def answer(llm, user, thing):
    message = llm.invoke(f"What is the number of my {thing}?", user_id=user)
    return message.text, owners(llm, message)


def owners(llm, message):
    atoms = message.response_metadata["atoms"]
    return {llm.memory.get(atom["id"])["metadata"]["user_id"] for atom in atoms}


def test_400_answers_in_8_threads_hold_no_foreign_atom(shared, expected):
    calls = [(USERS[n % 4], ("locker", "desk", "bicycle")[n % 3]) for n in range(400)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda call: answer(shared, *call), calls))
    assert answers == [expected[call] for call in calls]
    assert all(seen == {user} for (user, _), (_, seen) in zip(calls, answers, strict=True))


async def test_400_answers_in_batches_side_by_side_hold_no_foreign_atom(shared, expected):
    things = [("locker", "desk", "bicycle")[n % 3] for n in range(50)]

    async def batch(user):
        messages = await shared.abatch([f"What is the number of my {thing}?" for thing in things], user_id=user)
        return [(message.text, owners(shared, message)) for message in messages]

    answers = await asyncio.gather(*map(batch, USERS * 2))
    assert sum(map(len, answers)) == 400
    assert answers == [[expected[user, thing] for thing in things] for user in USERS * 2]


async def test_400_interleaved_streams_hold_no_foreign_atom(shared, expected):
    pieces = []

    async def stream(user, thing):
        total = None
        async for chunk in shared.astream(f"What is the number of my {thing}?", user_id=user):
            total = chunk if total is None else total + chunk
            pieces.append(user)
        return total.text, owners(shared, total)

    calls = [(USERS[n % 4], ("locker", "desk", "bicycle")[n % 3]) for n in range(400)]
    for begin in range(0, 400, 40):
        some = calls[begin : begin + 40]
        assert await asyncio.gather(*(stream(*call) for call in some)) == [expected[call] for call in some]
    # They took turns: of one piece and the next, most are of two users.
    assert sum(one != other for one, other in pairwise(pieces)) > len(pieces) / 2


def test_filters_only_ever_narrow(shared):
    with memory_scope(user_id="anna"), pytest.raises(ValueError, match="cannot leave the scope"):
        shared.invoke("What is the number of my desk?", user_id="bert")
    with pytest.raises(ValueError, match="an empty scope"), memory_scope():
        pass


def test_it_is_a_part_of_a_chain(llm):
    chain = (
        ChatPromptTemplate.from_messages([("system", "Answer briefly."), ("human", "{q}")]) | llm | StrOutputParser()
    )
    assert chain.invoke({"q": WHEN}) == llm.invoke(WHEN).text
    assert "".join(chain.stream({"q": WHEN})) == llm.invoke(WHEN).text


def test_results_of_tools_are_read_as_turns(llm, backend, monkeypatch):
    seen = prompts_of(backend, monkeypatch)
    call = {"name": "add", "args": {"a": 1}, "id": "1", "type": "tool_call"}
    llm.invoke([HumanMessage(WHEN), AIMessage("", tool_calls=[call]), ToolMessage("3", tool_call_id="1")])
    assert [turn["content"] for turn in seen[0][0]][2:4] == [
        '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>',
        "<tool_response>3</tool_response>",
    ]
