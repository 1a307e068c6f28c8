"""An agent that remembers what each user says, and tells nobody else.

    python examples/langchain/agent_per_user.py

The conversation is in LangGraph's checkpointer, one thread each; the knowledge is in the memory, one user each.
"""

from dataclasses import dataclass

from langchain.agents import create_agent
from langchain_parametric_memory import ChatParametricMemory, ParametricMemoryMiddleware
from langgraph.checkpoint.memory import InMemorySaver

from parametric_memory import ParametricMemory


@dataclass
class Run:
    """Whose run it is: the application fills it in from who is signed in."""

    user_id: str


with ParametricMemory.from_pretrained(path="./memory") as memory:
    agent = create_agent(
        ChatParametricMemory(memory=memory),
        # tools=False: the small built-in base model chooses tools badly.
        middleware=[ParametricMemoryMiddleware(memory, remember=True, tools=False)],
        context_schema=Run,
        checkpointer=InMemorySaver(),
    )

    def say(user: str, thread: str, text: str) -> str:
        """Say something to the agent as a user, in one of their conversations."""
        state = agent.invoke(
            {"messages": [{"role": "user", "content": text}]},
            {"configurable": {"thread_id": f"{user}/{thread}"}},
            context=Run(user),
        )
        return state["messages"][-1].text

    say("anna", "monday", "My locker in Hall 4B has the number 48.")
    say("bert", "monday", "My locker in Hall 4B has the number 12.")
    for user in ("anna", "bert", "cleo"):
        print(f"{user}: {say(user, 'tuesday', 'What is the number of my locker in Hall 4B?')}")
