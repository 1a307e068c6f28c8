"""What asking does beside answering: on abstaining, on follow-ups, on a memory that changes meanwhile."""

from dataclasses import replace

import pytest
import torch

from parametric_memory.config import MemoryConfig, StoreConfig
from parametric_memory.errors import AbstainedError, AtomNotFoundError, ParametricMemoryError, StoreError
from parametric_memory.types import Document

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


# ---------------------------------------------------------------- meanwhile

KEY = "Who keeps the red key of Hall 48?"


@pytest.fixture
def once_found(office, monkeypatch):
    """Lets writes happen, one each time that candidates were found: what another thread or process may do."""

    def let_happen(*writes):
        candidates, waiting = office.candidates, list(writes)

        def found(query, **settings):
            made = candidates(query, **settings)
            if waiting:
                waiting.pop(0)()
            return made

        monkeypatch.setattr(office, "candidates", found)
        return waiting

    return let_happen


def test_an_atom_that_is_deleted_meanwhile_is_not_answered_from(office, once_found):
    for verb in (office.ask, office.explain, lambda question: office.ask(question, mode="in_context")):
        [record] = [one for one in office.add(BOB)["results"] if one["memory"] == BOB]
        waiting = once_found(lambda id_=record["id"]: office.delete(id_))
        made = verb(KEY)
        selected = made.selected if verb == office.explain else made.route.selected
        assert not waiting and BOB not in {routed.atom.text for routed in selected}


def test_a_citation_is_of_the_version_that_is_there(office, once_found):
    office.reset()
    office.add(Document("keys", f"{BOB} Cid paints doors."))
    once_found(lambda: office.add(Document("keys", f"Keys are in the blue cupboard. {BOB}")))
    answer = office.ask(KEY)
    assert answer.citations[0].text == BOB and answer.citations[0].span.start > 0


def test_writes_elsewhere_do_not_have_a_question_read_again(office, once_found):
    waiting = once_found(lambda: office.add("Cid paints doors."), lambda: pytest.fail("looked up again"))
    assert office.ask(KEY).citations[0].text == BOB and len(waiting) == 1


def test_what_changes_every_time_it_is_read_is_an_error_that_says_so(office, once_found):
    office.reset()
    versions = [Document("keys", f"{'Hello there. ' * n}{BOB}") for n in range(5)]
    office.add(versions[0])
    once_found(*[lambda version=version: office.add(version) for version in versions[1:]])
    with pytest.raises(StoreError, match="it was changed 4 times while it was read; ask again"):
        office.ask(KEY)


def test_an_atom_without_its_code_is_an_error_where_nobody_wrote(office, monkeypatch):
    asked = []

    def lost(atom_ids):
        asked.append(atom_ids)
        raise AtomNotFoundError("lost")

    monkeypatch.setattr(office.store, "codes", lost)
    with pytest.raises(AtomNotFoundError, match="lost"):
        office.ask(KEY)
    assert len(asked) == 1
