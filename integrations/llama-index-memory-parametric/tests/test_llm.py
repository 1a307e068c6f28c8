"""What LlamaIndex expects of an LLM: its class, complete and chat, their stream and async forms, tools, events."""

import asyncio
import json
import time

import pytest
import torch
from llama_index.core import Settings
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, CustomLLM, ImageBlock, TextBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.prompts.chat_prompts import CHAT_REFINE_PROMPT, CHAT_TEXT_QA_PROMPT, CHAT_TREE_SUMMARIZE_PROMPT
from llama_index.core.prompts.default_prompts import (
    DEFAULT_REFINE_PROMPT,
    DEFAULT_SUMMARY_PROMPT,
    DEFAULT_TEXT_QA_PROMPT,
)
from llama_index.core.tools import FunctionTool

from llama_index.memory.parametric import ParametricMemoryLLM, memory_scope
from parametric_memory.config import GenerationConfig

ADA = "Ada joined the Rotterdam office in 2021."
BOB = "Bob keeps the red key of Hall 48."
WHEN, WHO = "When did Ada join the Rotterdam office?", "Who keeps the red key of Hall 48?"


@pytest.fixture
def llm(either_memory):
    either_memory.add([ADA, BOB])
    return ParametricMemoryLLM(either_memory)


@pytest.fixture
def tiny(memory):
    memory.add([ADA, BOB])
    return ParametricMemoryLLM(memory)


@pytest.fixture
def prompts(backend, monkeypatch):
    """Return the conversations that the tiny base model reads."""
    seen, generate = [], type(backend).generate

    def spying(self, conversations, **kwargs):
        seen.extend(list(one) for one in conversations)
        return generate(self, conversations, **kwargs)

    monkeypatch.setattr(type(backend), "generate", spying)
    return seen


def user(text):
    return ChatMessage(role="user", content=text)


def cited(response):
    return [one["text"] for one in response.raw["citations"]]


# ---------------------------------------------------------------- what it is


def test_the_class_is_an_llm_a_custom_one_that_calls_functions():
    names = [base.__name__ for base in ParametricMemoryLLM.__mro__]
    assert {BaseLLM.__name__, CustomLLM.__name__, FunctionCallingLLM.__name__} <= set(names)
    assert ParametricMemoryLLM.class_name() == "ParametricMemoryLLM"


def test_metadata_are_those_of_the_base_model(tiny, backend):
    metadata = tiny.metadata
    assert metadata.context_window == backend.model.config.max_position_embeddings
    assert (metadata.model_name, metadata.is_chat_model, metadata.is_function_calling_model) == ("tiny", True, True)


def test_it_is_told_about_as_json_without_its_memory(tiny):
    told = json.loads(json.dumps(tiny.to_dict()))
    assert told["class_name"] == "ParametricMemoryLLM" and told["model"] == "tiny" and "memory" not in told


def test_its_tokenizer_counts_for_llama_index(tiny, backend):
    Settings.tokenizer = tiny.tokenizer
    assert len(Settings.tokenizer("one two")) == backend.count_tokens("one two")


def test_settings_that_do_not_exist_are_refused(tiny, memory):
    with pytest.raises(TypeError, match="no setting 'userid'"):
        tiny.complete(WHEN, userid="anna")
    with pytest.raises(ValueError, match="no setting 'userid'"):
        ParametricMemoryLLM(memory, userid="anna")
    with pytest.raises(ValueError, match="expected a ParametricMemory"):
        ParametricMemoryLLM("memory")
    with pytest.raises(ValueError, match="leave it out"):
        ParametricMemoryLLM(memory, model="another")


# ---------------------------------------------------------------- the eight ways to ask


async def test_all_ways_to_ask_give_the_answer_of_the_memory(llm, either_memory):
    answer, messages = either_memory.ask(WHEN), [user(WHEN)]
    whole = [llm.complete(WHEN), llm.chat(messages), await llm.acomplete(WHEN), await llm.achat(messages)]
    streams = [list(llm.stream_complete(WHEN)), list(llm.stream_chat(messages))]
    streams += [
        [piece async for piece in await llm.astream_complete(WHEN)],
        [piece async for piece in await llm.astream_chat(messages)],
    ]
    for response in [*whole, *(pieces[-1] for pieces in streams)]:
        text = response.message.content if hasattr(response, "message") else response.text
        assert text == answer.text
        assert [atom["id"] for atom in response.raw["atoms"]] == [one.atom.id for one in answer.route.selected]
        assert cited(response)[0] == ADA == response.additional_kwargs["citations"][0]["text"]
        assert response.raw["knowledge_tokens"] == 0
        assert response.raw["usage"]["prompt_tokens"] == answer.usage.prompt_tokens
    for pieces in streams:
        assert "".join(piece.delta for piece in pieces) == answer.text
        texts = [str(getattr(piece, "text", None) or piece.message.content) for piece in pieces]
        assert texts == sorted(texts, key=len)


