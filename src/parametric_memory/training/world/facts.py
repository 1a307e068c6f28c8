"""Entities, and facts about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from parametric_memory.training.world.names import Name
from parametric_memory.training.world.relations import BROADER, Relation


@dataclass(frozen=True, slots=True, eq=False)
class Entity:
    """Something with a name; ``origin`` is the year in which it came to be."""

    name: Name
    kind: str
    origin: int

    @property
    def pronouns(self) -> tuple[str, str] | None:
        """How it is spoken of, as in "he" and "his"; None if by its name alone."""
        return {"woman": ("she", "her"), "man": ("he", "his"), "god": None}.get(self.kind, ("it", "its"))

    @property
    def sort(self) -> str:
        """Its type; that of persons, whether man or woman."""
        return BROADER.get(self.kind, self.kind)

    def __str__(self) -> str:
        return f"{self.name.article}{self.name.text}"


Value: TypeAlias = Entity | str


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """A relation with its slots filled."""

    relation: Relation
    values: Mapping[str, Value]

    def __getitem__(self, slot: str) -> Value:
        return self.values[slot]

    @property
    def subject(self) -> Entity:
        """The entity that it is about."""
        subject = self.values["s"]
        assert isinstance(subject, Entity)
        return subject

    @property
    def partners(self) -> Mapping[str, Entity]:
        """The other entities in it, by slot."""
        return {slot: value for slot, value in self.values.items() if isinstance(value, Entity) and slot != "s"}
