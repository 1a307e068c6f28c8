"""Where an answer stands: questions and answers in, sentences (and characters of them) out.

Sentences are numbered as they are given. Words are compared in lower case; where sentences are only close to a
question, words are alike if their first `STEM` characters are.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from parametric_memory.training.corpus import Place

STEM = 5
#: A group of sentences that an answer runs through or is gathered from is at most so long; so are, in words, its items.
LONGEST_GROUP = 8
LONGEST_ITEM = 5
#: Sentences that answer together without holding the answer: at most so many, and none that adds less than this share.
MOST_SUPPORTS = 4
LEAST_SUPPORT = 0.15

_ITEM_ENDS = re.compile(r"\s*(?:[,;\n]|\band\b)\s*")


def words(text: str) -> list[str]:
    """Return a text's words in order."""
    return re.findall(r"\w+", text.lower())


def stems(text: str) -> set[str]:
    """Return the beginnings of a text's words."""
    return {word[:STEM] for word in words(text)}


def align(question: str, answer: str, texts: Sequence[str]) -> Place | None:
    """Return where a text holds the answer as whole words, whatever their case; None if none does.

    Of several that hold the answer, the one that shares the most words with the question.
    """
    found = [Place(index, *span) for index, text in enumerate(texts) if (span := find(answer, text))]
    asked = set(words(question))
    return max(found, key=lambda place: len(asked & set(words(texts[place.atom]))), default=None)


def find(answer: str, text: str) -> tuple[int, int] | None:
    """Return where a text first holds an answer as whole words, whatever their case."""
    # Not a pattern: to compile one for each question takes longer than to search.
    if len(text.lower()) == len(text):  # "İ" has two letters in lower case
        answer, text = answer.lower(), text.lower()
    begin = text.find(answer) if answer else -1
    while begin >= 0:
        end = begin + len(answer)
        if not _in_word(text, begin) and not _in_word(text, end):
            return begin, end
        begin = text.find(answer, begin + 1)
    return None


def run_through(answer: str, texts: Sequence[str]) -> tuple[Place, ...]:
    """Return the parts of an answer that goes on from one sentence into the next; nothing if it does not stand so."""
    span = find(answer, " ".join(texts))
    if span is None:
        return ()
    places, at = [], 0
    for index, text in enumerate(texts):
        begin, end = max(span[0] - at, 0), min(span[1] - at, len(text))
        if begin < end:
            places.append(Place(index, begin, end))
        at += len(text) + 1
    return tuple(places) if len(places) <= LONGEST_GROUP else ()


def gather(question: str, answer: str, texts: Sequence[str]) -> tuple[Place, ...]:
    """Return where the items of a list stand, if several sentences hold them, one each; else nothing."""
    items = [item for item in _ITEM_ENDS.split(answer) if item]
    found = [align(question, item, texts) for item in items]
    places = sorted(place for place in found if place)
    apart = len({place.atom for place in places}) == len(items)
    short = all(len(words(item)) <= LONGEST_ITEM for item in items)
    return tuple(places) if apart and short and 1 < len(items) <= LONGEST_GROUP else ()


def weigh(texts: Sequence[str], *, question: str, answer: str = "") -> dict[str, float]:
    """Return what the words of a question and its answer weigh: more the fewer texts hold them, answers twice.

    A word in ``df`` of ``n`` texts weighs ``log(1 + n / df)``; one in none is left out.
    """
    held = Counter(stem for text in texts for stem in stems(text))
    answered = stems(answer)
    return {
        stem: math.log(1 + len(texts) / held[stem]) * (2 if stem in answered else 1)
        for stem in stems(question) | answered
        if stem in held
    }


def closeness(text: str, weights: Mapping[str, float]) -> float:
    """Return the weight of the words that a text holds."""
    # Exact, so that the order of a set does not matter.
    return math.fsum(weights.get(stem, 0.0) for stem in stems(text))


def closest(texts: Sequence[str], weights: Mapping[str, float], *, count: int) -> tuple[int, ...]:
    """Return the texts that are closest, at most `count`, in order; the earlier one of two that are alike."""
    ranked = sorted(range(len(texts)), key=lambda index: (-closeness(texts[index], weights), index))
    return tuple(sorted(ranked[:count]))


def support(question: str, answer: str, texts: Sequence[str]) -> tuple[int, ...]:
    """Return the texts that hold the words of question and answer together, in order.

    Greedy: each adds the most weight of words that the others lack, until there are `MOST_SUPPORTS`, or the next one
    would add less than `LEAST_SUPPORT` of all.
    """
    weights = weigh(texts, question=question, answer=answer)
    total, chosen = math.fsum(weights.values()), set[int]()
    while weights and len(chosen) < MOST_SUPPORTS:
        best = max(range(len(texts)), key=lambda index: closeness(texts[index], weights))
        if closeness(texts[best], weights) < LEAST_SUPPORT * total:
            break
        chosen.add(best)
        weights = {stem: weight for stem, weight in weights.items() if stem not in stems(texts[best])}
    return tuple(sorted(chosen))


def _in_word(text: str, at: int) -> bool:
    """Return whether a word goes on across a place between two characters."""
    return bool(re.match(r"\w\w", text[at - 1 : at + 1])) if at else False
