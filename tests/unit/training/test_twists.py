from __future__ import annotations

import random

import pytest

from parametric_memory.training.alignment import find
from parametric_memory.training.twists import OPPOSITES, twisted

TEXT = "Ada Lovelace wrote the first program for the Analytical Engine in 1843."


def changed(question, *, instead=(), text=TEXT, times=30):
    return {twisted(question, text, instead, random.Random(seed)) for seed in range(times)}


def test_a_name_becomes_one_that_the_text_does_not_have():
    found = changed("When did Ada Lovelace write it?", instead=["Grace Hopper", "Analytical Engine", "Ada Lovelace"])
    assert found == {"When did Grace Hopper write it?"}


def test_a_number_becomes_another():
    found = changed("Who wrote a program in 1843?")
    assert len(found) > 5
    for question in found:
        before, year = question.removesuffix("?").rsplit(" ", 1)
        assert before == "Who wrote a program in" and 0 < abs(int(year) - 1843) <= 40


def test_a_word_becomes_its_opposite_unless_the_text_says_that_too():
    assert changed("Who wrote the first program?") == {"Who wrote the last program?"}
    assert changed("Who wrote the first program?", text=f"{TEXT} It was the last.") == {None}


def test_of_several_changes_one_is_made():
    found = changed("Who wrote the first program for the Analytical Engine?", instead=["Difference Engine"])
    assert found == {
        "Who wrote the last program for the Analytical Engine?",
        "Who wrote the first program for the Difference Engine?",
    }


@pytest.mark.parametrize("question", ["Who wrote it?", "What Engine was it for?", ""])
def test_what_has_nothing_to_change_stays(question):
    assert changed(question, instead=["Grace Hopper"]) == {None}


def test_no_new_word_stands_in_the_text():
    for question in ("When did Ada Lovelace write the first program?", "What of 1843?"):
        for found in changed(question, instead=["Engine", "Ada", "Charles Babbage"]) - {None}:
            new = set(found.strip("?").split()) - set(question.strip("?").split())
            assert new and not any(find(word, TEXT) for word in new)


def test_opposites_are_not_themselves():
    assert all(OPPOSITES.get(other) and other != word for word, other in OPPOSITES.items())
