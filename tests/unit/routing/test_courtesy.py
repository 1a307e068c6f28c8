"""Courtesy is taken from around a question before it is looked up, and nothing else is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.routing.courtesy import without_courtesy

ASKED = "Who wrote Ulysses?"


@pytest.mark.parametrize(
    "polite",
    [
        "Please, {}",
        "Hi there! {}",
        "Good morning, {} Thank you very much!",
        "Can you tell me: {}",
        "Could somebody please explain to us {}",
        "Excuse me, but {}",
        "Sorry for the trouble, {} Thanks in advance.",
        "I have another short question for you: {}",
        "I'd really like to know this. {}",
        "Hello. I was just wondering, {} Cheers",
        "Hey, would you happen to know, {}",
        "Would you mind telling us: {}",
        "May I ask: {}",
    ],
)
def test_what_is_asked_is_left_of_a_polite_question(polite: str) -> None:
    assert without_courtesy(polite.format(ASKED)) == ASKED


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Do you know when it opens, please?", "when it opens?"),
        ("could you tell me the name of its keeper", "the name of its keeper"),
        ("I wonder whether it rains", "whether it rains"),
        ("Do you have any idea why it closed?", "why it closed?"),
    ],
)
def test_questions_within_a_sentence_are_found(question: str, asked: str) -> None:
    assert without_courtesy(question) == asked


@pytest.mark.parametrize(
    "question",
    [
        ASKED,
        "hello",
        "Thanks!",
        "Please?",
        "",
        "?",
        "Good Morning America is broadcast by whom?",
        "Hi-Fi was coined when?",
        "Do you know Ulysses?",
        "What does “please” mean?",
        "Why do people say thank you?",
        "Who would like to know the answer?",
        "What is a quick question?",
        "Wonder Woman was drawn by whom?",
        "Können Sie mir sagen, wer das schrieb?",
    ],
)
def test_other_questions_stay_as_they_are(question: str) -> None:
    assert without_courtesy(question) == question


@given(st.text(max_size=60))
def test_what_is_left_stands_in_any_question_and_is_not_shortened_again(question: str) -> None:
    asked = without_courtesy(question)
    assert asked.removesuffix("?") in question
    assert without_courtesy(asked) == asked


def test_a_long_run_of_spaces_is_passed_over_at_once():
    began = time.process_time()
    for question in ("a" + " " * 50_000 + "b", "a please" + " " * 50_000 + "b", "a?" + " " * 50_000 + "b"):
        assert without_courtesy(question) == question
    assert time.process_time() - began < 2.0
