from __future__ import annotations

import pytest

from parametric_memory.config import RoutingConfig
from parametric_memory.routing.hops import join, next_question
from parametric_memory.types import Atom, AtomKind, Route, RoutedAtom, Span


def routed(name: str, score: float = 0.0) -> RoutedAtom:
    return RoutedAtom(Atom(name, AtomKind.FACT, name, name, "document", Span(0, 1)), score, reason="best")


def route(*selected: str, rejected: tuple[str, ...] = (), query: str = "who?") -> Route:
    return Route(query, tuple(map(routed, selected)), tuple(map(routed, rejected)), confidence=0.7, threshold=0.4)


def names(made: Route) -> tuple[list[str], list[str]]:
    return [r.atom.id for r in made.selected], [r.atom.id for r in made.rejected]


def test_the_next_question_adds_what_the_best_atom_names_and_the_question_does_not():
    question = "Where was the director of Night Harbour born?"
    said = "Night Harbour is a film that was directed in Velden by Ida Österberg of Bergen. The end."
    assert next_question(question, [said]) == f"{question} Velden Ida Österberg of Bergen"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("In 1912 it went to J. R. Bek.", "J. R. Bek"),
        ("The key was given to Ludwig van Dal and to Ida.", "Ludwig van Dal Ida"),
        ("The Duke of the Isles, and nobody else, saw it.", "The Duke of the Isles"),
        ("Его видел Иван в Москве.", "Его Иван Москве"),
    ],
    ids=["initials", "particles", "a particle is no end", "another script"],
)
def test_names_are_runs_of_capitalised_words(said, named):
    assert next_question("who saw it first?", [said]) == f"who saw it first? {named}"


@pytest.mark.parametrize(
    "said",
    ["Night Harbour was shot at sea.", "The director of Night Harbour, Ida Bek, was born at sea."],
    ids=["nothing new is named", "no word is open"],
)
def test_there_is_no_further_hop_where_nothing_leads_on(said):
    assert next_question("Where was the director of Night Harbour born?", [said]) is None


def test_rounds_take_turns_and_the_first_one_keeps_its_confidence():
    made = join([route("a", "b", rejected=("x",)), route("c", "a", "d")], RoutingConfig(max_atoms=3))
    assert names(made) == (["a", "c", "b"], ["d", "x"])
    assert (made.query, made.confidence, made.threshold, made.abstained) == ("who?", 0.7, 0.4, False)
    assert [r.reason for r in made.selected] == ["best", "best of hop 2", "best"]
    assert made.rejected[0].reason == "beyond 3 atoms of 2 hops"


def test_a_route_tells_what_its_further_hops_asked_if_they_found_something():
    made = join([route("a"), route("b", query="who then?"), route(query="and then?")], RoutingConfig())
    assert made.hops == ("who then?",)


def test_an_atom_that_a_later_round_takes_is_not_rejected_by_an_earlier_one():
    made = join([route("a", rejected=("b", "c")), route("b")], RoutingConfig())
    assert names(made) == (["a", "b"], ["c"])


def test_a_round_that_finds_nothing_changes_nothing_but_what_was_looked_at():
    first = route("a", rejected=("b",))
    assert names(join([first, route(rejected=("c",))], RoutingConfig())) == (["a"], ["b", "c"])
