"""What asking does beside answering: on abstaining, on follow-ups."""

from dataclasses import replace

import pytest
import torch

from parametric_memory.config import MemoryConfig, StoreConfig
from parametric_memory.errors import AbstainedError, ParametricMemoryError

ADA = "Ada joined the Rotterdam office in 2021."
BOB = "Bob keeps the red key of Hall 48."
STRANGE = "How many moons has Jupiter?"
CONFIG = MemoryConfig(store=StoreConfig(index="numpy"))


@pytest.fixture
def office(open_memory):
    memory = open_memory("office", CONFIG)
    memory.add([ADA, BOB])
    return memory


def turns(*texts):
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


# ---------------------------------------------------------------- abstaining


def test_a_question_picks_what_happens_if_nothing_answers_it(office):
    assert office.ask(STRANGE).text == "I don't know."
    based = office.ask(STRANGE, fallback="base")
    assert based.abstained and based.text == office.ask(STRANGE, mode="closed_book").text
    with pytest.raises(AbstainedError, match="nothing in the memory answers it") as caught:
        office.ask(STRANGE, fallback="raise")
    assert caught.value.route.rejected and caught.value.route.abstained
    assert isinstance(caught.value, ParametricMemoryError) and isinstance(caught.value, LookupError)


def test_a_memory_picks_it_for_all_its_questions_and_a_question_overrules_it(office, open_memory):
    strict = open_memory("office", replace(CONFIG, fallback="raise", unknown="No idea."))
    for verb in (strict.ask, strict.stream, strict.prepare):
        with pytest.raises(AbstainedError):
            verb(STRANGE)
    assert strict.ask(STRANGE, fallback="unknown").text == "No idea."
    loose = open_memory("office", replace(CONFIG, fallback="base"))
    assert loose.ask(STRANGE).text == loose.ask(STRANGE, mode="closed_book").text


def test_a_memory_without_words_for_it_has_some_where_they_are_asked_for(office, open_memory):
    silent = open_memory("office", replace(CONFIG, unknown=None))
    assert silent.ask(STRANGE).text == silent.ask(STRANGE, mode="closed_book").text
    assert silent.ask(STRANGE, fallback="unknown").text == "I don't know."


def test_the_base_falls_back_to_itself_bit_for_bit(office):
    weights = {name: parameter.clone() for name, parameter in office.backend.model.named_parameters()}
    prepared, bare = office.prepare(STRANGE, fallback="base"), office.prepare(STRANGE, mode="closed_book")
    assert (prepared.adapter, prepared.said, prepared.conversation) == (None, None, bare.conversation)
    stream = office.stream(STRANGE, fallback="base")
    assert "".join(stream).strip() == office.ask(STRANGE, mode="closed_book").text
    assert all(torch.equal(parameter, weights[name]) for name, parameter in office.backend.model.named_parameters())


def test_a_fallback_does_nothing_where_the_memory_answers(office):
    known = "Who keeps the red key of Hall 48?"
    assert len({office.ask(known, fallback=fallback).text for fallback in (None, "unknown", "base", "raise")}) == 1


def test_an_unknown_fallback_is_refused_also_where_it_would_not_matter(office):
    with pytest.raises(ValueError, match="expected one of unknown, base, raise"):
        office.ask("Who keeps the red key of Hall 48?", fallback="guess")


# ---------------------------------------------------------------- follow-ups


def test_a_follow_up_finds_what_it_leans_on(office):
    history = turns("When did Ada join the Rotterdam office?", "2021")
    answer = office.ask("And who keeps the red key of Hall 48?", history=history)
    assert answer.route.query == "Who keeps the red key of Hall 48?" and answer.citations[0].text == BOB
    history = turns("Who keeps the red key of Hall 48?", "Bob")
    full = "Who keeps the red key of Hall 50?"
    assert office.explain("What about Hall 50?", history=history).query == full
    assert office.ask("What about Hall 50?", history=history).text == office.ask(full).text
    assert "".join(office.stream("What about Hall 50?", history=history)).strip() == office.ask(full).text


def test_a_hook_takes_the_place_of_the_rules_and_is_asked_only_where_there_are_turns(office):
    seen = []

    def resolve(question, history):
        seen.append((question, len(history)))
        return "When did Ada join the Rotterdam office?"

    office.resolve = resolve
    assert office.explain("Who keeps the red key of Hall 48?").selected[0].atom.text == BOB
    assert office.explain("And her?", history=turns("Hello", "Hi")).selected[0].atom.text == ADA
    assert seen == [("And her?", 2)]


def test_a_hook_that_leaves_nothing_is_an_error(office):
    office.resolve = lambda question, history: " "
    with pytest.raises(ValueError, match="empty"):
        office.ask("And?", history=turns("Hello"))
