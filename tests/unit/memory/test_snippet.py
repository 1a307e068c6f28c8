import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.config import MemoryConfig, RoutingConfig
from parametric_memory.memory.snippet import cut, passages, snippet
from parametric_memory.types import Atom, AtomKind, Route, RoutedAtom, Span, TokenShare

TEXT = "The harbour is old. It was dug in 1641 by forty men with spades. The tower came later, in 1887."


def count(text):
    """Count tokens as a tokenizer of pieces of four letters would."""
    return sum(-(-len(word) // 4) for word in re.findall(r"\w+|[^\w\s]", text))


def routed(text, *, context="", best=None):
    statement = f"{context}: {text}" if context else text
    atom = Atom("a", AtomKind.FACT, statement, text, "d", Span(0, len(text)), context=context)
    tokens = () if best is None else (TokenShare(Span(0, 1), 0.1), TokenShare(Span(best, best + 2), 0.6))
    return RoutedAtom(atom, 1.0, tokens=tokens)


@given(st.text("abcdefgh .,!?\n", max_size=200), st.integers(0, 200), st.integers(0, 40), st.text("ab :", max_size=30))
def test_a_part_never_has_more_tokens_than_its_budget_and_stands_in_the_text(text, at, budget, head):
    part = cut(text, at, budget=budget, count=count, head=head)
    assert count(part) <= budget
    assert part.removeprefix(head) in text or part in text


@given(st.text("abcdefgh .,!?", max_size=200), st.integers(0, 200))
def test_a_text_with_room_stays_whole(text, at):
    assert cut(text, at, budget=1000, count=count) == text.strip()


@pytest.mark.parametrize(
    ("word", "budget", "part"),
    [
        ("1887", 10, "The tower came later, in 1887."),
        ("forty", 17, "It was dug in 1641 by forty men with spades."),
        ("forty", 25, "It was dug in 1641 by forty men with spades. The tower came later, in 1887."),
        ("forty", 20, "The harbour is old. It was dug in 1641 by forty men with spades."),
        ("forty", 6, "1641 by forty men with"),
        ("harbour", 3, "harbour is"),
    ],
)
def test_it_is_cut_at_sentences_and_else_at_words_around_the_place(word, budget, part):
    assert cut(TEXT, TEXT.index(word), budget=budget, count=count) == part


def test_a_word_that_does_not_fit_is_cut_itself():
    assert cut("https://example.org/" + "x" * 400, 0, budget=5, count=count) != ""


def test_a_snippet_keeps_its_headings_if_there_is_room_for_them():
    found = routed(TEXT, context="Skarvik > Harbour", best=TEXT.index("1887"))
    assert snippet(found, budget=100, count=count) == found.atom.statement
    assert snippet(found, budget=16, count=count) == "Skarvik > Harbour: The tower came later, in 1887."
    bare = routed(TEXT, best=TEXT.index("1887"))
    assert snippet(found, budget=4, count=count) == snippet(bare, budget=4, count=count) == "in 1887."


def test_without_gates_a_snippet_is_the_beginning():
    assert snippet(routed(TEXT), budget=6, count=count) == "The harbour is old."


def test_modes_say_what_goes_into_the_prompt():
    route = Route("When?", (routed(TEXT, best=0), routed("More.")), confidence=0.6)
    config = MemoryConfig(snippet_tokens=6, routing=RoutingConfig(unsure_below=0.7))

    def given_(mode, sure=0.6, of=route):
        return passages(of, mode, sure=sure, config=config, count=count)

    assert given_("in_context") == [TEXT, "More."]
    assert given_("hybrid") == given_("hybrid", sure=0.99) == given_("hybrid_unsure") == ["The harbour is old."]
    assert given_("hybrid_unsure", sure=0.7) == given_("atoms") == given_("closed_book") == []
    assert given_("hybrid", of=replace(route, selected=(), abstained=True)) == []
