"""Turns as chat templates take them: system first, neighbours of one role joined, tools' results as the user's."""

from __future__ import annotations

from parametric_memory.types import Conversation, Message


def joined(
    turns: Conversation, *, asked: str | None = None, history: bool = True, instructions: str = ""
) -> list[Message]:
    """Return the conversation as turns of alternating roles.

    Args:
        turns: In any order of roles; the role ``tool`` is that of results of tools.
        asked: What the last user turn is to say instead.
        history: Whether the turns before the last user turn are kept; system turns always are.
        instructions: Put behind the system turns, or in their place if there are none.
    """
    last = last_asked(turns)
    system = [turn["content"] for turn in turns if turn["role"] == "system"]
    made: list[Message] = []
    if text := "\n\n".join(part for part in [*system, instructions] if part):
        made.append({"role": "system", "content": text})
    for place, turn in enumerate(turns):
        if turn["role"] == "system" or (not history and last is not None and place < last):
            continue
        content = asked if place == last and asked is not None else turn["content"]
        _append(made, "user" if turn["role"] == "tool" else turn["role"], content)
    return made


def last_asked(turns: Conversation) -> int | None:
    """Return the place of the last user turn, if there is one."""
    return next((n for n in reversed(range(len(turns))) if turns[n]["role"] == "user"), None)


def _append(turns: list[Message], role: str, text: str) -> None:
    if turns and turns[-1]["role"] == role != "system":
        turns[-1] = {"role": role, "content": f"{turns[-1]['content']}\n{text}"}
    else:
        turns.append({"role": role, "content": text})