def test_what_is_known_about_an_answer_is_not_counted_as_conversation(tiny):
    assert tiny.chat([user(WHEN)]).message.additional_kwargs == {}


def test_the_first_piece_comes_before_the_last_is_computed(tiny, monkeypatch):
    from parametric_memory.backends.decoding import Decoding

    events, step = [], Decoding.step
    monkeypatch.setattr(Decoding, "step", lambda self: events.append("step") or step(self))
    events.extend("piece" for _ in tiny.stream_complete(WHEN))
    assert events.index("piece") < len(events) - 1 - events[::-1].index("step")


async def test_answers_do_not_hold_up_the_event_loop(tiny, monkeypatch):
    generate = type(tiny.backend).generate
    monkeypatch.setattr(
        type(tiny.backend), "generate", lambda *args, **kwargs: time.sleep(0.3) or generate(*args, **kwargs)
    )
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.05)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(tiny.acomplete(WHEN) for _ in range(2)))
    ticking.cancel()
    assert ticks > 2


def test_a_stream_that_is_closed_half_way_leaves_the_base_clean(tiny, backend):
    bare = ParametricMemoryLLM(backend=backend, max_tokens=6)
    before = bare.complete("hi").text
    weights = {name: tensor.clone() for name, tensor in backend.model.state_dict().items()}
    stream = tiny.stream_complete(WHEN)
    next(stream)
    assert bare.complete("hi").text == before  # between two pieces
    stream.close()
    assert bare.complete("hi").text == before
    assert all(torch.equal(tensor, weights[name]) for name, tensor in backend.model.state_dict().items())


async def test_an_async_stream_that_is_left_half_way_does_too(tiny, backend):
    bare = ParametricMemoryLLM(backend=backend, max_tokens=6)
    before = bare.complete("hi").text
    stream = await tiny.astream_chat([user(WHEN)])
    await anext(stream)
    await stream.aclose()
    assert (await bare.acomplete("hi")).text == before


# ---------------------------------------------------------------- which base, which memory, which words


def test_without_a_memory_it_is_the_bare_base_model(tiny, memory, backend):
    [made] = backend.generate([[{"role": "user", "content": "hi"}]], config=GenerationConfig(max_new_tokens=6))
    bare = ParametricMemoryLLM(backend=backend, max_tokens=6)
    assert bare.complete("hi").text == made.text.strip() and bare.complete("hi").raw["mode"] == "closed_book"
    with memory.disabled():
        assert tiny.complete("hi", max_tokens=6).text == made.text.strip()
    assert tiny.complete("hi", mode="closed_book", max_tokens=6).text == made.text.strip()


def test_a_memory_that_holds_no_answer_lets_the_base_answer_or_says_so(abstaining_memory, backend):
    memory = abstaining_memory
    memory.add(ADA)
    question = "How many moons has Jupiter?"
    fallen_back = ParametricMemoryLLM(memory, max_tokens=5).complete(question)
    assert fallen_back.text == ParametricMemoryLLM(backend=backend, max_tokens=5).complete(question).text
    assert fallen_back.raw["abstained"] and fallen_back.raw["citations"] == []
    unknown = ParametricMemoryLLM(memory, fallback="unknown").complete(question)
    assert unknown.text == "I don't know." and unknown.raw["usage"]["total_tokens"] == 0


def test_a_call_s_settings_go_before_the_model_s(tiny):
    assert tiny.complete(WHEN, max_tokens=3).raw["usage"]["completion_tokens"] <= 3
    text = tiny.complete(WHEN).text
    assert tiny.complete(WHEN, stop=[text[3]]).text == text[: text.index(text[3])].strip()
    drawn = {tiny.complete(WHEN, temperature=1.5, seed=seed).text for seed in range(4)}
    assert len(drawn) > 1
    assert tiny.complete(WHEN, temperature=1.5, seed=1).text == tiny.complete(WHEN, temperature=1.5, seed=1).text


def test_what_the_caller_says_stays_in_the_prompt(tiny, prompts):
    talk = [
        ChatMessage(role="system", content="Be kind."),
        user("Hello."),
        ChatMessage(role="assistant", content="Hi."),
    ]
    tiny.chat([*talk, user(WHEN)])
    assert [turn["content"] for turn in prompts[0]] == ["Be kind.", "Hello.", "Hi.", WHEN, "Answer:"]
    tiny.model_copy(update={"history": False}).chat([*talk[1:], user(WHEN)])
    assert [turn["content"] for turn in prompts[1]] == ["Answer briefly.", WHEN, "Answer:"]


