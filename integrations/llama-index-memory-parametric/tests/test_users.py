"""Eight threads, four users, 400 answers: sync, async and streams interleaved, and no foreign atom in any of them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from llama_index.memory.parametric import ParametricMemoryLLM, ParametricQueryEngine, memory_scope

USERS, THINGS = ("anna", "bert", "cleo", "dora"), ("locker", "desk", "bicycle")


def question(thing):
    return f"What is the number of my {thing}?"


@pytest.fixture(scope="module")
def shared(make_memory):
    memory = make_memory()
    for number, user in enumerate(USERS):
        for thing in THINGS:
            memory.add(f"The number of my {thing} is {number}{len(thing)}.", user_id=user)
    return ParametricMemoryLLM(memory, max_tokens=4)


def outcome(llm, text, raw):
    return text, {llm.memory.get(atom["id"])["metadata"]["user_id"] for atom in raw["atoms"]}


def complete(llm, user, thing):
    response = llm.complete(question(thing), user_id=user)
    return outcome(llm, response.text, response.raw)


def streamed(llm, user, thing):
    with memory_scope(user_id=user):
        *_, last = llm.stream_complete(question(thing))
    return outcome(llm, last.text, last.raw)


def left_half_way(llm, user, thing):
    stream = llm.stream_complete(question(thing), user_id=user)
    next(stream)
    stream.close()
    return complete(llm, user, thing)


def in_a_loop(llm, user, thing):
    async def ask():
        *_, last = [piece async for piece in await llm.astream_complete(question(thing), user_id=user)]
        return outcome(llm, last.text, last.raw)

    return asyncio.run(ask())


def queried(llm, user, thing):
    response = ParametricQueryEngine(llm.memory, user_id=user, settings={"max_new_tokens": 4}).query(question(thing))
    return outcome(llm, str(response), response.metadata)


@pytest.fixture(scope="module")
def expected(shared):
    return {(user, thing): complete(shared, user, thing) for user in USERS for thing in THINGS}


def test_400_answers_in_8_threads_hold_no_foreign_atom(shared, expected):
    ways = (complete, streamed, left_half_way, in_a_loop, queried)
    weights = {name: tensor.clone() for name, tensor in shared.backend.model.state_dict().items()}
    calls = [(ways[n % 5], USERS[n % 4], THINGS[n % 3]) for n in range(400)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda call: call[0](shared, *call[1:]), calls))
    assert answers == [expected[call[1:]] for call in calls]
    assert all(owners == {user} for (_, user, _), (_, owners) in zip(calls, answers, strict=True))
    assert all(torch.equal(tensor, weights[name]) for name, tensor in shared.backend.model.state_dict().items())


async def test_streams_of_one_loop_do_not_meet(shared, expected):
    async def read(user, thing):
        *_, last = [piece async for piece in await shared.astream_complete(question(thing), user_id=user)]
        return outcome(shared, last.text, last.raw)

    async def ask(user, thing):
        response = await shared.acomplete(question(thing), user_id=user)
        return outcome(shared, response.text, response.raw)

    calls = [(way, user, thing) for user in USERS for thing in THINGS for way in (read, ask)]
    answers = await asyncio.gather(*(way(user, thing) for way, user, thing in calls))
    assert answers == [expected[user, thing] for _, user, thing in calls]
