"""What the words of a statement say about a question: how much of it they cover, and whether the answer may be there.

Questions and statements come in as text, one `Evidence` per statement goes out. Words are folded (case, accents) and
cut to crude stems; the lists are English. In other languages coverage and numbers still count, the rest stays silent.
A word of the question that no statement has is read as one that differs by a slip of the finger.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

_WORD = re.compile(r"[^\W_]+(?:[.,:]\d+)*")
_ENDING = re.compile(r"(?<=...)(?:ations?|ings?|edly|ie[ds]|ers?|e[ds]|ly|s|e|y)$")

STOP_WORDS = frozenset(
    _WORD.findall("""
    a about after again all also am an and any are as at be been before being between both but by can could did do does
    doing done down during each for from had has have having he her here his how i if in into is it its just ll many may
    me might more most must my name no nor not of off on only or other our out over own re s same shall she should so
    some such t than that the their them then there these they this those through to too under up us ve very was we were
    what when where which who whom whose why will with without would you your
    """)
)

#: Questions that only a number or a date answers, and words that are one without a digit.
_ASKS_NUMBER = re.compile(
    r"\b(?:when|how (?:many|much|long|old|far|large|big|tall|high|often)|(?:what|which) (?:year|date|day|month|decade|"
    r"century|percent\w*|number|age|time|population))\b",
    re.IGNORECASE,
)
_NUMBER_WORDS = frozenset(
    _WORD.findall("""
    one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand million
    billion half once twice first second third fourth january february march april june july august september
    october november december
    """)
)

#: Questions that only a name answers.
_ASKS_NAME = re.compile(
    r"\b(?:who|whom|whose|where|(?:what|which) (?:country|city|state|person|company|man|woman|king|artist|singer|"
    r"actor))\b",
    re.IGNORECASE,
)

#: Words in fewer of the statements weigh more; the constant keeps the weights sane when there are few statements.
_RARITY = 32
#: How much a word counts that is spelled otherwise; shorter stems than this differ by a letter too easily.
_SLIPPED, _LONG_ENOUGH = 0.8, 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one statement's words say.

    Attributes:
        coverage: Share of the question's words that the statement has, rare words counting more; 0 to 1.
        topic: Share of them that the statements of its document have together.
        lacks_number: A number of the question is not in the statement.
        lacks_answer: The question asks for a number or a name, and the statement has none that the question has not.
        news: ``log(1 + n)`` of the ``n`` words that the statement has and the question has not.
    """

    coverage: float
    topic: float
    lacks_number: bool
    lacks_answer: bool
    news: float


def weigh(question: str, statements: Sequence[str], documents: Sequence[str] = ()) -> list[Evidence]:
    """Return each statement's evidence.

    Args:
        question: In words.
        statements: How rare a word is, is counted over them.
        documents: Which document each is of; all of one, if nothing is said.
    """
    asked = Words.of(question)
    read = [Words.of(statement) for statement in statements]
    meant = _meant(asked.stems, frozenset().union(*(words.stems for words in read)))
    found = Counter(stem for words in read for stem in words.stems & meant.keys())
    rarity = {stem: math.log1p(_RARITY / (found[stem] + 0.5)) for stem in meant}
    # The order of a set differs between processes; an exact sum does not depend on it.
    total = math.fsum(rarity.values())

    def share(stems: Collection[str]) -> float:
        return math.fsum(meant[stem] * rarity[stem] for stem in meant.keys() & stems) / total if total else 0.0

    documents = documents or [""] * len(statements)
    together: dict[str, set[str]] = defaultdict(set)
    for document, words in zip(documents, read, strict=True):
        together[document] |= words.stems
    topics = {document: share(stems) for document, stems in together.items()}
    wants_number, wants_name = asks_number(question), bool(_ASKS_NAME.search(question))
    return [
        Evidence(
            coverage=share(words.stems),
            topic=topics[document],
            lacks_number=not asked.digits <= words.digits,
            lacks_answer=(wants_number and not words.numbers - asked.numbers)
            or (wants_name and not words.names - meant.keys()),
            news=math.log1p(len(words.stems - meant.keys())),
        )
        for document, words in zip(documents, read, strict=True)
    ]


def asks_number(question: str) -> bool:
    """Return whether only a number or a date answers."""
    return bool(_ASKS_NUMBER.search(question))


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text.

    Attributes:
        all: Every word in its order, in lower case.
        stems: Of those that are not stop words.
        digits: Words that begin with a digit.
        numbers: These, and words that are numbers.
        names: Stems of words that are capitalised within the text.
    """

    all: tuple[str, ...]
    stems: frozenset[str]
    digits: frozenset[str]
    numbers: frozenset[str]
    names: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Words:
        """Read a text; accents and case are folded."""
        folded = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        spelled = _WORD.findall(folded)
        words = [word.lower() for word in spelled]
        telling = [word for word in words if word not in STOP_WORDS] or words
        # The first word is capitalised whatever it is.
        capitalised = [word.lower() for word in spelled[1:] if word[0].isupper()]
        digits = frozenset(word for word in words if word[0].isdigit())
        return cls(
            all=tuple(words),
            stems=frozenset(map(_stem, telling)),
            digits=digits,
            numbers=digits | _NUMBER_WORDS.intersection(words),
            names=frozenset(_stem(word) for word in capitalised if word not in STOP_WORDS),
        )


def _meant(asked: frozenset[str], known: frozenset[str]) -> dict[str, float]:
    """Return the stems that a question means, and how much each counts as said.

    One that no statement has means one of theirs that is a slip away; what a stop word became ("whcih") says nothing.
    """
    meant = dict.fromkeys(asked & known, 1.0)
    for stem in sorted(asked - known):
        spelled = _spelled(stem, known)
        if spelled != stem:
            meant.setdefault(spelled, _SLIPPED)
        elif not any(map(partial(_mistyped, stem), STOP_WORDS)):
            meant.setdefault(stem, 1.0)
    return meant


def _mistyped(word: str, stop: str) -> bool:
    """Return whether a stop word was typed with two letters swapped, one too many or one missing.

    One exchanged for another makes other words of them: "world" of "would", "winch" of "which".
    """
    if len(word) < _LONG_ENOUGH or len(stop) < _LONG_ENOUGH:
        return False
    if len(word) == len(stop):
        return (
            any(word == stop[:n] + stop[n + 1] + stop[n] + stop[n + 2 :] for n in range(len(stop) - 1)) and word != stop
        )
    longer, shorter = sorted((word, stop), key=len, reverse=True)
    return any(shorter == longer[:n] + longer[n + 1 :] for n in range(len(longer)))


def _spelled(stem: str, known: Collection[str]) -> str:
    """Return the first of known stems that is a slip away; the stem itself if there is none.

    A slip is a letter that is missing, added, exchanged, or swapped with the next; the first one is taken to be right.
    """
    if len(stem) < _LONG_ENOUGH or stem[0].isdigit():
        return stem
    own, lengths = _slips(stem), range(max(_LONG_ENOUGH, len(stem) - 1), len(stem) + 2)
    alike = (other for other in known if other[0] == stem[0] and len(other) in lengths)
    return min((other for other in alike if not own.isdisjoint(_slips(other))), default=stem)


def _slips(word: str) -> frozenset[str]:
    """Return the word, and what is left of it without any one letter: two words one slip apart share one of these.

    The symmetric deletes of SymSpell (Garbe 2012); a few words that are two slips apart share one, too.
    """
    return frozenset([word, *(word[:place] + word[place + 1 :] for place in range(len(word)))])


def _stem(word: str) -> str:
    return word if word[0].isdigit() else _ENDING.sub("", word)