def test_a_follow_up_is_routed_with_the_turn_before_it(tiny):
    talk = [user(WHO), ChatMessage(role="assistant", content="Bob"), user("Where does he live?")]
    assert cited(tiny.chat(talk))[0] == BOB


def test_images_are_refused_not_dropped(tiny):
    picture = ChatMessage(role="user", blocks=[TextBlock(text="What is it?"), ImageBlock(image=b"\x89PNG")])
    with pytest.raises(ValueError, match="reads only text"):
        tiny.chat([picture])


TEMPLATES = {
    "qa": (DEFAULT_TEXT_QA_PROMPT, {"context_str": "The mill grinds.\n\nQuery: none"}),
    "chat qa": (CHAT_TEXT_QA_PROMPT, {"context_str": "The mill grinds."}),
    "tree": (CHAT_TREE_SUMMARIZE_PROMPT, {"context_str": "The mill grinds."}),
    "refine": (DEFAULT_REFINE_PROMPT, {"context_msg": "The mill grinds.", "existing_answer": "2019"}),
    "chat refine": (CHAT_REFINE_PROMPT, {"context_msg": "The mill grinds.", "existing_answer": "2019"}),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_query_of_a_template_is_routed_and_its_text_is_read(name, tiny, prompts, told):
    template, more = TEMPLATES[name]
    tiny.predict(template, query_str=WHEN, **more)
    [route] = [event for event in told if event.class_name() == "MemoryRouteEvent"]
    assert route.question == WHEN
    assert "The mill grinds." in prompts[0][-2]["content"] and WHEN in prompts[0][-2]["content"]


def test_a_task_with_its_material_is_no_question_for_the_memory(tiny):
    assert tiny.predict(DEFAULT_SUMMARY_PROMPT, context_str=ADA)
    assert tiny.complete(f"Summarise this.\n\n{ADA}").raw["mode"] == "closed_book"


def test_a_question_behind_text_of_one_s_own_template_is_found(tiny, prompts):
    response = tiny.complete(f"Context: the mill grinds.\n\nQuestion: {WHO}")
    assert cited(response)[0] == BOB and "the mill grinds" in prompts[0][-2]["content"]


def test_another_rule_for_the_question_takes_its_place(memory):
    memory.add([ADA, BOB])
    response = ParametricMemoryLLM(memory, question=lambda messages: WHO).complete("?")
    assert cited(response)[0] == BOB


# ---------------------------------------------------------------- instrumentation


def test_events_tell_route_compose_and_generate_once_inside_the_call(tiny, told):
    tiny.chat([user(WHEN)])
    names = [event.class_name() for event in told]
    ours = ["MemoryRouteEvent", "MemoryComposeEvent", "MemoryGenerateEvent"]
    assert names == ["LLMChatStartEvent", *ours, "LLMChatEndEvent"]
    route, compose, generate = told[1:4]
    assert route.atoms[0]["statement"] == ADA and set(route.timings_ms) == {"encode", "search", "route", "gate"}
    assert route.atoms[0]["id"] in compose.atom_ids and compose.rank > 0
    assert generate.completion_tokens > 0 and generate.milliseconds > 0 and generate.knowledge_tokens == 0
    assert len({event.span_id for event in told}) == 1
    json.dumps([event.model_dump(mode="json") for event in told[1:4]])


async def test_async_calls_and_streams_tell_each_event_once_too(tiny, told):
    await tiny.achat([user(WHEN)])
    [_ async for _ in await tiny.astream_complete(WHEN)]
    names = [event.class_name() for event in told]
    assert names.count("MemoryRouteEvent") == names.count("MemoryGenerateEvent") == 2
    assert names.count("LLMChatStartEvent") == names.count("LLMChatEndEvent") == 1
    assert names.count("LLMCompletionStartEvent") == names.count("LLMCompletionEndEvent") == 1


# ---------------------------------------------------------------- tools and agents


class Pet(BaseModel):
    """A pet."""

    name: str
    age: int
    tame: bool


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


CALL = '<tool_call>{"name": "add", "arguments": {"a": 20, "b": 22}}</tool_call>'


def test_a_structured_answer_is_filled_slot_by_slot_if_need_be(spoken):
    llm = ParametricMemoryLLM(backend=spoken("no json at all", 'Rex" or so', "about 3 years"))
    pet = llm.structured_predict(Pet, PromptTemplate("Tell me of a pet called {name}."), name="Rex")
    assert pet == Pet(name='Rex" or so', age=3, tame=True)


async def test_calls_are_read_out_of_the_text_and_may_be_one_at_a_time(spoken):
    tool = FunctionTool.from_defaults(add)
    llm = ParametricMemoryLLM(backend=spoken(CALL * 2, CALL * 2, CALL))
    both = llm.chat_with_tools([tool], user_msg="20 + 22?", allow_parallel_tool_calls=True)
    assert [call.tool_kwargs for call in llm.get_tool_calls_from_response(both)] == [{"a": 20, "b": 22}] * 2
    one = await llm.achat_with_tools([tool], user_msg="20 + 22?")
    [call] = llm.get_tool_calls_from_response(one)
    assert (call.tool_name, one.raw["finish_reason"]) == ("add", "tool_calls")
    [last] = [piece async for piece in await llm.astream_chat_with_tools([tool], user_msg="20 + 22?")]
    assert llm.get_tool_calls_from_response(last)[0].tool_name == "add"


def test_what_was_meant_as_a_call_and_is_none_is_told(spoken):
    llm = ParametricMemoryLLM(backend=spoken('<tool_call>{"name": "sub", "arguments": {}}</tool_call>'))
    response = llm.chat_with_tools([FunctionTool.from_defaults(add)], user_msg="1 - 1?")
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="no tool 'sub'"):
        llm.get_tool_calls_from_response(response)


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent_calls_its_tools_and_reads_what_they_say(spoken, streaming):
    llm = ParametricMemoryLLM(backend=spoken(CALL, "It is 42."))
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(add)], llm=llm, streaming=streaming)
    output = await agent.run("What is 20 + 22?")
    assert str(output) == "It is 42." and [call.tool_output.raw_output for call in output.tool_calls] == [42]
    read = llm.backend.prompts[-1]
    assert [turn["content"] for turn in read[-2:]] == [CALL, "<tool_response>42</tool_response>"]
    assert '"name": "add"' in read[0]["content"]


