from __future__ import annotations

import pytest

from parametric_memory.routing.versions import newest
from parametric_memory.types import Atom, AtomKind, Candidate, Span


def said(statement: str, *, updated: float, document: str = "", **metadata: str) -> Candidate:
    name = document or f"{statement}, {updated}"
    return Candidate(
        Atom(name, AtomKind.FACT, statement, statement, name, Span(0, 0), metadata=metadata), 0.5, 1.0, updated
    )


def silenced(question: str, *candidates: Candidate) -> dict[str, str]:
    statements = {candidate.atom.id: candidate.atom.statement for candidate in candidates}
    return {statements[one.atom]: statements[one.by] for one in newest(question, candidates)}


@pytest.mark.parametrize(
    ("question", "old", "new"),
    [
        (
            "Who is the harbour master of Xvik?",
            "The harbour master of Xvik is Ada Bek.",
            "Ludo Dal is the harbour master of Xvik.",
        ),
        ("How many bridges does Xvik have?", "Xvik has 12 bridges.", "In Xvik, 37 bridges stand."),
        (
            "What colour is the town hall of Xvik?",
            "The town hall of Xvik is green.",
            "In Xvik, the town hall is painted white.",
        ),
        (
            "When was the library of Xvik opened?",
            "The library of Xvik was opened in 1801.",
            "Xvik opened its library in 1925.",
        ),
        ("Is the pool of Xvik open?", "The pool of Xvik is open.", "The pool of Xvik is not open."),
    ],
    ids=["a name", "a number", "a colour", "a year", "a denial"],
)
def test_the_newest_version_of_a_fact_silences_the_older_in_any_order(question, old, new):
    for order in ((1.0, 2.0), (2.0, 1.0)):
        versions = [said(statement, updated=time) for statement, time in zip((old, new), order, strict=True)]
        older, newer = sorted(versions, key=lambda one: one.updated)
        expected = {older.atom.statement: newer.atom.statement}
        assert silenced(question, *versions) == silenced(question, *versions[::-1]) == expected


@pytest.mark.parametrize(
    ("question", "one", "other"),
    [
        ("What does Ada like?", "Ada likes green tea.", "Ada likes black coffee."),
        ("Who was Ada Bek?", "Ada Bek was a painter.", "Ada Bek was born in Xvik in 1801."),
        ("Who beat Bob at chess?", "Ada beat Bob at chess.", "Bob beat Ada at chess."),
        (
            "What was the population of Xvik in 1990?",
            "In 1990 the population of Xvik was 500.",
            "In 2000 the population of Xvik was 700.",
        ),
        (
            "Where is the key of Xvik?",
            "The harbour master of Xvik is Ada Bek.",
            "Ludo Dal is the harbour master of Xvik.",
        ),
    ],
    ids=["true twice", "different facts", "the other way round", "the question tells them apart", "another question"],
)
def test_what_is_not_a_version_is_left_alone(question, one, other):
    assert silenced(question, said(one, updated=1.0), said(other, updated=2.0)) == {}


def test_of_three_versions_only_the_newest_is_heard_and_each_says_by_whom():
    versions = [said(f"Xvik has {count} bridges.", updated=float(count)) for count in (7, 9, 8)]
    found = silenced("How many bridges does Xvik have?", *versions)
    assert found == dict.fromkeys(["Xvik has 7 bridges.", "Xvik has 8 bridges."], "Xvik has 9 bridges.")


def test_what_is_said_twice_is_heard_once_whatever_its_age():
    first, second = said("Tea is served.", updated=0.0, document="a"), said("Tea is served!", updated=0.0, document="b")
    [one] = newest("Is tea served?", [first, second])
    assert (one.atom, one.by, one.reason) == ("b", "a", "atom a says the same")


def test_a_document_does_not_silence_itself_nor_one_user_another():
    question = "How many bridges does Xvik have?"
    ages = {"Xvik has 7 bridges.": 1.0, "Xvik has 9 bridges.": 2.0}
    assert silenced(question, *(said(text, updated=age, document="a") for text, age in ages.items())) == {}
    assert silenced(question, *(said(text, updated=age, user_id=text) for text, age in ages.items())) == {}


def test_without_an_age_nothing_is_newer():
    question = "How many bridges does Xvik have?"
    assert silenced(question, said("Xvik has 7 bridges.", updated=0.0), said("Xvik has 9 bridges.", updated=2.0)) == {}
