"""What a world is: the same for the same seed, of invented names, told in whole sentences."""

import subprocess
import sys
from difflib import SequenceMatcher

from parametric_memory.ingest import sentences
from parametric_memory.training.data import held_out
from parametric_memory.training.world import World
from parametric_memory.types import AtomKind


def names(world):
    return {entity.name.text for entity in world.entities}


def test_the_same_seed_makes_the_same_world_in_every_process():
    # Another process has other hashes, so that the order of a set would show.
    code = (
        "import sys; from parametric_memory.training.world import World; sys.stdout.write(repr(World(5).documents()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout == repr(World(5).documents())
    assert World(5).documents() != World(6).documents()


def test_worlds_of_different_seeds_hardly_share_a_name():
    first, second = names(World(1)), names(World(2))
    assert len(first & second) <= 0.02 * len(first)


def test_names_decide_on_which_side_of_training_an_entity_is(train, dev):
    assert all(held_out(name, title=name) for name in names(dev.world))
    assert not any(held_out(name, title=name) for name in names(train.world))


def test_some_names_are_nearly_the_same(either):
    twins = [(one.name.text, other.name.text) for one, other in either.world.twins.items()]
    assert len(twins) >= 0.1 * len(either.world.entities)
    assert all(one != other and SequenceMatcher(None, one, other).ratio() > 0.7 for one, other in twins)


def test_every_kind_of_atom_is_told(either):
    assert {statement.kind for page in either.world.pages for statement in page.statements} == set(AtomKind)


def test_pages_split_into_the_sentences_that_they_were_written_in(either):
    for page in either.world.pages:
        assert [span.of(page.text) for span in sentences(page.text)] == [one.text for one in page.statements]


def test_every_value_stands_where_its_span_says(either):
    for page in either.world.pages:
        for statement in page.statements:
            for saying in statement.sayings:
                for slot, span in saying.spans.items():
                    value = saying.fact[slot]
                    text = span.of(statement.text)
                    assert text.lower() == (value if isinstance(value, str) else value.name.text).lower()


def test_no_mark_and_no_open_slot_is_left_in_what_is_read(either):
    read = [page.text for page in either.world.pages] + [question.text for question in either.questions]
    for text in read:
        assert not set(text) & set("\x01\x02\x03{}<>|") and "(n)" not in text and "  " not in text


def test_a_fact_is_told_once(either):
    told = [saying.fact for page in either.world.pages for saying in page.sayings]
    assert len(told) == len(set(told)) > 500


def test_a_shorter_name_stands_only_after_the_full_one(either):
    shortened = 0
    for page in either.world.pages:
        for number, statement in enumerate(page.statements):
            if any("s" not in saying.spans for saying in statement.sayings[:1]):
                shortened += 1
                told = " ".join(before.text for before in page.statements[:number])
                assert page.subject.name.text.lower() in told.lower()
    assert shortened > 20


def test_some_pages_are_one_sentence_and_some_have_no_title(either):
    assert any(len(page.statements) == 1 for page in either.world.pages)
    assert {bool(page.title) for page in either.world.pages} == {True, False}


def test_a_sentence_can_tell_two_facts(either):
    assert sum(len(one.sayings) == 2 for page in either.world.pages for one in page.statements) > 20
