"""What of the sources goes into the prompt: nothing, a snippet of so many tokens, or whole statements.

A route and a mode come in, passages go out. Tokens are the base model's own: a snippet never has more than its budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from parametric_memory.config import MemoryConfig, Mode
from parametric_memory.types import Route, RoutedAtom, Span

#: Counts the base model's tokens.
Count: TypeAlias = Callable[[str], int]

_SENTENCE = re.compile(r"\S.*?(?:[.!?][\"'”’)\]]*(?=\s)|$)", re.DOTALL)
_WORD = re.compile(r"\S+")


def passages(route: Route, mode: Mode, *, sure: float, config: MemoryConfig, count: Count) -> list[str]:
    """Return the texts that the base model reads with a question.

    Args:
        route: Whose atoms they are of, best first.
        mode: ``in_context``: every statement. ``hybrid``: a snippet of the best. ``hybrid_unsure``: the same, if the
            memory is not sure of the route. Else nothing.
        sure: How probable it is that the memory answers the question.
        config: The memory's: how many tokens a snippet has, and what is unsure.
        count: Counts the base model's tokens.
    """
    if mode == "in_context":
        return [routed.atom.statement for routed in route.selected]
    wanted = mode == "hybrid" or (mode == "hybrid_unsure" and sure < config.routing.unsure_below)
    if not wanted or not route.selected:
        return []
    found = snippet(route.selected[0], budget=config.snippet_tokens, count=count)
    return [found] if found else []


def snippet(routed: RoutedAtom, *, budget: int, count: Count) -> str:
    """Return an atom's statement, or the part of it around the words that most probably answer, within the budget.

    It is cut at the ends of sentences, or of words where one sentence is too long; title and headings stay, if there is
    room for them beside some words.
    """
    atom = routed.atom
    if count(atom.statement) <= budget:
        return atom.statement
    head = atom.statement[: -len(atom.text)] if atom.text and atom.statement.endswith(atom.text) else ""
    best = max(routed.tokens, key=lambda token: token.share, default=None)
    text = atom.text if head or atom.statement == atom.text else atom.statement
    return cut(text, best.span.start if best and text == atom.text else 0, budget=budget, count=count, head=head)


def cut(text: str, at: int, *, budget: int, count: Count, head: str = "") -> str:
    """Return the part of a text around a place that fits a budget of tokens, with a head before it.

    Whole sentences if the one at the place fits, else whole words of that one. A head that leaves room for no word is
    dropped; a word that does not fit by itself is cut.

    Args:
        text: What is cut.
        at: Character that the part is to hold.
        budget: Most tokens of head and part together.
        count: Counts tokens.
        head: Stays in front of the part.
    """

    def fits(part: str) -> bool:
        return count(head + part) <= budget

    sentences, words = sentences_of(text), _spans(_WORD, text)
    if not words:
        return ""
    sentence, word = _around(sentences, at), _around(words, at)
    if fits(sentences[sentence].of(text)):
        return head + _grown(sentences, sentence, text, fits)
    if fits(words[word].of(text)):
        inside = [span for span in words if sentences[sentence].start <= span.start < sentences[sentence].end]
        return head + _grown(inside, inside.index(words[word]), text, fits)
    return cut(text, at, budget=budget, count=count) if head else _prefix(words[word].of(text), budget, count)


def sentences_of(text: str) -> list[Span]:
    """Return where the sentences of a text stand, as their full stops tell."""
    return _spans(_SENTENCE, text)


def _grown(spans: Sequence[Span], at: int, text: str, fits: Callable[[str], bool]) -> str:
    """Return the text of neighbouring spans around one that fits: as many to its right and left, in turn, as fit."""
    first = last = at
    growing = {"right", "left"}
    while growing:
        for side in ("right", "left"):
            lower, upper = (first, last + 1) if side == "right" else (first - 1, last)
            if lower >= 0 and upper < len(spans) and fits(text[spans[lower].start : spans[upper].end]):
                first, last = lower, upper
            else:
                growing.discard(side)
    return text[spans[first].start : spans[last].end]


def _prefix(word: str, budget: int, count: Count) -> str:
    """Return as much of a word's beginning as fits."""
    while word and (tokens := count(word)) > budget:
        word = word[: min(len(word) - 1, len(word) * budget // tokens)]
    return word


def _spans(pattern: re.Pattern[str], text: str) -> list[Span]:
    return [Span(found.start(), found.start() + len(found.group().rstrip())) for found in pattern.finditer(text)]


def _around(spans: Sequence[Span], at: int) -> int:
    """Return the number of the span that holds a place, or of the last before it."""
    return max((number for number, span in enumerate(spans) if span.start <= at), default=0)
