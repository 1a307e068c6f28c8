"""Haystacks: any length of noise from a seed, with facts in it that stand nowhere else, and questions about them.

The noise says nothing that a question could be about: it has no names and no digits. What it says at one place does not
depend on how long it is, nor on the needles, so haystacks of one seed share their text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from parametric_memory.types import Span

#: Where the needle that is asked for stands: shares of the sentences before it.
DEPTHS = tuple(place / 9 for place in range(10))
#: How the needle stands: alone; among needles of other kinds; among needles that differ in whom they are about.
ARRANGEMENTS = ("one", "several", "look-alikes")
#: Needles beside the one that is asked for, where it is not alone.
OTHERS = {"one": 0, "several": 3, "look-alikes": 5}
#: Sentences of a paragraph.
_PARAGRAPH = 8

# fmt: off
_WHO = ("a baker", "an old gardener", "the tired driver", "a young painter", "the night watchman", "a quiet clerk",
        "somebody's aunt", "the postman", "a tall stranger", "the cook", "a retired teacher", "the piano tuner")
_DID = ("looked at", "walked past", "thought about", "told a story about", "forgot", "remembered", "sat down near",
        "pointed at", "waited beside", "asked about", "smiled at", "drew a picture of")
_WHAT = ("the empty bench", "a wet umbrella", "the long hedge", "a pile of leaves", "the slow river", "a grey cat",
         "the garden wall", "an open window", "the last cake", "a basket of plums", "the closed shop", "a loose stone")
_WHEN = ("before lunch", "in the rain", "late in the evening", "without a word", "on the way home", "for a while",
         "after the concert", "as the wind rose", "early in spring", "while the kettle sang", "once more", "at dusk")
_AND = ("nobody noticed", "the birds went on singing", "it grew colder", "that was all", "the street stayed quiet",
        "the clouds moved on", "time went by", "a door creaked somewhere", "the lamps were lit", "the tea got cold")

_PLACES = ("Lorn", "Skerry", "Velden", "Ousel", "Marlow Fen", "Brockhurst", "Tarnby", "Ebbleford", "Quillan", "Ardmoor")
_FIRST = ("Ada", "Bastian", "Cleo", "Dorian", "Edda", "Finn", "Greta", "Hollis", "Ines", "Jonas")
_LAST = ("Moss", "Rook", "Wren", "Birch", "Heath", "Orme", "Veck", "Lindqvist", "Ferris", "Stone")
_WORDS = ("saffron", "obelisk", "tamarind", "zephyr", "marzipan", "lantern", "cobalt", "juniper", "pelican", "walrus")
# fmt: on


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of needle: what it says, how it is asked for, and what may answer."""

    statement: str
    question: str
    draw: Callable[[random.Random], str]


#: Kinds of needles by what answers.
KINDS = {
    "number": Kind(
        "The magic number of {} is {}.", "What is the magic number of {}?", lambda rng: str(rng.randrange(1000, 10_000))
    ),
    "name": Kind(
        "The keeper of {} is {}.", "Who is the keeper of {}?", lambda rng: f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"
    ),
    "word": Kind("The password of {} is {}.", "What is the password of {}?", lambda rng: rng.choice(_WORDS)),
    "year": Kind(
        "The lighthouse of {} was built in {}.", "When was the lighthouse of {} built?",
        lambda rng: str(rng.randrange(1701, 1990)),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Needle:
    """A fact in a haystack: whose it is, its sentence, the question that it answers, and the answer."""

    kind: str
    place: str
    statement: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Haystack:
    """Noise with needles.

    Attributes:
        text: The whole.
        needles: The first is the one that is asked for.
        span: Where it stands.
        arrangement: How (see `ARRANGEMENTS`).
    """

    text: str
    needles: tuple[Needle, ...]
    span: Span
    arrangement: str

    @property
    def depth(self) -> float:
        """The share of the text that stands before the needle that is asked for."""
        return self.span.start / max(1, len(self.text) - (self.span.end - self.span.start))


def haystack(
    tokens: int,
    *,
    seed: int,
    number: int,
    count_tokens: Callable[[str], int],
) -> Haystack:
    """Return a haystack; over its numbers, depths, kinds and arrangements take turns.

    Args:
        tokens: Of the whole, about: as many sentences as fit, but always the needles.
        seed: Of noise and needles.
        number: Which one: its needles depend on it and on the seed.
        count_tokens: Counts a text's tokens.
    """
    turn = number // len(DEPTHS)
    kind, arrangement = [*KINDS][(number + turn) % len(KINDS)], ARRANGEMENTS[(number + turn) % len(ARRANGEMENTS)]
    needles = _needles(random.Random(f"{seed}/needles/{number}"), kind, arrangement)
    room = tokens - sum(count_tokens(f" {needle.statement}") for needle in needles)
    lines = _fitting(noise(seed), room, count_tokens)
    drawn = random.Random(f"{seed}/places/{number}")
    # The asked one last: so none of the others moves it.
    for needle in needles[1:]:
        lines.insert(drawn.randint(0, len(lines)), needle.statement)
    at = round(DEPTHS[number % len(DEPTHS)] * len(lines))
    lines.insert(at, needles[0].statement)
    before = len(_text(lines[: at + 1])) - len(lines[at])
    return Haystack(_text(lines), needles, Span(before, before + len(lines[at])), arrangement)


def noise(seed: int) -> Iterator[str]:
    """Yield sentences that say nothing, without an end."""
    rng = random.Random(f"{seed}/noise")
    for _ in count():
        sentence = f"{rng.choice(_WHO)} {rng.choice(_DID)} {rng.choice(_WHAT)} {rng.choice(_WHEN)}"
        ending = f", and {rng.choice(_AND)}" if rng.random() < 0.5 else ""
        yield f"{sentence[0].upper()}{sentence[1:]}{ending}."


def _needles(rng: random.Random, kind: str, arrangement: str) -> tuple[Needle, ...]:
    """Return the needle that is asked for and those beside it; no two are about the same thing or have one answer."""
    others = OTHERS[arrangement]
    kinds = [kind] * (others + 1)
    if arrangement == "several":
        kinds = [kind, *rng.sample([other for other in KINDS if other != kind], others)]
    answers: list[str] = []
    made = []
    for one, place in zip(kinds, rng.sample(_PLACES, len(kinds)), strict=True):
        answer = KINDS[one].draw(rng)
        while answer in answers:
            answer = KINDS[one].draw(rng)
        answers.append(answer)
        statement, question = KINDS[one].statement.format(place, answer), KINDS[one].question.format(place)
        made.append(Needle(one, place, statement, question, answer))
    return tuple(made)


def _fitting(sentences: Iterator[str], tokens: int, count_tokens: Callable[[str], int]) -> list[str]:
    lines: list[str] = []
    for sentence in sentences:
        tokens -= count_tokens(f" {sentence}")
        if tokens < 0:
            return lines
        lines.append(sentence)
    raise AssertionError("noise has no end")


def _text(lines: list[str]) -> str:
    """Return sentences as paragraphs of eight."""
    return "\n\n".join(" ".join(lines[begin : begin + _PARAGRAPH]) for begin in range(0, len(lines), _PARAGRAPH))
