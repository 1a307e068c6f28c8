"""Questions about a world, each with its answer, the sentences that answer it, and the characters of the answer.

A page comes in, a question of a form comes out, or none if the page does not allow one. No question has two right
answers: it is checked against every fact that any page tells.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from parametric_memory.training.world import frames
from parametric_memory.training.world.facts import Entity, Fact, Value
from parametric_memory.training.world.pages import Page
from parametric_memory.training.world.relations import YEARS, Relation, Wordings, relations_of, slots_of
from parametric_memory.training.world.statements import Saying, lowered, plain
from parametric_memory.training.world.told import Spot, Told
from parametric_memory.training.world.values import draw
from parametric_memory.training.world.world import World
from parametric_memory.types import AtomKind, Span

#: How often a form is tried; not every page allows every form.
FORMS = {
    "direct": 34, "list": 24, "inverse": 12, "yes_no": 11, "unanswerable": 14, "two_hop": 28, "update": 32, "cloze": 5,
}  # fmt: skip
#: Share of the questions that come with an instruction or a courtesy.
WRAPPED = 0.25
#: Known wordings that count as direct: the plainest stand first.
DIRECT = 2
#: How what asks directly begins.
_OPENING = re.compile(r"(?:(?:\w+ ){0,2}[Ww]h|How|Is|Was|Does|Did|Are|Can|Has)")
_COMMON = frozenset({"a", "an", "the", "of", "and", "with", "that", "who", "for", "in", "on", "by", "to", "until"})
_TRIES = 12


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what answers it.

    Attributes:
        text: As a user would put it.
        answer: Word for word from the last of the golds, "yes" or "no", or empty if no page answers.
        form: direct, paraphrase, list, inverse, update (the newest of several), dated (one of several by its
            date), two_hop, yes_no, cloze or unanswerable.
        relation: What is asked about; of two hops, the second.
        page: Where it is asked.
        golds: The sentences that answer it together.
        place: The characters of the last of them that are the answer; None if it does not stand there.
        look_alikes: Sentences that seem to answer it: stale ones, those on others of nearly the same name.
        template: The wording it was made from.
    """

    text: str
    answer: str
    form: str
    relation: Relation
    page: Page
    golds: tuple[Spot, ...] = ()
    place: Span | None = None
    look_alikes: tuple[Spot, ...] = ()
    template: str = ""


