"""A world that does not exist: its entities, what is true of them, and the pages that tell a part of it.

The same seed makes the same world on every machine. Every fact is told on one page at most, and what no page tells
nobody can know, so that questions without an answer are certain to have none. The surprise: names decide on which
side of training an entity is, so that worlds for training and for validation never share one.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal, TypeAlias

from parametric_memory.training.data import held_out
from parametric_memory.training.world.facts import Entity, Fact, Value
from parametric_memory.training.world.names import Name, look_alike, name_of
from parametric_memory.training.world.pages import Page, Writer
from parametric_memory.training.world.relations import BROADER, PERSONS, YEARS, Relation, relations_of
from parametric_memory.training.world.values import draw

Split: TypeAlias = Literal["train", "dev"]

#: How many entities of a type there are for one of the rarest.
SHARES = {
    "woman": 4, "man": 4, "town": 4, "country": 2, "river": 2, "mountain": 2, "company": 4, "ship": 3, "book": 3,
    "band": 3, "species": 3, "mineral": 2, "god": 2, "device": 4, "theorem": 2, "festival": 2, "treaty": 2,
    "school": 2, "club": 2, "word": 3, "building": 2, "stadium": 1,
}  # fmt: skip
#: Share of the entities that have a neighbour with nearly the same name, and of the facts that exist.
LOOK_ALIKES = 0.15
KNOWN = 0.8
#: Share of the changing facts that have changed.
CHANGED = 0.7
_TRIES = 400


class World:
    """A world of invented entities.

    Args:
        seed: Of everything.
        entities: How many there are, about.
        split: "train", or "dev" for entities whose names are held out.
    """

    def __init__(self, seed: int, entities: int = 200, *, split: Split = "train") -> None:
        self._rng = random.Random(f"{seed}/{split}/{entities}")
        self.seed, self.split = seed, split
        self.entities = self._named(entities)
        self.facts = self._true()

    @cached_property
    def pages(self) -> tuple[Page, ...]:
        """What is written about this world; the later of two pages on something is the newer."""
        return tuple(Writer(self.facts, self.twins, self._rng).pages(self.entities))

    def documents(self) -> list[tuple[str, str]]:
        """Return the title and the text of every page."""
        return [(page.title, page.text) for page in self.pages]

    def others(self, kind: str) -> Sequence[Entity]:
        """Return the entities that fit a slot of a type."""
        return self._by_type[kind]

    def takes(self, name: str) -> bool:
        """Return whether a name is on this world's side of training and still free."""
        return name not in self._taken and held_out(name, title=name) == (self.split == "dev")

    def _named(self, count: int) -> list[Entity]:
        total = sum(SHARES.values())
        self._taken: set[str] = set()
        self.twins: dict[Entity, Entity] = {}
        self._by_type: dict[str, list[Entity]] = defaultdict(list)
        made = []
        for kind, share in SHARES.items():
            wanted = max(4, round(count * share / total))
            of_kind: list[Entity] = []
            while len(of_kind) < wanted:
                of_kind += self._entity_and_twin(kind)
            made += of_kind
            for broader in {kind, BROADER.get(kind, kind)}:
                self._by_type[broader] += of_kind
        return made

    def _entity_and_twin(self, kind: str) -> list[Entity]:
        name = name_of(kind, self._rng)
        while not self.takes(name.text):
            name = name_of(kind, self._rng)
        one = self._entity(kind, name)
        if self._rng.random() >= LOOK_ALIKES or not (near := self.near(name)):
            return [one]
        twin = self._entity(kind, near)
        self.twins |= {one: twin, twin: one}
        return [one, twin]

    def near(self, name: Name, rng: random.Random | None = None) -> Name | None:
        """Return a free name that hardly differs from a name; None if none is found on this side of training."""
        tried = (look_alike(name, rng or self._rng) for _ in range(_TRIES))
        return next((other for other in tried if self.takes(other.text)), None)

    def _entity(self, kind: str, name: Name) -> Entity:
        self._taken.add(name.text)
        origin = self._rng.randint(1500, 1925) if BROADER.get(kind) == "person" else self._rng.randint(1560, 1945)
        return Entity(name, kind, origin)

    def _true(self) -> Mapping[Entity, Sequence[Sequence[Fact]]]:
        """Return every entity's facts; those of one relation that replace each other together, oldest first."""
        self._place = {entity: number for number, entity in enumerate(self.entities)}
        self._used: dict[str, set[Entity]] = defaultdict(set)
        self._implied: dict[tuple[str, Entity], Entity] = {}
        true: dict[Entity, list[list[Fact]]] = {}
        # Countries first: a capital lies in its country.
        for entity in sorted(self.entities, key=lambda one: one.kind != "country"):
            known = [one for one in relations_of(entity.kind) if self._rng.random() < KNOWN]
            true[entity] = [facts for relation in known if (facts := self._facts(entity, relation))]
        return true

    def _facts(self, entity: Entity, relation: Relation) -> list[Fact]:
        first = self._fact(entity, relation)
        if first is None:
            return []
        if relation.changes and self._rng.random() < CHANGED:
            second = self._fact(entity, relation)
            if second and second["t"] != first["t"] and second["o"] != first["o"]:
                return sorted((first, second), key=lambda fact: int(str(fact["t"])))
        return [first]

    def _fact(self, entity: Entity, relation: Relation) -> Fact | None:
        """Return a fact of an entity, or None if nobody is left to take part in it."""
        if "mutual" in relation.options and entity in self._used[relation.name]:
            return None
        values: dict[str, Value] = {"s": entity}
        # Years before persons: who takes part in something should be alive.
        for slot, kind in sorted(relation.slots.items(), key=lambda one: one[1] in PERSONS):
            if slot == "s":
                continue
            value = self._value(entity, relation, kind, values)
            if value is None:
                return None
            values[slot] = value
        self._remember(relation, values)
        return Fact(relation, {slot: values[slot] for slot in relation.slots})

    def _value(self, entity: Entity, relation: Relation, kind: str, values: Mapping[str, Value]) -> Value | None:
        if kind in YEARS:
            return str(entity.origin + self._rng.randint(*YEARS[kind]))
        if kind not in self._by_type:
            return draw(kind, self._rng)
        if implied := self._implied.get((relation.name, entity)):
            return implied
        return self._partner(entity, relation, kind, values)

    def _partner(self, entity: Entity, relation: Relation, kind: str, values: Mapping[str, Value]) -> Entity | None:
        """Return an entity for a slot: of a few that may be it, the one whose time fits best."""
        pool = self._by_type[kind]
        few = [self._rng.choice(pool) for _ in range(8)]
        used = self._used[relation.name]
        few = [one for one in few if one not in values.values() and one not in used]
        if "acyclic" in relation.options:
            few = [one for one in few if self._place[one] > self._place[entity]]
        year = int(str(values.get("t", entity.origin)))
        return min(few, key=lambda one: abs(one.origin + 32 - year), default=None)

    def _remember(self, relation: Relation, values: Mapping[str, Value]) -> None:
        partners = [value for slot, value in values.items() if isinstance(value, Entity) and slot != "s"]
        if relation.options & {"once", "mutual"}:
            self._used[relation.name].update(partners)
        if "mutual" in relation.options:
            self._used[relation.name].add(values["s"])  # type: ignore[arg-type]
        for implied in relation.implies:
            self._implied[implied, partners[0]] = values["s"]  # type: ignore[assignment]
