"""Tools with which an agent keeps a memory: remember, recall, forget, list.

Whose memory it is, is never an argument that a model could fill in: it is fixed when the tools are made, or is the
scope that they are called in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool, StructuredTool, ToolException

from parametric_memory.conversation import current_scope, narrowed, owner_of, scope_keys
from parametric_memory.errors import AtomNotFoundError, ParametricMemoryError

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory


def create_memory_tools(
    memory: ParametricMemory, *, user_id: str | None = None, agent_id: str | None = None, read_only: bool = False
) -> list[BaseTool]:
    """Return tools that an agent can keep a memory with: remember, recall, forget, list.

    Args:
        memory: Where knowledge is kept.
        user_id: Whose memory it is. Without it, it is that of the `memory_scope` around a call, such as the one that
            `ParametricMemoryMiddleware` opens for the user of a run.
        agent_id: Which agent's.
        read_only: Leave out remember and forget.
    """
    desk = _Desk(memory, scope_keys(user_id=user_id, agent_id=agent_id))
    verbs: list[Callable[..., str]] = [desk.recall_memory, desk.list_memories]
    if not read_only:
        verbs += [desk.remember, desk.forget_memory]
    return [StructuredTool.from_function(verb, parse_docstring=True, handle_tool_error=True) for verb in verbs]


class _Desk:
    """The verbs, on one memory. A method's docstring is what a model reads of it."""

    def __init__(self, memory: ParametricMemory, keys: dict[str, str]) -> None:
        self._memory, self._keys = memory, keys

    def remember(self, text: str) -> str:
        """Keep something in long-term memory.

        Args:
            text: What to remember, in whole sentences that can be understood without the conversation.
        """
        try:
            report = self._memory.add(text, metadata=owner_of(self._scope()))
        except ParametricMemoryError as error:
            raise ToolException(str(error)) from error
        if problems := [one["error"] for one in report["errors"]]:
            raise ToolException(f"Not remembered: {'; '.join(problems)}. Say it in a whole sentence.")
        return "\n".join(f"{_KEPT[one['event']]} [{one['id']}] {one['memory']}" for one in report["results"])

    def recall_memory(self, question: str, limit: int = 5) -> str:
        """Look something up in long-term memory.

        Args:
            question: What to look for, in plain words.
            limit: Most memories to return.
        """
        return _listed(self._memory.search(question, top_k=limit, filters=self._scope())["results"])

    def forget_memory(self, memory_id: str) -> str:
        """Remove a memory for good.

        Args:
            memory_id: Its id, as recall_memory and list_memories show it.
        """
        from parametric_memory.store.filters import matches

        try:
            # Another user's id is as unknown as one that never was.
            if matches(self._memory.get(memory_id)["metadata"], self._scope()):
                return f"Forgotten: {self._memory.delete(memory_id)['memory']}"
        except AtomNotFoundError:
            pass
        raise ToolException(f"There is no memory {memory_id}; see list_memories.")

    def list_memories(self, limit: int = 20) -> str:
        """Show what is in long-term memory.

        Args:
            limit: Most memories to show.
        """
        return _listed(self._memory.get_all(filters=self._scope(), limit=limit)["results"])

    def _scope(self) -> dict[str, Any]:
        return narrowed(self._keys, current_scope())


_KEPT = {"ADD": "Remembered", "UPDATE": "Changed", "DELETE": "Dropped", "NONE": "Known already"}


def _listed(records: list[dict[str, Any]]) -> str:
    return "\n".join(f"[{record['id']}] {record['memory']}" for record in records) or "Nothing found."
