"""Kinds of rows: a row of a file in, a draft of its questions out. One function a kind.

A kind never fails on a row it cannot use: the draft says why, in words that are counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from parametric_memory.training.alignment import (
    MOST_SUPPORTS,
    align,
    closest,
    gather,
    run_through,
    stems,
    support,
    weigh,
)
from parametric_memory.training.corpus import Example, Place
from parametric_memory.training.templates import ask, is_name, is_pronoun
from parametric_memory.types import stable_id

Row: TypeAlias = Mapping[str, Any]  # JSON
Split: TypeAlias = Callable[[str], Sequence[str]]

#: All sentences of a document of so many answer a question that has to be thought about.
SHORT_DOCUMENT = 8
MOST_LOOK_ALIKES = 4
#: Least share of a free-form answer's words that must stand in its document.
LEAST_FOUND = 0.5


class Section(NamedTuple):
    """Sentences under a title."""

    title: str
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a row gives.

    Attributes:
        sections: Its text.
        examples: Its questions; their atoms are numbers of the text's sentences, counted through all sections.
        left_out: For each question that cannot be used, why.
    """

    sections: tuple[Section, ...]
    examples: tuple[Example, ...] = ()
    left_out: tuple[str, ...] = ()


Kind: TypeAlias = Callable[[Row, Split], Draft]


def extractive(row: Row, split: Split) -> Draft:
    """Read a question whose answer is a part of its document, or that nothing in it answers."""
    section = _whole(row, split)
    if not row["answers"]:
        return _unanswerable(row, section)
    return _draft(section, _literal(row["question"], _answers(row), section.texts), "no sentence holds the answer")


def free_form(row: Row, split: Split) -> Draft:
    """Read a question that is answered in other words than its document's, unless those are there."""
    section, answers = _whole(row, split), _answers(row)
    question, texts = row["question"], section.texts
    literal = _literal(question, answers, texts)
    if literal or not answers:
        return _draft(section, literal, "no answer")
    golds = support(question, answers[0], texts)
    found = stems(answers[0]) & stems(" ".join(texts))
    enough = golds and len(found) >= LEAST_FOUND * len(stems(answers[0]))
    example = Example(question, answers[0], golds) if enough else None
    return _draft(section, example, "the document lacks the answer's words")


def reasoned(row: Row, split: Split) -> Draft:
    """Read a question that has to be thought about: the whole of a short document answers it, or what is closest."""
    section, answers = _whole(row, split), _answers(row)
    question, texts = row["question"], section.texts
    if not answers:
        return _draft(section, None, "no answer")
    answer = "" if _says_yes_or_no(answers) else answers[0]
    count = len(texts) if len(texts) <= SHORT_DOCUMENT else MOST_SUPPORTS
    golds = closest(texts, weigh(texts, question=question, answer=answer), count=count)
    place = align(question, answer, texts)
    golds = tuple(sorted({*golds, *([place.atom] if place else [])}))
    example = Example(question, answers[0], golds, (place,) if place else ()) if golds else None
    return _draft(section, example, "nothing in the document is close to it")


def multi_hop(row: Row, split: Split) -> Draft:
    """Read a question about several of many titled paragraphs, those that the row's title names.

    A gold sentence is taken from each: the one with the answer; else the one that leads there, closest to the question
    and to the other golds' titles. Sentences of other paragraphs that are close to the question are look-alikes.
    """
    question, answers = row["question"], _answers(row)
    paragraphs = _near(question, row["title"], list(_titled(row["document"])))
    sections = tuple(Section(title, split(text)) for title, text in paragraphs)
    named = [number for number, section in enumerate(sections) if _names(row["title"], section.title)]
    if not named or not answers:
        return Draft(sections, left_out=("no paragraph has its title" if answers else "no answer",))
    place = (
        None if _says_yes_or_no(answers) else _first(_align(question, answer, sections, named) for answer in answers)
    )
    golds = {place.atom} if place else set()
    for number in named:
        if golds.isdisjoint(_numbers(sections, number)):
            golds.add(_lead(question, sections, number, named))
    example = Example(
        question,
        _text(sections, place) if place else answers[0],
        tuple(sorted(golds)),
        (place,) if place else (),
        _look_alikes(question, answers[0], sections, named),
    )
    return Draft(sections, (example,))


def cloze(row: Row, split: Split) -> Draft:
    """Read a statement and how it goes on: one version, the true or the changed one, of each subject's statements.

    Asked with the statement's own beginning or with other words, less what stands before the sentence that names the
    subject (text that was put there to distract).
    """
    section = _whole(row, split)
    coin = int(stable_id(section.title)[:8], 16)
    if row["counterfactual"] != bool(coin & 1):
        return Draft((section,), left_out=("another version of its statement is taken",))
    question = row["prompt" if coin & 2 else "question"]
    before = re.search(rf"^.*(\. |\n)(?=.*{re.escape(section.title)})", question, re.DOTALL)
    question = question[before.end() if before else 0 :]
    return _draft(section, _literal(question, _answers(row), section.texts), "no sentence holds the answer")


