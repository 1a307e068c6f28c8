from __future__ import annotations

import pytest

from parametric_memory.errors import GenerationError
from parametric_memory.hypernetwork.chat import answer_ids, prompt_ids, turn_ends
from parametric_memory.testing.doubles import tiny_model

USER = {"role": "user", "content": "Where?"}


@pytest.fixture
def tokenizer():
    return tiny_model()[1]


@pytest.fixture
def untemplated(tokenizer):
    tokenizer.chat_template = None
    return tokenizer


def prompt(tokenizer, *turns):
    return tokenizer.decode(prompt_ids(tokenizer, turns))


def test_a_question_opens_the_assistants_turn(tokenizer):
    assert prompt(tokenizer, USER) == "<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n"


def test_an_assistants_message_at_the_end_stays_open(tokenizer):
    opened = prompt(tokenizer, USER, {"role": "assistant", "content": "Answer:"})
    assert opened == prompt(tokenizer, USER) + "Answer:"


def test_an_empty_assistants_message_is_a_turn_yet_to_begin(tokenizer):
    assert prompt(tokenizer, USER, {"role": "assistant", "content": ""}) == prompt(tokenizer, USER)


def test_without_a_template_turns_are_lines(untemplated):
    system = {"role": "system", "content": "Be brief."}
    assert prompt(untemplated, system, USER) == "system: Be brief.\nuser: Where?\nassistant:"
    opened = prompt(untemplated, USER, {"role": "assistant", "content": "Answer:"})
    assert opened == "user: Where?\nassistant: Answer:"
    assert prompt(untemplated, USER, {"role": "assistant", "content": ""}) == "user: Where?\nassistant:"


def test_without_a_template_the_next_role_ends_a_turn(tokenizer):
    assert turn_ends(tokenizer) == ()
    tokenizer.chat_template = None
    assert "\nuser:" in turn_ends(tokenizer)


def test_an_answer_stands_behind_a_space_only_where_it_follows_words(tokenizer):
    def answer(*turns):
        return tokenizer.decode(answer_ids(tokenizer, turns, "Paris"))

    assert answer(USER) == "Paris"
    assert answer(USER, {"role": "assistant", "content": "Answer:"}) == " Paris"
    tokenizer.chat_template = None
    assert answer(USER) == " Paris"


def test_an_empty_conversation_is_refused(tokenizer):
    with pytest.raises(GenerationError, match="the conversation is empty"):
        prompt_ids(tokenizer, [])


def test_what_a_template_refuses_is_told_with_its_reason(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(GenerationError, match=r"refuses .*'system', 'user'.*System role not supported"):
        prompt_ids(tokenizer, [{"role": "system", "content": "x"}, USER])
