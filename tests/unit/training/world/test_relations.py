"""The tables of relations, and the words and names that fill them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.training.world.names import look_alike, name_of
from parametric_memory.training.world.relations import relations, slots_of
from parametric_memory.training.world.values import draw, in_words, joined, with_articles
from parametric_memory.training.world.world import SHARES


def templates(relation):
    yield from relation.says
    yield from relation.clauses
    for wordings in (relation.checks, *relation.asks.values(), *relation.bridges.values()):
        yield from (*wordings.known, *wordings.reserved)


@pytest.mark.parametrize("relation", relations(), ids=lambda relation: relation.name)
def test_a_relation_is_said_and_asked_in_many_ways(relation):
    assert len(set(relation.statements)) >= 6
    main = next(slot for slot in relation.asks if slot != "s")
    assert len(set(relation.asks[main].known)) >= 6 and len(set(relation.asks[main].reserved)) >= 2
    assert all(wordings.known and wordings.reserved for wordings in relation.asks.values())
    assert all(slots_of(template) <= relation.slots.keys() for template in templates(relation))
    assert all("s" in slots_of(template) for template in relation.says)


def test_there_are_many_relations_of_every_type():
    assert len(relations()) >= 40 == len({relation.name for relation in relations()[:40]})
    assert len({relation.slots["s"] for relation in relations()}) >= 18


def test_no_wording_is_both_known_and_reserved():
    for relation in relations():
        for wordings in (relation.checks, *relation.asks.values()):
            assert not set(wordings.known) & set(wordings.reserved), relation.name


def test_a_question_that_does_not_name_its_subject_belongs_to_one_relation():
    # Else "What did she found?" could be answered by a town and by a company.
    owner = {}
    for relation in relations():
        for template in {one for wordings in relation.asks.values() for one in (*wordings.known, *wordings.reserved)}:
            if "s" not in slots_of(template):
                assert owner.setdefault(template, relation.name) == relation.name, template


@given(st.integers(0, 10**6), st.sampled_from(sorted(SHARES)))
def test_a_look_alike_differs_in_one_letter(seed, kind):
    rng = random.Random(seed)
    name = name_of(kind, rng)
    near = look_alike(name, rng)
    assert near.text != name.text and abs(len(near.text) - len(name.text)) <= 1
    assert near.article == name.article
    prefix = next((n for n, (a, b) in enumerate(zip(name.text, near.text, strict=False)) if a != b), len(name.text))
    longer, shorter = sorted((name.text[prefix:], near.text[prefix:]), key=len, reverse=True)
    assert longer[1:] == shorter[len(shorter) - len(longer) + 1 :]


@given(st.integers(0, 10**6))
def test_a_value_has_no_symbol_left_in_it(seed):
    rng = random.Random(seed)
    for relation in relations():
        for kind in relation.slots.values():
            if kind not in {*SHARES, "person", "building", "origin", "later", "late"}:
                value = draw(kind, rng)
                assert value and not set(value) & set("<>|{}") and value == value.strip()


@pytest.mark.parametrize(
    ("text", "read"),
    [("a(n) oboe", "an oboe"), ("A(n) harp", "A harp"), ("a(n) unicorn", "a unicorn"), ("a(n) 8", "an 8")],
)
def test_articles_go_by_the_sound_of_the_next_word(text, read):
    assert with_articles(text) == read


def test_numbers_and_lists_are_written_out():
    assert [in_words(n) for n in (0, 19, 20, 42, 100, 907)] == [
        "zero", "nineteen", "twenty", "forty-two", "one hundred", "nine hundred and seven",
    ]  # fmt: skip
    assert [joined(["a"]), joined(["a", "b"]), joined(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
