import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_parametric_memory import ChatParametricMemory, ParametricMemoryMiddleware

USERS = ("anna", "bert", "cleo", "dora")
ASK = {"messages": [{"role": "user", "content": "Which number is my locker?"}]}


@dataclass
class Run:
    user_id: str | None = None


class Scripted(GenericFakeChatModel):
    """Says what it is told to; keeps the prompts."""

    prompts: list

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, *args, **kwargs):
        self.prompts.append(messages)
        return super()._generate(messages, *args, **kwargs)


def scripted(*messages):
    return Scripted(messages=iter(messages), prompts=[])


def call(name, **arguments):
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": "1", "type": "tool_call"}])


@pytest.fixture
def lockers(memory):
    for number, user in enumerate(USERS):
        memory.add(f"My locker is number {number}{number}.", user_id=user)
    return memory


def cited(state):
    return [one["text"] for one in state["messages"][-1].response_metadata["citations"]]


def test_an_agent_answers_from_the_memory_of_the_run_s_user(lockers):
    agent = create_agent(
        ChatParametricMemory(memory=lockers), middleware=[ParametricMemoryMiddleware(lockers)], context_schema=Run
    )
    assert cited(agent.invoke(ASK, context=Run("anna"))) == ["My locker is number 00."]
    assert cited(agent.invoke(ASK, context=Run("bert"))) == ["My locker is number 11."]


