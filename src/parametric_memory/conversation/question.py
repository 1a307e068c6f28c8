"""Which question a conversation ends in, in words that can be looked up alone.

"Where does she live?" finds nothing in a memory: a follow-up is put behind the turns that it leans on. The rule is
small and English; a model that rewrites questions can take its place.
"""

from __future__ import annotations

import re

from parametric_memory.conversation.tool_calls import is_call
from parametric_memory.types import Conversation

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_POINTERS = frozenset(["he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their", "theirs"])
_OPENING = re.compile(
    r"\s*(?:and|but|or|also|so|then|(?:what|how) about|what else|who else|where else)\b", re.IGNORECASE
)
#: Shorter questions ("In summer?") are never whole.
_SHORTEST = 3
#: Longest answer, in words, that is taken to be what the next question's "she" means.
_SHORT_ANSWER = 12
#: Turns that are looked back for one question.
_FARTHEST = 3


def is_follow_up(question: str) -> bool:
    """Whether a question seems to lean on what was said before it."""
    words = [word.lower() for word in _WORD.findall(question)]
    return len(words) < _SHORTEST or bool(_POINTERS.intersection(words)) or bool(_OPENING.match(question))


def standalone_question(turns: Conversation) -> str:
    """Return the last user turn, behind the turns that it leans on; empty if nobody has asked anything.

    Args:
        turns: Only users' and assistants' turns count. Answers that say nothing ("I don't know.") are best left out.
    """
    said = [turn for turn in turns if turn["role"] in {"user", "assistant"}]
    asked = [place for place, turn in enumerate(said) if turn["role"] == "user"]
    if not asked:
        return ""
    parts = [said[asked[-1]]["content"]]
    for place, next_place in list(zip(asked[-2::-1], asked[:0:-1], strict=True))[:_FARTHEST]:
        if not is_follow_up(parts[0]):
            break
        answers = [turn["content"] for turn in said[place + 1 : next_place] if _is_short(turn["content"])]
        parts = [said[place]["content"], *answers, *parts]
    return " ".join(part.strip() for part in parts if part.strip())


def _is_short(answer: str) -> bool:
    """Whether an answer is short enough to be a name or a date, and is none to a tool."""
    return not is_call(answer) and 0 < len(_WORD.findall(answer)) <= _SHORT_ANSWER
