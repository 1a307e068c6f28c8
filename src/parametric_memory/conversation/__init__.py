"""What a chat model of any framework needs of a memory: whose it is, what is asked, calls of tools, one call's work.

Importing this room loads no tensor library. The integrations in ``integrations/`` are thin layers over it.
"""

from parametric_memory.conversation.follow_up import Resolve, standalone_question
from parametric_memory.conversation.question import last_question
from parametric_memory.conversation.scope import current_scope, memory_scope, narrowed, owner_of, scope_keys
from parametric_memory.conversation.talk import Talk
from parametric_memory.conversation.task import Reply, Task, count, run, run_all, stream
from parametric_memory.conversation.tool_calls import (
    InvalidCall,
    Toolbox,
    ToolCall,
    ToolReply,
    written_call,
    written_result,
)
from parametric_memory.conversation.turns import joined

__all__ = [
    "InvalidCall",
    "Reply",
    "Resolve",
    "Talk",
    "Task",
    "ToolCall",
    "ToolReply",
    "Toolbox",
    "count",
    "current_scope",
    "joined",
    "last_question",
    "memory_scope",
    "narrowed",
    "owner_of",
    "run",
    "run_all",
    "scope_keys",
    "standalone_question",
    "stream",
    "written_call",
    "written_result",
]
