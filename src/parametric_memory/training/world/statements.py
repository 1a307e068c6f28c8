"""Statements: sentences that tell one fact or two, and the characters where every value stands.

While a sentence is put together, each value is wrapped in control characters that say which slot of which fact it
fills; in the end they are taken out again and have become spans. So places are exact by construction.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from parametric_memory.training.world.facts import Entity, Fact, Value
from parametric_memory.training.world.values import draw, with_articles
from parametric_memory.types import AtomKind, Span

Naming: TypeAlias = Literal["full", "short", "pronoun"]

_MARK = re.compile(r"\x01(\d+)(\w)\x02([^\x03]*)\x03")
_SLOT = re.compile(r"\{(\w)\}")
#: A subject that another statement's clause, or another verb, can follow.
_OPENING = re.compile(r"\{s\} (?!and |in |or )")
_LEADS = (
    "According to {source}, ",
    "According to {source}, ",
    "According to {source}, ",
    "As far as anybody knows, ",
    "It is well known that ",
    "By all accounts, ",
    "Records show that ",
    "Few people remember that ",
    "It is said that ",
)
LED = 0.12


@dataclass(frozen=True, slots=True)
class Saying:
    """A fact that a statement tells, and where its values stand; slots that are not said, or not by name, have none."""

    fact: Fact
    spans: Mapping[str, Span]


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence, what it tells, and of what kind it is."""

    text: str
    sayings: tuple[Saying, ...] = ()
    kind: AtomKind = AtomKind.FACT

    @property
    def mentioned(self) -> list[Entity]:
        """The entities that take part in what it tells."""
        return [value for one in self.sayings for value in one.fact.values.values() if isinstance(value, Entity)]


@dataclass(slots=True)
class Sentence:
    """A sentence in the making: text with marked values, and the facts that the marks count."""

    text: str
    facts: list[Fact] = field(default_factory=list)

    def done(self) -> Statement:
        """Return the statement: articles as they sound, a capital letter in front, marks as spans."""
        marked = capitalised(with_articles(self.text))
        spans: list[dict[str, Span]] = [{} for _ in self.facts]
        text, end = "", 0
        for found in _MARK.finditer(marked):
            text += marked[end : found.start()]
            spans[int(found[1])][found[2]] = Span(len(text), len(text) + len(found[3]))
            text, end = text + found[3], found.end()
        sayings = tuple(Saying(fact, places) for fact, places in zip(self.facts, spans, strict=True))
        return Statement(text + marked[end:], sayings, self.facts[0].relation.kind)


def plain(template: str, values: Mapping[str, Value | str]) -> str:
    """Return a template with its slots filled, ready to be read."""
    return capitalised(with_articles(_SLOT.sub(lambda found: str(values[found[1]]), template)))


def capitalised(text: str) -> str:
    """Return a text whose first letter is a capital, whatever marks stand before it."""
    at = next((place for place, letter in enumerate(text) if letter.isalnum() and not _in_mark(text, place)), 0)
    return text[:at] + text[at].upper() + text[at + 1 :]


def lowered(template: str) -> str:
    """Return a template to go on with inside a sentence; it may begin with a slot, which stays as it is."""
    return template if template.startswith("{") else template[0].lower() + template[1:]


def tell(fact: Fact, rng: random.Random, naming: Naming = "full") -> Statement:
    """Return a statement of one fact."""
    template = _template(fact, rng, opening=naming == "pronoun" and rng.random() < 0.9)
    if fact.relation.kind != AtomKind.PROCEDURE and rng.random() < LED:
        lead = rng.choice(_LEADS)
        template = lead.replace("{source}", draw("source", rng)) + lowered(template)
    return Sentence(_filled(template, fact, 0, naming), [fact]).done()


def tell_both(first: Fact, second: Fact, rng: random.Random, naming: Naming = "full") -> Statement | None:
    """Return one statement of two facts about the same entity, or None if their wordings do not go together."""
    clauses = [clause for clause in second.relation.clauses if not second.relation.changes]
    openings = [template for template in first.relation.statements if _OPENING.match(template)]
    if clauses and openings and naming == "full" and rng.random() < 0.7:
        rest = rng.choice(openings).removeprefix("{s}")
        text = f"{_filled('{s}', first, 0, naming)}, {_filled(rng.choice(clauses), second, 1, naming)},"
        return Sentence(text + _filled(rest, first, 0, naming), [first, second]).done()
    return _joined(first, second, rng, naming, " and ")


def contrast(first: Fact, second: Fact, rng: random.Random) -> Statement | None:
    """Return one statement of the same relation of two entities, or None if its wordings do not allow it."""
    said = [template for template in first.relation.statements if _OPENING.match(template) and "," not in template]
    if not said or first.relation.kind == AtomKind.PROCEDURE:
        return None
    template = rng.choice(said)
    text = f"{_filled(template, first, 0, 'full').removesuffix('.')}, while {_filled(template, second, 1, 'full')}"
    return Sentence(text, [first, second]).done()


def _joined(first: Fact, second: Fact, rng: random.Random, naming: Naming, conjunction: str) -> Statement | None:
    one, other = (
        [
            template
            for template in fact.relation.statements
            if _OPENING.match(template) and not re.search(r",| and |:", template)
        ]
        for fact in (first, second)
    )
    if not one or not other or AtomKind.PROCEDURE in {first.relation.kind, second.relation.kind}:
        return None
    begun = _filled(rng.choice(one), first, 0, naming).removesuffix(".")
    rest = _filled(rng.choice(other).removeprefix("{s} "), second, 1, naming)
    return Sentence(begun + conjunction + rest, [first, second]).done()


def _template(fact: Fact, rng: random.Random, *, opening: bool) -> str:
    said = fact.relation.statements
    return rng.choice([one for one in said if one.startswith("{s}")] or said) if opening else rng.choice(said)


def _filled(template: str, fact: Fact, number: int, naming: Naming) -> str:
    """Return a template with the values of a fact, marked with its number; the subject is named as asked."""
    subject = fact.subject
    if naming != "full":
        if naming == "pronoun" and subject.pronouns and template.startswith("{s}"):
            pronoun, possessive = subject.pronouns
            rest = template.removeprefix("{s}")
            owned = rest.removeprefix("'s")
            template = possessive + owned if owned != rest else pronoun + rest
        template = template.replace("{s}", subject.name.short)
    return _SLOT.sub(lambda found: _marked(fact[found[1]], number, found[1]), template)


def _marked(value: Value, number: int, slot: str) -> str:
    if isinstance(value, Entity):
        return f"{value.name.article}\x01{number}{slot}\x02{value.name.text}\x03"
    return f"\x01{number}{slot}\x02{value}\x03"


def _in_mark(text: str, place: int) -> bool:
    """Return whether a character belongs to a mark, not to the text."""
    opened = text.rfind("\x01", 0, place)
    return opened >= 0 and "\x02" not in text[opened:place]