async def test_a_react_agent_calls_its_tools_and_reads_what_they_say(spoken):
    action = 'Thought: I add.\nAction: add\nAction Input: {"a": 20, "b": 22}'
    llm = ParametricMemoryLLM(backend=spoken(action, "Thought: I can answer.\nAnswer: It is 42."))
    output = await ReActAgent(tools=[FunctionTool.from_defaults(add)], llm=llm, streaming=False).run("20 + 22?")
    assert str(output) == "It is 42."
    assert llm.backend.prompts[-1][-1]["content"].startswith("Observation: 42")


@pytest.mark.parametrize("agent", [FunctionAgent, ReActAgent])
async def test_agents_end_on_any_base_model_in_the_words_of_the_memory(agent, tiny):
    output = await agent(tools=[FunctionTool.from_defaults(add)], llm=tiny).run(WHEN)
    assert str(output).strip()


async def test_a_workflow_of_agents_runs_on_it(tiny):
    workflow = AgentWorkflow.from_tools_or_functions([add], llm=tiny)
    assert str(await workflow.run(user_msg=WHEN)).strip()


def test_it_is_the_llm_of_the_settings_and_of_chat_engines(tiny):
    Settings.llm = tiny
    chat = SimpleChatEngine.from_defaults()
    assert chat.chat(WHEN).response == tiny.complete(WHEN).text
    assert "".join(chat.stream_chat(WHO).response_gen).strip()


@pytest.mark.model
async def test_on_the_real_base_agents_answer_from_the_memory(real_memory):
    real_memory.reset()
    real_memory.add("The keeper of the north gate is Bastian Orme.")
    llm = ParametricMemoryLLM(real_memory)
    question = "Who is the keeper of the north gate?"
    for agent in (FunctionAgent, ReActAgent):
        output = await agent(tools=[FunctionTool.from_defaults(add)], llm=llm).run(question)
        assert str(output).strip(), agent
    assert "Bastian" in llm.complete(question).text


# ---------------------------------------------------------------- users


def test_a_user_s_model_sees_that_user_s_memory_alone(memory):
    memory.add("My locker is number 48.", user_id="anna")
    memory.add("My locker is number 12.", user_id="bert")
    question, everybody = "Which number is my locker?", ParametricMemoryLLM(memory)
    assert cited(ParametricMemoryLLM(memory, user_id="anna").complete(question)) == ["My locker is number 48."]
    assert cited(everybody.complete(question, user_id="bert")) == ["My locker is number 12."]
    with memory_scope(user_id="anna"):
        assert cited(everybody.complete(question)) == ["My locker is number 48."]
        with pytest.raises(ValueError, match="cannot leave the scope"):
            everybody.complete(question, user_id="bert")
