"""What the pages of a world tell: which facts, where, and whether something is the only answer to a question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from parametric_memory.training.world.facts import Entity, Fact, Value
from parametric_memory.training.world.pages import Page
from parametric_memory.training.world.relations import Relation
from parametric_memory.training.world.statements import Saying


class Spot(NamedTuple):
    """A sentence of a page."""

    page: Page
    sentence: int


class Told:
    """The facts that some pages tell."""

    def __init__(self, pages: Sequence[Page], twins: Mapping[Entity, Entity]) -> None:
        self._twins = twins
        self.spots = {
            saying.fact: Spot(page, index)
            for page in pages
            for index, statement in enumerate(page.statements)
            for saying in statement.sayings
        }
        self._facts: dict[tuple[str, str, str], list[Fact]] = defaultdict(list)
        self._known: set[tuple[str, Entity]] = set()
        for fact in self.spots:
            self._learn(fact)

    def _learn(self, fact: Fact) -> None:
        relation = fact.relation
        for slot, value in fact.values.items():
            self._facts[relation.name, slot, str(value)].append(fact)
        self._known.add((relation.name, fact.subject))
        # What is told of one side of a pair is told of the other, and so is what a fact implies.
        names = (*relation.implies, relation.name) if "mutual" in relation.options else relation.implies
        self._known.update((name, partner) for partner in fact.partners.values() for name in names)

    def knows(self, relation: Relation, entity: Entity) -> bool:
        """Return whether any page tells this of an entity, or lets one infer it."""
        return (relation.name, entity) in self._known

    def matching(self, relation: Relation, given: Mapping[str, Value]) -> list[Fact]:
        """Return the told facts of a relation with these values."""
        lists = [self._facts.get((relation.name, slot, str(value)), []) for slot, value in given.items()]
        shortest = min(lists, key=len, default=[])
        return [fact for fact in shortest if all(str(fact[slot]) == str(value) for slot, value in given.items())]

    def versions(self, fact: Fact) -> list[Fact]:
        """Return a fact and those that it replaced, or that replaced it."""
        return self.matching(fact.relation, {"s": fact.subject}) if fact.relation.changes else [fact]

    def stale(self, fact: Fact) -> bool:
        """Return whether a newer version of a fact is told."""
        return fact.relation.changes and any(int(str(one["t"])) > int(str(fact["t"])) for one in self.versions(fact))

    def settles(self, saying: Saying, slot: str, given: frozenset[str]) -> bool:
        """Return whether the statement says what is given, and its value is the only one that this leaves.

        Of what changes the newest counts, unless a date is given or asked for.
        """
        fact = saying.fact
        if not all(one in saying.spans or one == "s" for one in given):
            return False
        found = self.matching(fact.relation, {one: fact[one] for one in given})
        if "t" not in given and slot != "t":
            found = [one for one in found if not self.stale(one)]
        return {str(one[slot]) for one in found} == {str(fact[slot])}

    def tempting(self, fact: Fact) -> tuple[Spot, ...]:
        """Return where other versions of a fact stand, its like on the page, and its like of a similar name."""
        spot = self.spots[fact]
        others = self.versions(fact)
        if twin := self._twins.get(fact.subject):
            others = [*others, *self.matching(fact.relation, {"s": twin})]
        told = [one for statement in spot.page.statements for one in statement.sayings]
        others = [*others, *(one.fact for one in told if one.fact.relation is fact.relation)]
        return tuple(dict.fromkeys(self.spots[one] for one in others if self.spots[one] != spot))
