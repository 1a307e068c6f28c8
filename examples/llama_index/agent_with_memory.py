"""An agent that remembers what each user says, and tells nobody else.

    python examples/llama_index/agent_with_memory.py

The conversation is in LlamaIndex's Memory, a session each; the knowledge is in the adapters of a memory block, a user
each. What overflows a session is compiled by itself; at the end of a session, `aflush` compiles the rest.
"""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.memory import Memory
from llama_index.memory.parametric import ParametricMemoryBlock, ParametricMemoryLLM

from parametric_memory import ParametricMemory


async def say(memory: ParametricMemory, user: str, session: str, text: str) -> str:
    """Say something to the agent as a user, in a session of one turn."""
    block = ParametricMemoryBlock(memory, user_id=user)
    talk = Memory.from_defaults(session_id=f"{user}/{session}", memory_blocks=[block])
    # No tools: the small built-in base model chooses tools badly.
    agent = FunctionAgent(tools=[], llm=ParametricMemoryLLM(memory, user_id=user, fallback="unknown"))
    answer = await agent.run(text, memory=talk)
    await block.aflush(talk)
    return str(answer)


async def main() -> None:
    """Tell the agent two things on Monday, and ask on Tuesday."""
    with ParametricMemory.from_pretrained(path="./memory") as memory:
        await say(memory, "anna", "monday", "My locker in Hall 4B has the number 48.")
        await say(memory, "bert", "monday", "My locker in Hall 4B has the number 12.")
        for user in ("anna", "bert", "cleo"):
            answer = await say(memory, user, "tuesday", "What is the number of my locker in Hall 4B?")
            print(f"{user}: {answer}")


asyncio.run(main())
