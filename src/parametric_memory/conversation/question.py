"""Which question a conversation ends in, in words that can be looked up alone."""

from __future__ import annotations

from parametric_memory.conversation.follow_up import Resolve, standalone_question
from parametric_memory.conversation.tool_calls import is_call
from parametric_memory.conversation.turns import last_asked
from parametric_memory.types import Conversation


def last_question(turns: Conversation, *, resolve: Resolve | None = None) -> str:
    """Return the last user turn with what it leans on put into it; empty if nobody has asked anything.

    Args:
        turns: Only what users and assistants said counts, not calls of tools. Answers that say nothing ("I don't
            know.") are best left out.
        resolve: Makes a question stand alone, given the turns before it; by default `standalone_question`.
    """
    last = last_asked(turns)
    if last is None:
        return ""
    history = [turn for turn in turns[:last] if turn["role"] in {"user", "assistant"} and not is_call(turn["content"])]
    question = turns[last]["content"]
    return (resolve or standalone_question)(question, history) if history else question
