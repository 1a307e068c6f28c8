"""Pages: documents about a world, each with a title and a few statements in natural order.

Facts go in, pages come out; each fact is told once. After its first mention an entity may be told by a pronoun or a
shorter name, but only where nothing else could be meant.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from parametric_memory.training.world.facts import Entity, Fact
from parametric_memory.training.world.statements import Naming, Saying, Statement, contrast, tell, tell_both

#: Shares of pages with one sentence, of pages that use pronouns, and of single sentences under no title.
SINGLE, CONTEXTUAL, UNTITLED = 0.25, 0.5, 0.4
#: Shares of statements that tell two facts, of a page's entities that are told about, of changes on their own page.
DOUBLE, ASIDE, APART = 0.3, 0.65, 0.4
#: Share of pages with a sentence that tells nothing, and with one on an entity of nearly the same name.
FILLED, CONFUSED = 0.35, 0.6
MOST_FACTS = 7
_FILLERS = (
    "Little else has been written about {s}.",
    "Opinions about {s} have always been divided.",
    "A small exhibition about {s} can be visited on request.",
    "Those who ask about {s} hear many stories, and few of them agree.",
    "Several letters that mention {s} have been lost.",
    "A longer account of {s} is in preparation.",
    "There is a song about {s} that nobody sings any more.",
    "Historians still argue about the importance of {s}.",
    "Much of what was once known about {s} has been forgotten.",
    "Nobody has counted the rumours about {s}.",
)


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A document: its title (which may be empty), what it is about, its sentences in order."""

    title: str
    subject: Entity
    statements: tuple[Statement, ...]

    @property
    def text(self) -> str:
        """The sentences, one after the other."""
        return " ".join(statement.text for statement in self.statements)

    @property
    def sayings(self) -> list[Saying]:
        """What its sentences tell."""
        return [saying for statement in self.statements for saying in statement.sayings]

    @property
    def mentioned(self) -> list[Entity]:
        """The entities that take part in what it tells."""
        return list(dict.fromkeys(entity for statement in self.statements for entity in statement.mentioned))


class Writer:
    """Writes pages until every entity has had one.

    Args:
        facts: Of every entity; those that replace each other together, oldest first.
        twins: Entities of nearly the same name.
        rng: Decides what is told, and how.
    """

    def __init__(
        self,
        facts: Mapping[Entity, Sequence[Sequence[Fact]]],
        twins: Mapping[Entity, Entity],
        rng: random.Random,
    ) -> None:
        self._untold = {entity: [list(group) for group in groups] for entity, groups in facts.items()}
        self._twins, self._rng = twins, rng

    def pages(self, entities: Sequence[Entity]) -> Iterator[Page]:
        """Yield the pages about some entities, later ones after earlier ones."""
        later = []
        for entity in self._rng.sample(list(entities), len(entities)):
            groups = self._taken(entity, self._rng.randint(2, MOST_FACTS))
            if not groups:
                continue
            single = self._rng.random() < SINGLE
            if single:
                # What does not fit in one sentence is left for pages that mention the entity.
                self._untold[entity] += groups[1:]
                groups = groups[:1]
            now = [group[0] for group in groups]
            changes = [fact for group in groups for fact in group[1:]]
            apart = [fact for fact in changes if single or self._rng.random() < APART]
            later += [self._page(entity, [fact]) for fact in apart]
            kept = [fact for fact in changes if fact not in apart]
            yield self._alone(entity, now[0]) if single else self._page(entity, [*now, *kept])
        yield from later

    def _taken(self, entity: Entity, count: int) -> list[list[Fact]]:
        """Return some facts of an entity that no page has told, in the order of the tables."""
        groups = self._untold[entity]
        chosen = sorted(self._rng.sample(range(len(groups)), min(count, len(groups))))
        self._untold[entity] = [group for place, group in enumerate(groups) if place not in chosen]
        return [groups[place] for place in chosen]

    def _alone(self, entity: Entity, fact: Fact) -> Page:
        title = "" if self._rng.random() < UNTITLED else entity.name.text
        twin = self._about_twin(entity, [fact])
        if twin and (both := contrast(fact, twin, self._rng)):
            self._tell_of(twin)
            return Page(title, entity, (both,))
        return Page(title, entity, (tell(fact, self._rng),))

    def _page(self, entity: Entity, facts: Sequence[Fact]) -> Page:
        statements = self._told(entity, facts)
        if (twin := self._about_twin(entity, facts)) and self._rng.random() < CONFUSED:
            self._tell_of(twin)
            self._insert(statements, tell(twin, self._rng))
        for other in {one: None for fact in facts for one in fact.partners.values()}:
            if self._rng.random() < ASIDE and (fact := self._single(other)):
                self._insert(statements, tell(fact, self._rng))
        if self._rng.random() < FILLED:
            self._insert(statements, Statement(self._rng.choice(_FILLERS).format(s=entity)))
        return Page(entity.name.text, entity, tuple(statements))

    def _told(self, entity: Entity, facts: Sequence[Fact]) -> list[Statement]:
        """Return statements of facts about an entity, in their order."""
        contextual = self._rng.random() < CONTEXTUAL
        statements: list[Statement] = []
        queue = list(facts)
        while queue:
            fact = queue.pop(0)
            naming = self._naming(entity, statements, queue[:1], fact) if contextual else "full"
            both = None
            if queue and queue[0].relation != fact.relation and self._rng.random() < DOUBLE:
                both = tell_both(fact, queue[0], self._rng, naming)
            if both:
                queue.pop(0)
            statements.append(both or tell(fact, self._rng, naming))
        return statements

    def _naming(self, entity: Entity, before: Sequence[Statement], after: Sequence[Fact], fact: Fact) -> Naming:
        """Return how the entity may be told: by pronoun or a shorter name if nobody else on the page could be meant."""
        if not before:
            return "full"
        partners = [*fact.partners.values(), *(one for other in after for one in other.partners.values())]
        others = [one for one in [*partners, *(one for said in before for one in said.mentioned)] if one != entity]
        if any(one.sort == entity.sort for one in others):
            return "full"
        previous = [one for one in before[-1].mentioned if one != entity]
        clear = entity.sort == "person" or not any(one.pronouns == entity.pronouns for one in previous)
        return self._rng.choice(("full", "short", "pronoun", "pronoun")) if clear else "short"

    def _about_twin(self, entity: Entity, facts: Sequence[Fact]) -> Fact | None:
        """Return an untold fact of the entity with nearly the same name that one might take for one of these."""
        relations = [fact.relation for fact in facts if not fact.relation.changes]
        groups = self._untold.get(self._twins.get(entity, entity), []) if entity in self._twins else []
        return next((group[0] for group in groups if group[0].relation in relations), None)

    def _single(self, entity: Entity) -> Fact | None:
        """Return an untold fact of an entity that has not changed, and count it as told."""
        groups = [group for group in self._untold[entity] if len(group) == 1]
        if not groups:
            return None
        fact = self._rng.choice(groups)[0]
        self._tell_of(fact)
        return fact

    def _tell_of(self, fact: Fact) -> None:
        groups = self._untold[fact.subject]
        self._untold[fact.subject] = [group for group in groups if fact not in group]

    def _insert(self, statements: list[Statement], new: Statement) -> None:
        """Put a statement at the end, or before one that names its subject in full."""
        named = [place for place, (_, one) in enumerate(pairwise(statements), 1) if _named_in_full(one)]
        statements.insert(self._rng.choice([*named, len(statements)]), new)


def _named_in_full(statement: Statement) -> bool:
    return all("s" in saying.spans for saying in statement.sayings)
