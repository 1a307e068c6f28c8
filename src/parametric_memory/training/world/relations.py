"""Relations: what can be said of an entity, in many wordings of statements and of questions.

They are read from ``tables/*.txt``. A relation has slots: ``s`` is its subject, the others hold entities or values. A
statement says some of them; a question asks for one and names others. Wordings of validation (marked ``!`` and ``Y``)
are reserved: training never shows them.

The lines of a table::

    [name] kind option; s person; o origin; p town    a relation and its slots
    noun o are: languages      a noun for a slot, from which further wordings are made
    = {s} was born in {o}.     a statement
    , born in {p} in {o}       a clause that says it in another statement
    ? o: … | …                 questions that ask for a slot; ! reserved ones
    y: … | …                   yes-no questions; Y reserved ones
    ^ p: … | …                 a description of the entity in a slot, for questions over two hops
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from parametric_memory.types import AtomKind

TABLES = ("people", "places", "works", "nature", "things", "public")
#: What a type is besides: its slots and relations are open to it too.
BROADER = {"woman": "person", "man": "person", "stadium": "building"}
#: Kinds of years, by how long after its subject's origin something may happen.
YEARS = {"origin": (0, 0), "later": (16, 70), "late": (71, 92)}
#: Types of slots that hold a person.
PERSONS = frozenset({"person", "woman"})
_SLOT = re.compile(r"\{(\w)\}")
_STATEMENTS = ("The {noun} of {s} {verb} {slot}.", "{s}'s {noun} {verb} {slot}.")
_ASKED = (
    "{what} {verb} the {noun} of {s}?",
    "Tell me the {noun} of {s}.",
    "Give the {noun} of {s}.",
    "{s}: {noun}?",
    "Do you know the {noun} of {s}?",
)
_ASKED_RESERVED = (
    "{what} {verb} {s}'s {noun}?",
    "{Noun} of {s}?",
    "I am looking for the {noun} of {s}.",
    "Could you name the {noun} of {s}?",
)


@dataclass(frozen=True, slots=True)
class Wordings:
    """Templates: those that may be trained on, and those that are reserved for validation."""

    known: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()

    def of(self, *, reserved: bool) -> tuple[str, ...]:
        """Return one of the two sets."""
        return self.reserved if reserved else self.known


@dataclass(slots=True)
class Relation:
    """A relation; templates have slots in braces.

    Attributes:
        name: Unique.
        kind: What kind of atom its statements are.
        options: "changes" if later values replace earlier ones, "mutual" if it holds both ways, "once" if no two
            subjects share an object, "acyclic" if nothing comes back to itself, "implies=other" if the object has that
            other relation to the subject.
        slots: The type of entity, or the kind of value, in each slot.
        says: Statements.
        clauses: Parts of a sentence that can follow the subject of another statement, between commas.
        asks: Questions by the slot they ask for.
        checks: Questions to be answered by yes or no.
        bridges: Descriptions of the entity in a slot.
    """

    name: str
    kind: AtomKind
    options: frozenset[str]
    slots: Mapping[str, str]
    says: list[str] = field(default_factory=list)
    clauses: list[str] = field(default_factory=list)
    asks: dict[str, Wordings] = field(default_factory=dict)
    checks: Wordings = field(default_factory=Wordings)
    bridges: dict[str, Wordings] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether a later value replaces an earlier one."""
        return "changes" in self.options

    @property
    def implies(self) -> tuple[str, ...]:
        """Relations that the object then has to the subject."""
        return tuple(option.removeprefix("implies=") for option in self.options if option.startswith("implies="))

    @property
    def statements(self) -> Sequence[str]:
        """What says it; of a relation that changes, what says since when it holds."""
        return [template for template in self.says if not self.changes or "t" in slots_of(template)]


def slots_of(template: str) -> frozenset[str]:
    """Return the slots that a template names."""
    return frozenset(_SLOT.findall(template))


@cache
def relations() -> tuple[Relation, ...]:
    """Return all relations."""
    return tuple(relation for table in TABLES for relation in _read(table))


@cache
def relations_of(kind: str) -> tuple[Relation, ...]:
    """Return the relations whose subject is an entity of a type."""
    return tuple(relation for relation in relations() if relation.slots["s"] in {kind, BROADER.get(kind)})


def _read(table: str) -> Iterator[Relation]:
    text = (files(__package__) / "tables" / f"{table}.txt").read_text(encoding="utf-8")
    for block in text.strip().split("\n\n"):
        head, *lines = block.splitlines()
        relation = _headed(head)
        for line in lines:
            _add(relation, line)
        _add_years(relation)
        yield relation


def _add_years(relation: Relation) -> None:
    """Add to the questions that ask when, those that ask for the year in the same words."""
    for slot in relation.slots.keys() & {"t", "o"}:
        if relation.slots[slot] in YEARS and slot in relation.asks:
            asked = relation.asks[slot]
            rests = [template.removeprefix("When ") for template in asked.known if template.startswith("When ")]
            asked = _with(asked, [f"In what year {rest}" for rest in rests], reserved=False)
            relation.asks[slot] = _with(asked, [f"During which year {rest}" for rest in rests], reserved=True)


def _headed(line: str) -> Relation:
    """Return a relation without wordings from the first line of its block."""
    named, *slots = line.split("; ")
    name, kind, *options = named.split()
    types = dict(slot.split(" ", 1) for slot in slots)
    return Relation(name.strip("[]"), AtomKind(kind), frozenset(options), types)


def _add(relation: Relation, line: str) -> None:
    """Add a line's wordings to a relation."""
    if line.startswith("= "):
        relation.says.append(line[2:])
    elif line.startswith(", "):
        relation.clauses.append(line[2:])
    elif line.startswith("noun "):
        _add_noun(relation, *line.removeprefix("noun ").split(": "))
    else:
        mark, templates = line.split(": ", 1)
        wordings = tuple(templates.split(" | "))
        if mark in {"y", "Y"}:
            relation.checks = _with(relation.checks, wordings, reserved=mark == "Y")
        else:
            table = relation.bridges if mark[0] == "^" else relation.asks
            table[mark[2]] = _with(table.get(mark[2]), wordings, reserved=mark[0] == "!")


def _add_noun(relation: Relation, slot: str, noun: str) -> None:
    """Add what can be said and asked with a noun for a slot ("mayor" for the object of governing a town)."""
    slot, _, verb = slot.partition(" ")
    words = {
        "s": "{s}",
        "slot": f"{{{slot}}}",
        "noun": noun,
        "Noun": noun[0].upper() + noun[1:],
        "verb": verb or "is",
        "what": "Who" if relation.slots[slot] in PERSONS else "What",
    }
    # What changes is only ever said with its date.
    if not relation.changes:
        relation.says += [template.format(**words) for template in _STATEMENTS]
    known, reserved = ([template.format(**words) for template in group] for group in (_ASKED, _ASKED_RESERVED))
    asked = _with(relation.asks.get(slot), known, reserved=False)
    relation.asks[slot] = _with(asked, reserved, reserved=True)
    bridge = _with(relation.bridges.get(slot), (f"the {noun} of {{s}}",), reserved=False)
    relation.bridges[slot] = _with(bridge, (f"{{s}}'s {noun}",), reserved=True)


def _with(old: Wordings | None, new: Sequence[str], *, reserved: bool) -> Wordings:
    old = old or Wordings()
    return Wordings(old.known, (*old.reserved, *new)) if reserved else Wordings((*old.known, *new), old.reserved)
