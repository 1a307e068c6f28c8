import pytest

from parametric_memory.conversation import standalone_question, written_call
from parametric_memory.conversation.question import is_follow_up
from parametric_memory.conversation.turns import joined


def turns(*texts):
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


@pytest.mark.parametrize("question", ["Where does she live?", "And in winter?", "In summer?", "What about the ferry?"])
def test_a_question_that_points_back_is_a_follow_up(question):
    assert is_follow_up(question)


def test_a_question_with_a_subject_is_none():
    assert not is_follow_up("Where does Mara Lindqvist live?")


def test_a_follow_up_is_asked_behind_the_turns_that_it_leans_on():
    talk = turns("Hello there, friend.", "Hi.", "Who repairs the ferry?", "Mara", "Where does she live?")
    assert standalone_question(talk) == "Who repairs the ferry? Mara Where does she live?"
    assert standalone_question(turns("Who repairs it?", "Mara", "When was the Tern launched?")) == (
        "When was the Tern launched?"
    )


def test_long_answers_are_no_names_to_ask_with():
    talk = turns("Who repairs the ferry?", "word " * 13, "Where does she live?")
    assert standalone_question(talk) == "Who repairs the ferry? Where does she live?"


def test_a_call_of_a_tool_is_no_answer():
    talk = turns("Who repairs the ferry?", written_call("find", {"what": "ferry"}), "Where does she live?")
    assert standalone_question(talk) == "Who repairs the ferry? Where does she live?"


def test_nobody_has_asked_anything_in_an_empty_conversation():
    assert standalone_question([]) == standalone_question([{"role": "system", "content": "Be kind."}]) == ""


def test_turns_are_joined_as_chat_templates_take_them():
    talk = [
        {"role": "user", "content": "20 + 22?"},
        {"role": "system", "content": "Be kind."},
        {"role": "assistant", "content": "<call>"},
        {"role": "tool", "content": "42"},
        {"role": "user", "content": "Well?"},
    ]
    assert joined(talk, asked="What is 20 + 22?", instructions="Call add.") == [
        {"role": "system", "content": "Be kind.\n\nCall add."},
        {"role": "user", "content": "20 + 22?"},
        {"role": "assistant", "content": "<call>"},
        {"role": "user", "content": "42\nWhat is 20 + 22?"},
    ]
    assert joined(talk, history=False)[1:] == [{"role": "user", "content": "Well?"}]
