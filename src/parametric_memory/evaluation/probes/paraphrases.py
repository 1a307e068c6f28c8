"""Other ways to put a question, by rules: families of rewritings, each a function of the question and a random source.

A family returns None where its rule does not fit, so that no question is counted that it left as it was.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Mapping
from typing import TypeAlias

Family: TypeAlias = Callable[[str, random.Random], str | None]

_WRAPPERS = (
    "Could you please tell me: {}",
    "I would like to know this. {}",
    "Hello! A quick question: {} Thanks.",
    "Sorry to bother you, but {}",
)
_SUBJECT = re.compile(r"(?i)(what|who|where|when|which \w+|what \w+) (is|was|are|were) (.+?)\s*\?$")
_STRANDED = re.compile(r"(?i)(what|which) (year|city|country|month|century|state|town|season) (.+?) in\s*\?$")
_FRONTED = re.compile(r"(?i)(in|on|at|for|from|to|with|by) (what|which) (\w+) (.+?)\s*\?$")
_SYNONYMS = {
    "begin": "start", "began": "started", "start": "begin", "started": "began", "big": "large", "biggest": "largest",
    "largest": "biggest", "large": "big", "build": "construct", "built": "constructed", "constructed": "built",
    "kind": "type", "type": "kind", "types": "kinds", "kinds": "types", "created": "made", "made": "created",
    "located": "situated", "called": "named", "named": "called", "buy": "purchase", "bought": "purchased",
    "end": "finish", "ended": "finished", "help": "assist", "helped": "assisted", "near": "close to",
    "author": "writer", "wrote": "penned", "film": "movie", "movie": "film", "happened": "occurred",
    "occurred": "happened", "occur": "happen", "happen": "occur", "received": "got", "chosen": "picked",
    "choose": "pick", "important": "significant", "main": "principal", "primary": "main", "usually": "normally",
    "often": "frequently", "approximately": "about", "reason": "cause", "caused": "brought about",
    "job": "occupation", "used": "employed", "released": "published", "area": "region", "region": "area",
}  # fmt: skip


def polite(question: str, drawn: random.Random) -> str:
    """Wrap the question in courtesy."""
    return drawn.choice(_WRAPPERS).format(question)


def subject_first(question: str, _drawn: random.Random) -> str | None:
    """Put the question word last: "The keeper of Hall 4B is who?"."""
    found = _SUBJECT.fullmatch(question.strip())
    if not found:
        return None
    asked, verb, subject = found.groups()
    return f"{subject[0].upper()}{subject[1:]} {verb.lower()} {asked.lower()}?"


def moved_preposition(question: str, _drawn: random.Random) -> str | None:
    """Bring a preposition to the front, or let it stand at the end: "Which year was it built in?"."""
    question = question.strip()
    if found := _STRANDED.fullmatch(question):
        which, noun, rest = found.groups()
        return f"In {which.lower()} {noun} {rest}?"
    if found := _FRONTED.fullmatch(question):
        preposition, which, noun, rest = found.groups()
        return f"{which.capitalize()} {noun} {rest} {preposition.lower()}?"
    return None


def bare(question: str, _drawn: random.Random) -> str | None:
    """Type it in a hurry: lower case, no punctuation."""
    changed = " ".join(question.lower().translate(str.maketrans("", "", string.punctuation)).split())
    return changed if changed != question else None


def typo(question: str, drawn: random.Random) -> str | None:
    """Swap two neighbouring letters inside a long word."""
    places = [
        place
        for word in re.finditer(r"[A-Za-z]{5,}", question)
        for place in range(word.start() + 1, word.end() - 2)
        if question[place] != question[place + 1]
    ]
    if not places:
        return None
    place = drawn.choice(places)
    return f"{question[:place]}{question[place + 1]}{question[place]}{question[place + 2 :]}"


def synonyms(question: str, _drawn: random.Random) -> str | None:
    """Replace the words of a small table."""
    changed = re.sub(r"[a-z]+", lambda word: _SYNONYMS.get(word[0], word[0]), question)
    return changed if changed != question else None


#: Every family by its name.
FAMILIES: Mapping[str, Family] = {
    "polite": polite,
    "subject first": subject_first,
    "moved preposition": moved_preposition,
    "bare": bare,
    "typo": typo,
    "synonyms": synonyms,
}
