"""Twists: questions made of others, that what answered those seems to answer, and does not.

A name or a number becomes another one, or a word its opposite, as in many of the unanswerable questions that people
wrote for SQuAD 2.0 (Rajpurkar et al. 2018, arXiv 1806.03822).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from parametric_memory.routing.evidence import STOP_WORDS
from parametric_memory.routing.hops import names_in
from parametric_memory.training.alignment import find

#: How far a number is moved at most.
FAR = 40
#: A name of so few letters is likely none.
SHORT = 2

_NUMBER = re.compile(r"\b\d+\b")
_WORD = re.compile(r"\b[a-z]+\b")
_PAIRS = (
    "after before", "best worst", "cheapest costliest", "closest farthest", "decrease increase", "decreased increased",
    "eastern western", "earlier later", "earliest latest", "east west", "end start", "ended started", "fastest slowest",
    "father mother", "female male", "fewer more", "fewest most", "final initial", "first last",
    "higher lower", "highest lowest", "husband wife", "include exclude", "inside outside", "largest smallest",
    "larger smaller", "least most", "longest shortest", "lose win", "lost won", "major minor",
    "maximum minimum", "newest oldest", "north south", "northern southern", "older younger", "oldest youngest",
    "prevent cause", "same different", "stronger weaker", "strongest weakest",
)  # fmt: skip
OPPOSITES = {one: other for pair in _PAIRS for one, other in (pair.split(), pair.split()[::-1])}


def twisted(question: str, text: str, instead: Sequence[str], rng: random.Random) -> str | None:
    """Return a question that a text does not answer, made of one that it does; None if nothing can be changed.

    Args:
        question: What the text answers.
        text: None of the new words stands in it.
        instead: Names to put in place of those in the question.
        rng: Draws what is changed, and into what.
    """
    changes = [change for kind in (_named, _numbered, _opposed) for change in kind(question, text, instead, rng)]
    if not changes:
        return None
    begin, end, words = rng.choice(changes)
    return question[:begin] + words + question[end:]


def _named(question: str, text: str, instead: Sequence[str], rng: random.Random) -> Iterator[tuple[int, int, str]]:
    strange = [name for name in instead if len(name) > SHORT and not find(name, text) and not find(name, question)]
    for name in names_in(question):
        place = find(name, question)
        # "What Buddha" is no name.
        if place and strange and name.split()[0].lower() not in STOP_WORDS:
            yield *place, rng.choice(strange)


def _numbered(question: str, text: str, _: Sequence[str], rng: random.Random) -> Iterator[tuple[int, int, str]]:
    for number in _NUMBER.finditer(question):
        value = int(number[0])
        other = str(rng.choice([near for near in range(max(0, value - FAR), value + FAR + 1) if near != value]))
        if not find(other, text) and not find(other, question):
            yield *number.span(), other


def _opposed(question: str, text: str, _: Sequence[str], __: random.Random) -> Iterator[tuple[int, int, str]]:
    for word in _WORD.finditer(question):
        other = OPPOSITES.get(word[0])
        if other and not find(other, text):
            yield *word.span(), other
