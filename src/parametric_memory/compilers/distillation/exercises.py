"""Exercises made from a statement's own words: no model is asked, and the answer is known.

What comes in is a sentence, what goes out are questions with answers that stand in it. The questions are not always
grammatical ("Ferries leave for what every Tuesday?"): they share words with the ones that people ask, which is what
counts. Words of the sentence are dropped at random, so that the adapter does not come to depend on all of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from parametric_memory.types import stable_id

_WORD = re.compile(r"[\w$€£%][\w'’.,/&-]*[\w%]|[\w%$€£]")
_SMALL_WORDS = """
a an the this that these those and or but nor so yet if because although though while when where which who whom whose
what how as than of in on at by for with from to into onto over under about after before between during through within
without against among around upon per via is are was were be been being am has have had do does did can could may might
must shall should will would not no it its he she they him her them his their we us our you your i me my there here also
such very more most other another some any each every all both only just then thus however
"""
_FUNCTION_WORDS = frozenset(_SMALL_WORDS.split())
_MONTH = re.compile(r"(January|February|March|April|May|June|July|August|September|October|November|December)\b")
LONGEST_SPAN = 6


@dataclass(frozen=True, slots=True)
class Exercise:
    """A question about a statement; with no answer, the teacher's own is learned."""

    question: str
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class _Span:
    """Half-open ranges: characters of the text, and words."""

    start: int
    end: int
    first: int
    last: int


def from_statement(statement: str, *, limit: int, seed: int = 0) -> list[Exercise]:
    """Return up to ``limit`` exercises: every span of the statement is asked for in turn, and the rest of it once.

    They depend on the statement and the seed alone.
    """
    rng = random.Random(stable_id(str(seed), statement))
    words = [match.span() for match in _WORD.finditer(statement)]
    spans = _spans(statement, words)
    rng.shuffle(spans)
    made = _completions(statement, words)
    forms = (_in_place, _asked_first, _keywords)
    for turn in range(len(forms)):
        for number, span in enumerate(spans):
            question = forms[(turn + number) % len(forms)](statement, words, span, rng)
            made.append(Exercise(question, statement[span.start : span.end]))
    return list(dict.fromkeys(made))[:limit]


def _spans(text: str, words: Sequence[tuple[int, int]]) -> list[_Span]:
    """Return what may be an answer: runs of words that carry meaning, and pairs of them with small words between."""
    runs: list[_Span] = []
    for number, (start, end) in enumerate(words):
        if text[start:end].lower() in _FUNCTION_WORDS:
            continue
        glued = runs and runs[-1].last == number and not re.search(r"[,;:()\"“”]", text[runs[-1].end : start])
        if glued and number - runs[-1].first < LONGEST_SPAN:
            runs[-1] = _Span(runs[-1].start, end, runs[-1].first, number + 1)
        else:
            runs.append(_Span(start, end, number, number + 1))
    pairs = [
        _Span(one.start, other.end, one.first, other.last)
        for one, other in pairwise(runs)
        if other.last - one.first <= LONGEST_SPAN and text[one.end : other.start].strip() in {"of", "of the", "and"}
    ]
    whole = len(words)
    return [span for span in (*runs, *pairs) if span.last - span.first < whole]


def _completions(text: str, words: Sequence[tuple[int, int]]) -> list[Exercise]:
    """Return the statement cut in two: its first half asks for its second."""
    if len(words) < 4:
        return []
    at = words[len(words) // 2][0]
    return [Exercise(text[:at].strip(), text[at:].strip())]


def _in_place(text: str, words: Sequence[tuple[int, int]], span: _Span, rng: random.Random) -> str:
    """Ask with the question word where the answer stood, in a window of the sentence."""
    first = max(0, span.first - rng.randint(4, 12))
    last = min(len(words), span.last + rng.randint(4, 12))
    before, after = text[words[first][0] : span.start], text[span.end : words[last - 1][1]]
    return _question(f"{before}{question_word(text[span.start : span.end])}{after}")


def _asked_first(text: str, words: Sequence[tuple[int, int]], span: _Span, rng: random.Random) -> str:
    """Ask with the question word in front of what follows the answer, then of what stands before it."""
    last = min(len(words), span.last + rng.randint(4, 12))
    first = max(0, span.first - rng.randint(4, 12))
    after = text[span.end : words[last - 1][1]].strip(" ,;:.")
    before = text[words[first][0] : span.start].strip(" ,;:.")
    return _question(" ".join(filter(None, [question_word(text[span.start : span.end]), after, before])))


def _keywords(text: str, words: Sequence[tuple[int, int]], span: _Span, rng: random.Random) -> str:
    """Ask with some of the sentence's other words, in order."""
    others = [text[start:end] for n, (start, end) in enumerate(words) if not span.first <= n < span.last]
    kept = [word for word in others if rng.random() < 0.6] or others
    return _question(" ".join([question_word(text[span.start : span.end]), *kept]))


def question_word(answer: str) -> str:
    """Return what asks for such an answer, told by its shape."""
    if re.fullmatch(r"1\d{3}|20\d{2}|\d{3,4}s", answer) or _MONTH.match(answer):
        return "when"
    if re.match(r"[$€£]?\d", answer):
        return "how many"
    return "who" if len(answer.split()) == 2 and answer.istitle() else "what"


def _question(words: str) -> str:
    text = words.strip(" ,;:.?")
    return f"{text[:1].upper()}{text[1:]}?"
