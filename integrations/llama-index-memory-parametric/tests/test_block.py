"""What LlamaIndex's own repository tests of memory blocks: get, put, flush, truncation, several blocks, sessions."""

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.memory import BaseMemoryBlock, Memory, StaticMemoryBlock

from llama_index.memory.parametric import ParametricMemoryBlock, ParametricMemoryLLM, memory_scope

LOCKER, WHICH = "My locker in Hall 4B has the number 48.", "What is the number of my locker in Hall 4B?"


def said(role, text):
    return ChatMessage(role=role, content=text)


def turns(count):
    for number in range(count):
        yield said("user", f"My bicycle number {number} stands in the yard.")
        yield said("assistant", "I see.")


def known(memory, user):
    return [one["memory"] for one in memory.get_all(user_id=user)["results"]]


@pytest.fixture
def block(either_memory):
    return ParametricMemoryBlock(either_memory, user_id="anna")


def test_the_class_is_a_memory_block():
    assert BaseMemoryBlock.__name__ in [base.__name__ for base in ParametricMemoryBlock.__mro__]


async def test_what_a_user_says_is_compiled_and_nothing_is_put_into_the_prompt(block, either_memory):
    await block.aput([said("user", LOCKER), said("assistant", "Noted."), said("user", WHICH)])
    assert known(either_memory, "anna") == [LOCKER]
    assert await block.aget([said("user", WHICH)], session_id="s") == ""
    answer = ParametricMemoryLLM(either_memory, user_id="anna").complete(WHICH)
    assert [one["text"] for one in answer.raw["citations"]] == [LOCKER]


async def test_with_inject_the_sentences_that_fit_are_returned_too(either_memory):
    block = ParametricMemoryBlock(either_memory, user_id="anna", inject=True)
    await block.aput([said("user", LOCKER)])
    assert await block.aget([said("user", WHICH)]) == LOCKER
    assert await block.aget([]) == await block.aget() == ""


async def test_messages_from_the_short_term_memory_can_be_refused(memory):
    block = ParametricMemoryBlock(memory, user_id="anna", accept_short_term_memory=False)
    await block.aput([said("user", LOCKER)], from_short_term_memory=True)
    assert known(memory, "anna") == []
    await block.aput([said("user", LOCKER)])
    assert known(memory, "anna") == [LOCKER]


async def test_truncating_drops_sentences_from_the_end(memory):
    block = ParametricMemoryBlock(memory)
    assert await block.atruncate("one\ntwo\nthree", 5) == "one\ntwo"
    assert await block.atruncate("one\ntwo\nthree", 20) == "one"
    assert await block.atruncate("one", 5) is None and await block.atruncate("", 5) is None


async def test_a_conversation_that_overflows_flushes_into_adapters(block, either_memory):
    memory = Memory.from_defaults(session_id="s", token_limit=100, token_flush_size=20, memory_blocks=[block])
    await memory.aput(said("user", LOCKER))
    assert known(either_memory, "anna") == []
    await memory.aput_messages(list(turns(6)))
    assert LOCKER in known(either_memory, "anna")
    left = [message.content for message in await memory.aget(input=WHICH)]
    assert LOCKER not in left and all("<memory>" not in text for text in left)
    answer = ParametricMemoryLLM(either_memory, user_id="anna").complete(WHICH)
    assert LOCKER in [one["text"] for one in answer.raw["citations"]]


async def test_a_block_that_injects_stands_in_the_system_message_beside_others(memory):
    block = ParametricMemoryBlock(memory, user_id="anna", inject=True, priority=1)
    static = StaticMemoryBlock(name="static", static_content=[TextBlock(text="Be kind.")])
    conversation = Memory.from_defaults(session_id="s", memory_blocks=[static, block])
    await block.aput([said("user", LOCKER)])
    await conversation.aput(said("user", WHICH))
    system = (await conversation.aget())[0]
    assert system.role == "system" and LOCKER in system.content and "Be kind." in system.content


async def test_an_injecting_block_is_cut_when_there_is_no_room_for_it(memory):
    block = ParametricMemoryBlock(memory, user_id="anna", inject=True, priority=1)
    await block.aput([said("user", LOCKER)])
    conversation = Memory.from_defaults(session_id="s", token_limit=14, memory_blocks=[block])
    await conversation.aput(said("user", WHICH))
    assert [message.role for message in await conversation.aget()] == ["user"]


