"""Documents that disagree: one fact about an invented thing, stated twice with different values.

Nobody can know these things from elsewhere: names are made of syllables. The older and the newer document use different
wordings, and each says something else besides.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from parametric_memory.evaluation.datasets import CorpusDocument, Question

_STARTS = (
    "Bel",
    "Dor",
    "Fen",
    "Gal",
    "Hul",
    "Kar",
    "Lor",
    "Mor",
    "Nev",
    "Oss",
    "Pel",
    "Rud",
    "Sel",
    "Tam",
    "Ulv",
    "Vor",
)
_MIDDLES = ("a", "e", "i", "o", "u", "an", "en", "il", "or", "us")
_ENDS = ("bek", "dal", "fors", "gate", "holm", "lund", "mark", "nis", "rath", "stad", "thal", "vik", "wick", "zar")
_GIVEN = ("Ada", "Bruno", "Clara", "Dario", "Edith", "Felix", "Greta", "Henrik", "Ilse", "Jonas", "Karin", "Ludo")
_COLOURS = ("green", "white", "crimson", "grey", "yellow", "violet", "black", "orange")


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that can be said of a thing: what is asked, how it is stated, and what may be true."""

    question: str
    statements: tuple[str, ...]
    value: Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A question, the older and the newer document, and what each of them answers."""

    question: Question
    older: CorpusDocument
    newer: CorpusDocument
    old: str
    new: str


def _name(drawn: random.Random) -> str:
    return drawn.choice(_STARTS) + drawn.choice(_MIDDLES) + drawn.choice(_ENDS)


def _person(drawn: random.Random) -> str:
    return f"{drawn.choice(_GIVEN)} {_name(drawn)}"


ATTRIBUTES = (
    Attribute(
        "Who is the harbour master of {thing}?",
        ("The harbour master of {thing} is {value}.", "{value} is the harbour master of {thing}.",
         "{thing} has a harbour master, {value}."),
        _person,
    ),
    Attribute(
        "How many bridges does {thing} have?",
        ("{thing} has {value} bridges.", "There are {value} bridges in {thing}.", "In {thing}, {value} bridges stand."),
        lambda drawn: str(drawn.randint(3, 97)),
    ),
    Attribute(
        "What colour is the town hall of {thing}?",
        ("The town hall of {thing} is {value}.", "In {thing}, the town hall is painted {value}.",
         "{thing} has a {value} town hall."),
        lambda drawn: drawn.choice(_COLOURS),
    ),
    Attribute(
        "When was the library of {thing} opened?",
        ("The library of {thing} was opened in {value}.", "{thing} opened its library in {value}.",
         "In {value} the library of {thing} was opened."),
        lambda drawn: str(drawn.randint(1701, 1999)),
    ),
    Attribute(
        "Which river flows through {thing}?",
        ("The river {value} flows through {thing}.", "Through {thing} flows the river {value}.",
         "{thing} lies on both banks of the river {value}."),
        _name,
    ),
)  # fmt: skip
_BESIDES = (
    "{thing} has a market on Saturdays.", "Trams run in {thing} until midnight.", "The school of {thing} has a yard.",
    "Visitors like the mill of {thing}.", "It often rains in {thing} in autumn.", "{thing} is known for its bells.",
)  # fmt: skip


def disagreements(count: int, *, seed: int) -> list[Disagreement]:
    """Return so many disagreements, each about a thing of its own."""
    drawn = random.Random(f"disagreements {seed}")
    return [_disagreement(thing, drawn) for thing in _things(count, drawn)]


def _things(count: int, drawn: random.Random) -> list[str]:
    """Return so many names, none of them twice."""
    things: dict[str, None] = {}
    while len(things) < count:
        # A second name where there are too few single ones.
        things[_name(drawn) if len(things) < 1000 else f"{_name(drawn)} {_name(drawn)}"] = None
    return list(things)


def _disagreement(thing: str, drawn: random.Random) -> Disagreement:
    attribute = drawn.choice(ATTRIBUTES)
    old = new = attribute.value(drawn)
    while new == old:
        new = attribute.value(drawn)
    older, newer = drawn.sample(attribute.statements, 2)
    beside, other = drawn.sample(_BESIDES, 2)
    documents = [
        CorpusDocument(f"{thing}, {age}", "", _text(drawn, wording, beside, thing=thing, value=value))
        for age, wording, beside, value in (("older", older, beside, old), ("newer", newer, other, new))
    ]
    asked = Question(
        "disagreement", documents[1].doc_id, "", documents[1].document, attribute.question.format(thing=thing), (new,),
        answerable=True,
    )  # fmt: skip
    return Disagreement(asked, documents[0], documents[1], old, new)


def _text(drawn: random.Random, *sentences: str, thing: str, value: str) -> str:
    said = [sentence.format(thing=thing, value=value) for sentence in sentences]
    drawn.shuffle(said)
    return " ".join(said)
