"""`ParametricMemoryMiddleware`: a memory for agents of `langchain.agents.create_agent`, each user's their own.

Every call of the model and of a tool runs in the memory scope of the run's user. A run that does not say whose it is
fails before anything is looked up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables.config import run_in_executor, var_child_runnable_config

from langchain_parametric_memory.conversation import text_of
from langchain_parametric_memory.question import standalone_question
from langchain_parametric_memory.tools import create_memory_tools
from parametric_memory.conversation import current_scope, memory_scope, owner_of

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory

#: What to remember of a run, from all its messages; each in whole sentences.
WhatToRemember: TypeAlias = Callable[[Sequence[BaseMessage]], Sequence[str]]
#: Whose a run is, from LangGraph's runtime.
WhoseRun: TypeAlias = Callable[[Any], str | None]


class ParametricMemoryMiddleware(AgentMiddleware):  # its type arguments differ between versions
    """Gives an agent a memory: scoped to the run's user, and with `remember` growing with what the user says.

    Args:
        memory: Where knowledge is kept.
        user_id: Says whose run it is, given LangGraph's runtime. By default the ``user_id`` of the run's context, or of
            ``config["configurable"]``.
        agent_id: Which agent's memory it is, beside the user's.
        tools: Whether the agent gets `create_memory_tools`.
        remember: What to remember after each turn: True for `statements_of_the_user`, or a function of your own. False:
            nothing is remembered but by the tools.
        passages: Sentences of the route that are put into the system message, for models that cannot take adapters.
            A `ChatParametricMemory` needs none.
    """

    def __init__(
        self,
        memory: ParametricMemory,
        *,
        user_id: WhoseRun | None = None,
        agent_id: str | None = None,
        tools: bool = True,
        remember: bool | WhatToRemember = False,
        passages: int = 0,
    ) -> None:
        super().__init__()
        self.memory = memory
        self.tools = create_memory_tools(memory) if tools else []
        self._user_id = user_id or user_of_run
        self._agent_id = agent_id
        self._what: WhatToRemember | None = statements_of_the_user if remember is True else remember or None
        self._passages = passages

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model in the user's scope."""
        with self._scope(request.runtime):
            return handler(self._informed(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the model in the user's scope."""
        with self._scope(request.runtime):
            return await handler(await run_in_executor(None, self._informed, request))

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Call a tool in the user's scope."""
        with self._scope(request.runtime):
            return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Call a tool in the user's scope."""
        with self._scope(request.runtime):
            return await handler(request)

    def after_agent(self, state: Mapping[str, Any], runtime: Any) -> None:
        """Remember what there is to remember of this turn."""
        if self._what is None:
            return
        with self._scope(runtime):
            for text in self._what(state["messages"]):
                self.memory.add(text, metadata=owner_of(current_scope()))

    async def aafter_agent(self, state: Mapping[str, Any], runtime: Any) -> None:
        """Remember what there is to remember of this turn, without holding up the event loop."""
        await run_in_executor(None, self.after_agent, state, runtime)

    @contextmanager
    def _scope(self, runtime: Any) -> Iterator[None]:
        user = self._user_id(runtime)
        if not user:
            raise ValueError(
                "running an agent with a ParametricMemoryMiddleware: the run does not say whose it is; pass "
                'context=… with a user_id, or config={"configurable": {"user_id": …}}'
            )
        with memory_scope(user_id=user, agent_id=self._agent_id):
            yield

    def _informed(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Return the request with sentences of the route in its system message, if that is wanted."""
        resolve = self.memory.resolve
        question = standalone_question(request.messages, resolve=resolve) if self._passages else ""
        if not question.strip():
            return request
        route = self.memory.explain(question, filters=current_scope())
        found = [routed.atom.statement for routed in route.selected[: self._passages]]
        if not found:
            return request
        told = "What is known about this:\n" + "\n".join(f"- {statement}" for statement in found)
        before = request.system_message.text if request.system_message else ""
        return request.override(system_message=SystemMessage("\n\n".join(part for part in [before, told] if part)))


def user_of_run(runtime: Any) -> str | None:
    """Return the ``user_id`` of a run: of its context (an object or a mapping), else of its configuration."""
    context = getattr(runtime, "context", None)
    user = context.get("user_id") if isinstance(context, Mapping) else getattr(context, "user_id", None)
    if user is None:
        config = getattr(runtime, "config", None) or var_child_runnable_config.get() or {}
        user = config.get("configurable", {}).get("user_id")
    return None if user is None else str(user)


def statements_of_the_user(messages: Sequence[BaseMessage]) -> list[str]:
    """Return the last human turn, unless it asks something: questions are not knowledge."""
    said = [text_of(message).strip() for message in messages if isinstance(message, HumanMessage)]
    return [said[-1]] if said and said[-1] and not said[-1].endswith("?") else []