async def test_a_conversation_can_be_remembered_at_its_end_and_again(block, either_memory):
    conversation = Memory.from_defaults(session_id="s", memory_blocks=[block])
    await conversation.aput(said("user", LOCKER))
    await block.aflush(conversation)
    assert known(either_memory, "anna") == [LOCKER]
    version = either_memory.store.version
    await block.aflush(conversation)
    assert either_memory.store.version == version


def test_it_can_be_remembered_without_a_loop(memory):
    block = ParametricMemoryBlock(memory, user_id="anna")
    conversation = Memory.from_defaults(session_id="s", memory_blocks=[block])
    conversation.put(said("user", LOCKER))
    block.flush(conversation)
    assert known(memory, "anna") == [LOCKER]


async def test_what_one_user_said_is_known_in_all_their_sessions_and_to_nobody_else(memory):
    anna, bert = (ParametricMemoryBlock(memory, user_id=user) for user in ("anna", "bert"))
    for block, number in ((anna, 48), (bert, 12)):
        conversation = Memory.from_defaults(session_id="same", memory_blocks=[block])
        await conversation.aput(said("user", LOCKER.replace("48", str(number))))
        await block.aflush(conversation)
    assert known(memory, "anna") == [LOCKER] and known(memory, "bert") == [LOCKER.replace("48", "12")]


async def test_without_a_user_it_is_the_scope_s(memory):
    block = ParametricMemoryBlock(memory)
    with memory_scope(user_id="anna"):
        await block.aput([said("user", LOCKER)])
    assert known(memory, "anna") == [LOCKER]
    with memory_scope(user_id="bert"), pytest.raises(ValueError, match="cannot leave the scope"):
        await ParametricMemoryBlock(memory, user_id="anna").aput([said("user", LOCKER)])


async def test_what_is_remembered_is_the_user_s_to_say(memory):
    block = ParametricMemoryBlock(memory, user_id="anna", remember=lambda messages: ["Anna keeps bees on the roof."])
    await block.aput([said("user", "hm")])
    assert known(memory, "anna") == ["Anna keeps bees on the roof."]
    picture = ChatMessage(role="user", blocks=[TextBlock(text=LOCKER), ImageBlock(image=b"\x89PNG")])
    await ParametricMemoryBlock(memory, user_id="bert").aput([picture])
    assert known(memory, "bert") == [LOCKER]
    with pytest.raises(ValueError, match="no setting userid"):
        ParametricMemoryBlock(memory, userid="anna")


async def test_it_is_known_after_a_restart(make_memory, tmp_path):
    uri = f"sqlite+aiosqlite:///{tmp_path / 'talk.db'}"
    first = make_memory(path=tmp_path / "memory")
    conversation = Memory.from_defaults(
        session_id="s", memory_blocks=[ParametricMemoryBlock(first, user_id="anna")], async_database_uri=uri
    )
    await conversation.aput(said("user", LOCKER))
    first.close()  # before anything was flushed
    again = make_memory(path=tmp_path / "memory")
    block = ParametricMemoryBlock(again, user_id="anna")
    await block.aflush(Memory.from_defaults(session_id="s", memory_blocks=[block], async_database_uri=uri))
    assert known(again, "anna") == [LOCKER]


def test_chat_engines_and_agents_take_it(memory):
    block = ParametricMemoryBlock(memory, user_id="anna", priority=1)
    talk = Memory.from_defaults(session_id="s", token_limit=4000, token_flush_size=500, memory_blocks=[block])
    chat = SimpleChatEngine.from_defaults(llm=ParametricMemoryLLM(memory, user_id="anna"), memory=talk)
    assert chat.chat(LOCKER).response.strip() and chat.chat(WHICH).response.strip()
    assert [message.content for message in talk.get_all()][::2] == [LOCKER, WHICH]


async def test_agents_keep_their_conversation_in_it(memory):
    block = ParametricMemoryBlock(memory, user_id="anna")
    talk = Memory.from_defaults(session_id="s", memory_blocks=[block])
    agent = FunctionAgent(tools=[], llm=ParametricMemoryLLM(memory, user_id="anna"))
    await agent.run(LOCKER, memory=talk)
    await block.aflush(talk)
    assert known(memory, "anna") == [LOCKER]
