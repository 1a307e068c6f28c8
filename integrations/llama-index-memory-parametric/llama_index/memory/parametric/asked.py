"""Which question a prompt asks. LlamaIndex puts questions into templates, between text to read and instructions.

A prompt is read backwards: behind the last line that begins with "Query:" (or "Question:") is what is asked, and what
stands around it is left to the base model as it is. A prompt of several paragraphs without such a line (a summary to
write, a question to rephrase) asks nothing that could be looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from llama_index.core.llms import ChatMessage

from parametric_memory.conversation import Resolve, last_question
from parametric_memory.types import Message

#: Says what is asked, from all messages.
WhatIsAsked: TypeAlias = Callable[[Sequence[ChatMessage]], str]

_OPENS = re.compile(r"^(?:Query|Question): ", re.MULTILINE)
_CLOSES = re.compile(r"^(?:Answer|Original Answer|New Answer|Refined Answer|We have provided)\b", re.MULTILINE)
#: How LlamaIndex's template for refining an answer begins; text to read follows the query there.
_REFINES = "The original query is as follows: "
#: Longest question, in characters: more is a text to work on.
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and whether the turn it stands in holds more than that."""

    text: str
    verbatim: bool = False


def asked_of(turns: Sequence[Message], *, resolve: Resolve | None = None) -> Asked:
    """Return what the last user turn asks, with what it leans on put into it (see `last_question`)."""
    last = next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), "").strip()
    if last.startswith(_REFINES):
        return Asked(_CLOSES.split(last.removeprefix(_REFINES), 1)[0].strip(), verbatim=True)
    if opened := list(_OPENS.finditer(last)):
        asked = _CLOSES.split(last[opened[-1].end() :], 1)[0].strip()
        return Asked(asked, verbatim=bool(last[: opened[-1].start()].strip()))
    if len(last) > _LONGEST or "\n\n" in last:
        return Asked("", verbatim=True)
    return Asked(last_question(turns, resolve=resolve))
