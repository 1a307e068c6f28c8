"""Values of a world: colours, materials, numbers, years, lists, actions, each drawn from a small grammar.

A kind comes in ("colour", "number 30-1900 kilometres", "list goods 2-4"), a text comes out. Kinds that are words are
symbols of ``tables/values.txt``, whose alternatives name other symbols in angle brackets.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_SYMBOL = re.compile(r"<([^<>]+)>")
#: "a(n)" before a word, which may be marked as a slot's value.
_ARTICLE = re.compile(r"\b([Aa])\(n\) (?=(?:\x01\d+\w\x02)?(\w+))")
_CONSONANT_SOUND = re.compile(r"(?:u(?:ni|se|su)|eu|one\b)", re.IGNORECASE)
_ONES: tuple[str, ...] = tuple(
    re.findall(
        r"\w+",
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen",
    )
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
#: Share of small numbers that are written as words.
_AS_WORDS = 0.3


def draw(kind: str, rng: random.Random) -> str:
    """Return a value of a kind.

    Raises:
        KeyError: If no such kind is known.
    """
    name, _, rest = kind.partition(" ")
    if name in {"number", "decimal", "words"}:
        return _quantity(name, rest, rng)
    if name == "list":
        symbol, _, counts = rest.partition(" ")
        return _list(symbol, rng.randint(*_range(counts)), rng)
    text: str = rng.choice(_grammar()[kind])
    drawn: set[str] = set()

    def other(found: re.Match[str]) -> str:
        """Draw what has not been drawn yet: "grey and grey" is no colour."""
        while (value := draw(found[1], rng)) in drawn:
            pass
        drawn.add(value)
        return value

    return with_articles(_SYMBOL.sub(other, text))


def with_articles(text: str) -> str:
    """Return the text with every "a(n)" made "a" or "an", as the next word sounds."""
    return _ARTICLE.sub(lambda found: f"{found[1]}{'n' if _opens_with_vowel(found[2]) else ''} ", text)


def in_words(number: int) -> str:
    """Return a number from 0 to 999 in words."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_ONES[hundreds]} hundred" + (f" and {in_words(rest)}" if rest else "")


def joined(parts: list[str]) -> str:
    """Return parts as an enumeration: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _quantity(name: str, rest: str, rng: random.Random) -> str:
    numbers, _, unit = rest.partition(" ")
    if name == "decimal":
        low, high = (float(bound) for bound in numbers.split("-"))
        places = len(numbers.partition("-")[0].partition(".")[2])
        written = f"{rng.uniform(low, high):.{places}f}"
    else:
        number = rng.randint(*_range(numbers))
        spelled = name == "words" or (number < 100 and rng.random() < _AS_WORDS)
        written = in_words(number) if spelled else f"{number:,}"
    return f"{written} {unit}".strip()


def _range(bounds: str) -> tuple[int, int]:
    low, _, high = bounds.partition("-")
    return int(low), int(high)


def _list(symbol: str, count: int, rng: random.Random) -> str:
    chosen = dict.fromkeys(draw(symbol, rng) for _ in range(4 * count))
    return joined(list(chosen)[:count])


def _opens_with_vowel(word: str) -> bool:
    if word[0].isdigit():
        return word.startswith("8") or word in {"11", "18"}
    return word[0].lower() in "aeiou" and not _CONSONANT_SOUND.match(word)


@cache
def _grammar() -> Mapping[str, tuple[str, ...]]:
    """Return the alternatives of every symbol."""
    lines = (files(__package__) / "tables" / "values.txt").read_text(encoding="utf-8").splitlines()
    rules = (line.partition(": ") for line in lines if line)
    return {symbol: tuple(alternatives.split(" | ")) for symbol, _, alternatives in rules}