def test_users_do_not_meet_in_threads_or_tasks(lockers):
    middleware = ParametricMemoryMiddleware(lockers, tools=False)
    agent = create_agent(
        ChatParametricMemory(memory=lockers, max_tokens=2), middleware=[middleware], context_schema=Run
    )
    runs = [USERS[n % 4] for n in range(40)]
    wanted = [[f"My locker is number {n % 4}{n % 4}."] for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert [cited(s) for s in pool.map(lambda user: agent.invoke(ASK, context=Run(user)), runs)] == wanted

    async def together():
        return await asyncio.gather(*(agent.ainvoke(ASK, context=Run(user)) for user in runs))

    assert [cited(state) for state in asyncio.run(together())] == wanted


@pytest.mark.parametrize("context", [None, Run(None)])
def test_a_run_of_nobody_fails_before_anything_is_looked_up(lockers, monkeypatch, context):
    monkeypatch.setattr(type(lockers), "prepare", lambda *_, **__: pytest.fail("looked up"))
    agent = create_agent(
        ChatParametricMemory(memory=lockers), middleware=[ParametricMemoryMiddleware(lockers)], context_schema=Run
    )
    with pytest.raises(ValueError, match="does not say whose it is"):
        agent.invoke(ASK, context=context)


def test_the_user_may_also_stand_in_the_configuration(lockers):
    agent = create_agent(ChatParametricMemory(memory=lockers), middleware=[ParametricMemoryMiddleware(lockers)])
    assert cited(agent.invoke(ASK, {"configurable": {"user_id": "cleo"}})) == ["My locker is number 22."]


def test_tools_work_on_the_memory_of_the_run_s_user(lockers):
    model = scripted(call("list_memories"), AIMessage("Done."))
    agent = create_agent(model, middleware=[ParametricMemoryMiddleware(lockers)], context_schema=Run)
    tool_message = agent.invoke(ASK, context=Run("dora"))["messages"][-2]
    assert tool_message.text.endswith("My locker is number 33.") and "\n" not in tool_message.text


async def test_tools_work_on_the_memory_of_the_run_s_user_in_coroutines(lockers):
    model = scripted(call("remember", text="My desk is in room 7."), AIMessage("Done."))
    agent = create_agent(model, middleware=[ParametricMemoryMiddleware(lockers)], context_schema=Run)
    await agent.ainvoke(ASK, context=Run("dora"))
    assert [one["memory"] for one in lockers.get_all(user_id="dora")["results"]][-1] == "My desk is in room 7."
    assert len(lockers.get_all()["results"]) == 5


def test_what_the_user_says_is_remembered_if_that_is_wanted(memory):
    def run(middleware, text):
        agent = create_agent(scripted(AIMessage("I see.")), middleware=[middleware], context_schema=Run)
        agent.invoke({"messages": [{"role": "user", "content": text}]}, context=Run("anna"))
        return [one["memory"] for one in memory.get_all(user_id="anna")["results"]]

    assert run(ParametricMemoryMiddleware(memory), "My cat is called Miso.") == []
    remembering = ParametricMemoryMiddleware(memory, remember=True)
    assert run(remembering, "What is my cat called?") == []
    assert run(remembering, "My cat is called Miso.") == ["My cat is called Miso."]
    extracting = ParametricMemoryMiddleware(memory, remember=lambda messages: [f"The talk had {len(messages)} turns."])
    assert run(extracting, "Hi.")[-1] == "The talk had 2 turns."
    assert memory.get_all(user_id="bert")["results"] == []


async def test_it_is_remembered_in_coroutines_too(memory):
    middleware = ParametricMemoryMiddleware(memory, remember=True)
    agent = create_agent(scripted(AIMessage("I see.")), middleware=[middleware], context_schema=Run)
    await agent.ainvoke({"messages": [{"role": "user", "content": "My cat is called Miso."}]}, context=Run("anna"))
    assert [one["memory"] for one in memory.get_all(user_id="anna")["results"]] == ["My cat is called Miso."]


async def test_a_streaming_agent_stays_in_the_scope_of_its_user(lockers):
    agent = create_agent(
        ChatParametricMemory(memory=lockers),
        middleware=[ParametricMemoryMiddleware(lockers, tools=False)],
        context_schema=Run,
    )

    def seen(pieces):
        return [one["text"] for piece in pieces for one in piece.response_metadata.get("citations", ())]

    streamed = [piece for piece, _ in agent.stream(ASK, context=Run("anna"), stream_mode="messages")]
    assert len(streamed) > 2 and set(seen(streamed)) == {"My locker is number 00."}
    streamed = [piece async for piece, _ in agent.astream(ASK, context=Run("bert"), stream_mode="messages")]
    assert len(streamed) > 2 and set(seen(streamed)) == {"My locker is number 11."}


def test_what_two_users_say_in_the_same_words_belongs_to_both(memory):
    middleware = ParametricMemoryMiddleware(memory, remember=True)
    talk = {"messages": [{"role": "user", "content": "My locker is number 48."}]}
    for user in ("anna", "bert"):
        agent = create_agent(scripted(AIMessage("I see.")), middleware=[middleware], context_schema=Run)
        agent.invoke(talk, context=Run(user))
    memory.delete_all(user_id="anna")
    assert [one["memory"] for one in memory.get_all(user_id="bert")["results"]] == ["My locker is number 48."]


def test_a_model_that_takes_no_adapters_is_told_the_route_in_words(lockers):
    model = scripted(AIMessage("It is 11."))
    middleware = ParametricMemoryMiddleware(lockers, passages=2)
    agent = create_agent(model, middleware=[middleware], context_schema=Run, system_prompt="Be brief.")
    agent.invoke(ASK, context=Run("bert"))
    assert model.prompts[0][0].text == "Be brief.\n\nWhat is known about this:\n- My locker is number 11."


def test_talk_is_in_the_checkpointer_and_knowledge_in_the_memory(memory):
    middleware = ParametricMemoryMiddleware(memory, remember=True, tools=False)
    agent = create_agent(
        ChatParametricMemory(memory=memory),
        middleware=[middleware],
        context_schema=Run,
        checkpointer=InMemorySaver(),
    )

    def say(text, thread):
        config = {"configurable": {"thread_id": thread}}
        return agent.invoke({"messages": [{"role": "user", "content": text}]}, config, context=Run("anna"))

    say("My locker is number 48.", "monday")
    monday = say("What did I just say?", "monday")
    assert [message.type for message in monday["messages"]] == ["human", "ai", "human", "ai"]
    # Another conversation knows nothing of the talk, and what was said in it all the same.
    tuesday = say("Which number is my locker?", "tuesday")
    assert len(tuesday["messages"]) == 2 and cited(tuesday) == ["My locker is number 48."]
    memory.delete_all(user_id="anna")
    assert cited(say("Which number is my locker?", "wednesday")) == []