def triples(row: Row, split: Split) -> Draft:
    """Read facts (subject, relation, object) as questions for their objects, where the text names both."""
    section = _whole(row, split)
    named = f"{section.title}\n{' '.join(section.texts)}".lower()
    facts = list(dict.fromkeys((subject, relation, answer) for subject, relation, answer in row["triples"]))
    answers = Counter(fact[:2] for fact in facts)
    examples: list[Example] = []
    left_out: list[str] = []
    for subject, relation, answer in facts:
        question = ask(subject, relation)
        example = _literal(question, (answer,), section.texts)
        if not is_name(subject) or subject.lower() not in named:
            left_out.append("the text does not name its subject")
        elif is_pronoun(answer) or example is None or _says_yes_or_no((answer,)):
            left_out.append("no sentence holds the answer")
        elif answers[subject, relation] > 1 or align("", answer, (subject,)):
            left_out.append("its answer is one of several, or in the question")
        else:
            examples.append(example)
    return Draft((section,), tuple(examples), tuple(left_out))


def any_kind(row: Row, split: Split) -> Draft:
    """Read a row by what it holds: facts, a question nothing answers, a yes or no, an answer in whatever words."""
    if row.get("triples"):
        return triples(row, split)
    if not row["answers"]:
        return extractive(row, split)
    return (reasoned if _says_yes_or_no(_answers(row)) else free_form)(row, split)


def _whole(row: Row, split: Split) -> Section:
    return Section(row["title"], split(row["document"]))


def _titled(document: str) -> Iterator[tuple[str, str]]:
    """Yield the paragraphs of a document, each below a line with its title."""
    for paragraph in re.split(r"\n\s*\n", document):
        title, _, text = paragraph.strip().partition("\n")
        if text.strip():
            yield title.strip(), text


def _names(titles: str, title: str) -> bool:
    """Return whether a title is one of several, which may have semicolons in them."""
    return f"; {title};" in f"; {titles};"


def _near(question: str, titles: str, paragraphs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the paragraphs that are named, and of the others those closest to the question, in order."""
    others = [(title, text) for title, text in paragraphs if not _names(titles, title)]
    texts = [text for _, text in others]
    near = [others[at] for at in closest(texts, weigh(texts, question=question), count=MOST_LOOK_ALIKES)]
    return [one for one in paragraphs if _names(titles, one[0]) or one in near]


def _numbers(sections: Sequence[Section], number: int) -> range:
    """Return the numbers of a section's sentences."""
    begin = sum(len(section.texts) for section in sections[:number])
    return range(begin, begin + len(sections[number].texts))


def _text(sections: Sequence[Section], place: Place) -> str:
    texts = [text for section in sections for text in section.texts]
    return texts[place.atom][place.begin : place.end]


def _align(question: str, answer: str, sections: Sequence[Section], named: Sequence[int]) -> Place | None:
    """Return where the named sections hold the answer."""
    numbers = [atom for number in named for atom in _numbers(sections, number)]
    place = align(question, answer, [text for number in named for text in sections[number].texts])
    return place and place._replace(atom=numbers[place.atom])


def _lead(question: str, sections: Sequence[Section], number: int, named: Sequence[int]) -> int:
    """Return the sentence of a section that leads from the question to the other named ones."""
    texts = sections[number].texts
    others = " ".join(sections[other].title for other in named if other != number)
    weights = weigh(texts, question=question, answer=others)
    return _numbers(sections, number)[closest(texts, weights, count=1)[0]]


def _answers(row: Row) -> tuple[str, ...]:
    stripped = (" ".join(answer.split()).strip(" .,;:") for answer in row["answers"])
    return tuple(answer for answer in stripped if answer)


def _says_yes_or_no(answers: Sequence[str]) -> bool:
    return bool(answers) and answers[0].lower() in ("yes", "no")


def _first(places: Iterator[Place | None]) -> Place | None:
    return next((place for place in places if place), None)


def _literal(question: str, answers: Sequence[str], texts: Sequence[str]) -> Example | None:
    """Return a question whose answer stands in one sentence or, if none of its answers does, in several."""
    if place := _first(align(question, answer, texts) for answer in answers):
        return Example(question, texts[place.atom][place.begin : place.end], (place.atom,), (place,))
    for answer in answers:
        if places := run_through(answer, texts) or gather(question, answer, texts):
            return Example(question, answer, tuple(place.atom for place in places), places)
    return None


def _unanswerable(row: Row, section: Section) -> Draft:
    if row.get("answerable"):
        return _draft(section, None, "no answer")
    weights = weigh(section.texts, question=row["question"])
    look_alikes = closest(section.texts, weights, count=MOST_LOOK_ALIKES)
    return _draft(section, Example(row["question"], "", (), look_alikes=look_alikes), "")


def _look_alikes(question: str, answer: str, sections: Sequence[Section], named: Sequence[int]) -> tuple[int, ...]:
    """Return the closest sentences of sections that are not named, less those that hold the answer, each text once."""
    atoms: dict[str, int] = {}
    for number, section in enumerate(sections):
        for atom, text in zip(_numbers(sections, number), section.texts, strict=True):
            atoms.setdefault(text, atom)
    golds = {text for number in named for text in sections[number].texts}
    texts = [text for text in atoms if text not in golds and not align(question, answer, (text,))]
    near = closest(texts, weigh(texts, question=question), count=MOST_LOOK_ALIKES)
    return tuple(atoms[texts[at]] for at in near)


def _draft(section: Section, example: Example | None, reason: str) -> Draft:
    return Draft((section,), (example,)) if example else Draft((section,), left_out=(reason,))