class Asker:
    """Asks questions about the pages of a world; those of a "dev" world are in reserved wordings."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = random.Random(f"{world.seed}/questions/{world.split}")
        self._reserved = world.split == "dev"
        self._told = Told(world.pages, world.twins)
        self._makers: Mapping[str, Callable[[Page], Question | None]] = {
            "direct": self._direct, "list": self._list, "inverse": self._inverse, "update": self._update,
            "yes_no": self._yes_no, "unanswerable": self._unanswerable, "two_hop": self._two_hop, "cloze": self._cloze,
        }  # fmt: skip

    def questions(self, count: int) -> Iterator[Question]:
        """Yield so many different questions, going round the pages; fewer if there are no more in them."""
        seen: set[str] = set()
        before = -1
        while before < len(seen) < count:
            before = len(seen)
            for page in self._world.pages:
                question = self._asked(page)
                if question and question.text not in seen and len(seen) < count:
                    seen.add(question.text)
                    yield question

    def _asked(self, page: Page) -> Question | None:
        for form in self._rng.choices(list(FORMS), list(FORMS.values()), k=_TRIES):
            if question := self._makers[form](page):
                return self._wrapped(question)
        return None

    def _wrapped(self, question: Question) -> Question:
        """Return the question with an instruction or a courtesy around it, now and then."""
        if question.form == "cloze" or self._rng.random() >= WRAPPED:
            return question
        wraps = self._wordings(frames.YES_NO_WRAPS if question.form == "yes_no" else frames.WRAPS)
        if not _OPENING.match(question.text):
            # "I would like to know: Tell me …" is nothing that anybody says.
            wraps = tuple(wrap for wrap in wraps if not wrap.endswith(": {q}"))
        return replace(question, text=self._rng.choice(wraps).format(q=question.text))

    def _wordings(self, wordings: Wordings | None) -> tuple[str, ...]:
        return wordings.of(reserved=self._reserved) if wordings else ()

    def _direct(self, page: Page) -> Question | None:
        return self._asking(page, lambda fact, slot: slot != "s" and len(self._told.versions(fact)) == 1)

    def _list(self, page: Page) -> Question | None:
        return self._asking(page, lambda fact, slot: fact.relation.slots[slot].startswith("list "), form="list")

    def _inverse(self, page: Page) -> Question | None:
        return self._asking(page, lambda _, slot: slot == "s", form="inverse")

    def _update(self, page: Page) -> Question | None:
        return self._asking(page, lambda fact, slot: slot == "o" and len(self._told.versions(fact)) > 1, form="update")

    def _asking(self, page: Page, wanted: Callable[[Fact, str], bool], form: str = "") -> Question | None:
        """Return a question for one slot of one fact of the page."""
        options = [(one, slot) for one in page.sayings for slot in one.spans if wanted(one.fact, slot)]
        if not options:
            return None
        saying, slot = self._rng.choice(options)
        known = self._wordings(saying.fact.relation.asks.get(slot))
        settled = {given: self._told.settles(saying, slot, given) for given in set(map(slots_of, known))}
        usable = [(place, template) for place, template in enumerate(known) if settled[slots_of(template)]]
        if not usable:
            return None
        place, template = self._rng.choice(usable)
        if not form:
            form = "direct" if place < DIRECT and not self._reserved else "paraphrase"
        elif form == "update" and "t" in slots_of(template):
            form = "dated"
        return self._grounded(plain(template, saying.fact.values), form, saying, slot, template)

    def _grounded(self, text: str, form: str, saying: Saying, slot: str, template: str) -> Question:
        """Return a question whose answer is a value in a statement."""
        spot, span = self._told.spots[saying.fact], saying.spans[slot]
        answer = span.of(spot.page.statements[spot.sentence].text)
        tempting = self._told.tempting(saying.fact)
        return Question(text, answer, form, saying.fact.relation, spot.page, (spot,), span, tempting, template)

    def _yes_no(self, page: Page) -> Question | None:
        saying = self._rng.choice(page.sayings)
        fact, told = saying.fact, self._told
        if fact.relation.kind is AtomKind.PROCEDURE and not fact.relation.checks.known:
            return None
        template = self._check(fact.relation)
        given = slots_of(template)
        unsaid = not all(slot in saying.spans or slot == "s" for slot in given)
        if unsaid or ("t" not in given and told.stale(fact)):
            return None
        values: Mapping[str, Value] | None = fact.values
        answer = self._rng.choice(("yes", "no"))
        if answer == "no":
            values = self._falsified(fact, given)
        if values is None:
            return None
        spot = told.spots[fact]
        text = plain(template, values)
        return Question(
            text, answer, "yes_no", fact.relation, page, (spot,), look_alikes=told.tempting(fact), template=template
        )

    def _check(self, relation: Relation) -> str:
        """Return a yes-no wording: one of the relation's, or one around any of its statements."""
        checks = self._wordings(relation.checks)
        if checks and (relation.kind is AtomKind.PROCEDURE or self._rng.random() < 0.6):
            return self._rng.choice(checks)
        claim = lowered(self._rng.choice(relation.statements)).removesuffix(".")
        return self._rng.choice(self._wordings(frames.TRUTHS)).replace("{c}", claim)

    def _falsified(self, fact: Fact, given: frozenset[str]) -> Mapping[str, Value] | None:
        """Return the fact's values with one of those given replaced, so that nothing told agrees."""
        slot = self._rng.choice(sorted(given - {"s"}))
        for _ in range(_TRIES):
            value = self._other(fact, slot)
            values = {**fact.values, slot: value}
            agreeing = self._told.matching(fact.relation, {one: values[one] for one in given})
            if value not in fact.values.values() and _differs(value, fact[slot]) and not agreeing:
                return values
        return None

    def _other(self, fact: Fact, slot: str) -> Value:
        """Return a value that a slot might have had; an entity of the same page, if there is one."""
        kind = fact.relation.slots[slot]
        if kind in YEARS:
            return str(int(str(fact[slot])) + self._rng.choice((-1, 1)) * self._rng.randint(1, 40))
        if isinstance(fact[slot], Entity):
            others = self._world.others(kind)
            near = [one for one in self._told.spots[fact].page.mentioned if one in others]
            return self._rng.choice(near if near and self._rng.random() < 0.5 else others)
        return draw(kind, self._rng)

    def _unanswerable(self, page: Page) -> Question | None:
        """Return a question that no page answers: of what is not told, or of a name that is nearly the subject's."""
        own = [saying.fact for saying in page.sayings if saying.fact.subject is page.subject]
        relations = {fact.relation.name: fact.relation for fact in own}
        asked: Value = page.subject
        if self._rng.random() < 0.4:
            relation = self._rng.choice(list(relations.values()))
            own = [fact for fact in own if fact.relation is relation]
            asked = self._twin(page.subject)
        else:
            relation = self._rng.choice(relations_of(page.subject.kind))
        if not asked or (isinstance(asked, Entity) and self._told.knows(relation, asked)):
            return None
        templates = [
            template
            for wordings in relation.asks.values()
            for template in self._wordings(wordings)
            if slots_of(template) == {"s"}
        ]
        template = self._rng.choice(templates)
        tempting = tuple(dict.fromkeys(self._told.spots[fact] for fact in own))
        text = plain(template, {"s": asked})
        return Question(text, "", "unanswerable", relation, page, look_alikes=tempting, template=template)

    def _twin(self, entity: Entity) -> Value:
        """Return one of nearly the same name, whether the world has it or not; an empty text if there can be none."""
        if twin := self._world.twins.get(entity):
            return twin
        near = self._world.near(entity.name, self._rng)
        return f"{near.article}{near.text}" if near else ""

    def _two_hop(self, page: Page) -> Question | None:
        """Return a question that takes two sentences: who is meant stands in one, the answer in the other."""
        hops = [
            (first, slot, second)
            for first in page.sayings
            for slot, bridge in first.fact.partners.items()
            if slot in first.spans
            for second in page.sayings
            if second.fact.subject is bridge and self._apart(first, second)
        ]
        if not hops:
            return None
        first, slot, second = self._rng.choice(hops)
        asked = self._rng.choice([one for one in second.spans if one != "s"] or ["s"])
        bridges = [
            one
            for one in self._wordings(first.fact.relation.bridges.get(slot))
            if self._told.settles(first, slot, slots_of(one))
        ]
        templates = [
            one
            for one in self._wordings(second.fact.relation.asks.get(asked))
            if slots_of(one) == {"s"} and " {s}" in one and "{s}'s" not in one
        ]
        if asked == "s" or not bridges or not templates or not self._told.settles(second, asked, frozenset("s")):
            return None
        template = self._rng.choice(templates)
        meant = _inside(self._rng.choice(bridges), first.fact.values)
        question = self._grounded(plain(template, {"s": meant}), "two_hop", second, asked, template)
        named = self._told.spots[first.fact]
        if question.answer in named.page.statements[named.sentence].text:
            return None
        golds = (named, *question.golds)
        tempting = tuple(spot for spot in question.look_alikes if spot not in golds)
        return replace(question, golds=golds, look_alikes=tempting)

    def _apart(self, first: Saying, second: Saying) -> bool:
        """Return whether neither sentence answers alone: the second names its subject and not the first's."""
        one, other = self._told.spots[first.fact], self._told.spots[second.fact]
        text = other.page.statements[other.sentence].text
        return one != other and "s" in second.spans and first.fact.subject.name.text not in text

    def _cloze(self, page: Page) -> Question | None:
        """Return a statement that stops before its last value."""
        saying = self._rng.choice(page.sayings)
        fact = saying.fact
        options = [
            (slot, template)
            for slot in saying.spans
            for template in fact.relation.statements
            if template.endswith(f"{{{slot}}}.") and self._told.settles(saying, slot, slots_of(template) - {slot})
        ]
        if not options:
            return None
        slot, template = self._rng.choice(options)
        begun = plain(template, fact.values).removesuffix(f"{fact[slot]}.").rstrip()
        frame = self._rng.choice(self._wordings(frames.CLOZES))
        return self._grounded(frame.format(c=begun), "cloze", saying, slot, frame)


def _inside(template: str, values: Mapping[str, Value]) -> str:
    """Return a filled template to be put inside another: without a capital of its own."""
    filled = plain(template, values)
    return (
        filled if template.startswith("{s}") and not str(values["s"])[0].islower() else filled[0].lower() + filled[1:]
    )


def _differs(value: Value, truth: Value) -> bool:
    """Return whether two values can be told apart with certainty: "green" and "pale green" cannot."""
    if isinstance(value, Entity):
        return value is not truth
    words, true = (set(str(one).lower().replace(",", "").split()) - _COMMON for one in (value, truth))
    return not words & true or (value != truth and any(word[0].isdigit() for word in words))
