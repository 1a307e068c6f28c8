"""Which question a conversation ends in, in words that can be looked up alone.

"Where does she live?" finds nothing in a memory: a follow-up is put behind the turns that it leans on. The rule is
small and English; a model that rewrites questions can take its place (``ChatParametricMemory(question=...)``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_parametric_memory.conversation import text_of

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


def standalone_question(messages: Sequence[BaseMessage]) -> str:
    """Return the last human turn, behind the turns that it leans on; empty if nobody has asked anything."""
    said = [message for message in messages if isinstance(message, HumanMessage | AIMessage)]
    asked = [place for place, message in enumerate(said) if isinstance(message, HumanMessage)]
    if not asked:
        return ""
    parts = [text_of(said[asked[-1]])]
    for place, next_place in list(zip(asked[-2::-1], asked[:0:-1], strict=True))[:_FARTHEST]:
        if not is_follow_up(parts[0]):
            break
        answers = [text_of(message) for message in said[place + 1 : next_place] if _answers(message)]
        parts = [text_of(said[place]), *answers, *parts]
    return " ".join(part.strip() for part in parts if part.strip())


def _answers(message: BaseMessage) -> bool:
    """Whether an assistant's turn is short enough to be a name or a date, and not a refusal."""
    words = len(_WORD.findall(text_of(message)))
    return 0 < words <= _SHORT_ANSWER and not message.response_metadata.get("abstained")
