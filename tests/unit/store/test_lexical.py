from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_world import Page, find, key, open_store, put

from parametric_memory.store import lexical
from parametric_memory.store.lexical import MAX_WORDS, rarest, words_of

PAGE = Page(
    "mixed",
    [
        "The router is reset with the red button.",
        "La contraseña está en el cajón.",
        "Пароль лежит в ящике.",
        "הסיסמה נמצאת במגירה.",
        "पासवर्ड दराज में है।",
        "Don't AND the OR with NOT near NEAR(x).",
        "Version 2.0-beta costs 15% more 🙂.",
    ],
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    with open_store(tmp_path_factory.mktemp("s") / "store") as store:
        put(store, PAGE)
        yield store


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60) | st.text(alphabet="\"'*()^:-+{}ANDORNTE \0", max_size=40))
def test_any_text_is_a_query(mixed, text):
    for candidate in mixed.search(text, key("anything"), 10):
        assert candidate.lexical >= 0


@pytest.mark.parametrize("sentence", PAGE.sentences)
def test_every_sentence_is_found_by_its_own_words_in_any_script(mixed, sentence):
    best = max(mixed.search(sentence, key("anything"), 10), key=lambda candidate: candidate.lexical)
    assert best.atom.statement == sentence
    assert best.lexical > 0


@pytest.mark.parametrize("query", ["", "   ", "🙂", '"', "***", "\0", "?!"])
def test_a_query_without_words_is_left_to_the_keys(mixed, query):
    found = mixed.search(query, key("router"), 10)
    assert len(found) == len(PAGE.sentences)
    assert {candidate.lexical for candidate in found} == {0.0}


def test_words_are_found_by_their_stem_and_without_their_accents(mixed):
    assert find(mixed, "resetting routers", k=1)[0].atom.statement == PAGE.sentences[0]
    found = max(find(mixed, "contrasena", k=10), key=lambda candidate: candidate.lexical)
    assert found.atom.statement == PAGE.sentences[1]


def test_rarer_words_weigh_more(plain):
    put(plain, Page("x", [*(f"The office number {i} is open." for i in range(20)), "The sauna is open."]))
    best = max(find(plain, "the sauna office open"), key=lambda candidate: candidate.lexical)
    assert best.atom.statement == "The sauna is open."


def test_a_long_text_is_cut_to_a_question():
    assert words_of(" ".join(f"w{i}" for i in range(10_000))) == [f"w{i}" for i in range(MAX_WORDS)]


def test_the_commonest_words_of_a_large_memory_are_left_out():
    held = {"the": 900, "of": 700, "harbour": 40, "velden": 3, "unheard": 0}
    assert rarest(list(held), list(held.values()), rows=5000) == list(held)
    assert rarest(list(held), list(held.values()), rows=800) == ["of", "harbour", "velden", "unheard"]
    assert rarest(list(held), list(held.values()), rows=50) == ["harbour", "velden", "unheard"]


def test_words_that_are_all_common_leave_one_to_look_for():
    assert rarest(["the", "of"], [900, 700], rows=50) == ["of"]
    assert rarest(["the", "unheard"], [900, 0], rows=50) == ["the", "unheard"]


def test_a_search_ranks_no_more_rows_than_it_may_and_finds_the_rare_words_all_the_same(plain, monkeypatch):
    put(plain, Page("x", [*(f"The office number {i} is open." for i in range(60)), "The sauna is open on Friday."]))
    question = "Is the sauna open?"
    everything = [c.lexical for c in find(plain, question, k=99) if c.lexical]
    monkeypatch.setattr(lexical, "MAX_ROWS", 20)
    few = [c for c in find(plain, question, k=99) if c.lexical]
    assert len(everything) == 61
    assert [c.atom.statement for c in few] == ["The sauna is open on Friday."]


def test_words_that_are_common_among_others_are_found_under_a_filter(plain, monkeypatch):
    put(plain, Page("theirs", [f"The red key number {i} is brass." for i in range(60)], {"user_id": "bob"}))
    put(plain, Page("ours", ["Ada keeps the key."], {"user_id": "ada"}))
    monkeypatch.setattr(lexical, "MAX_ROWS", 20)
    found = plain.search("Where is the red key?", key("nothing alike"), 5, filters={"user_id": "ada"})
    assert [(c.atom.statement, c.lexical > 0) for c in found] == [("Ada keeps the key.", True)]
