from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_world import Page, find, key, open_store, put

from parametric_memory.store.lexical import MAX_WORDS, match_query

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
    assert match_query(" ".join(f"w{i}" for i in range(10_000))).count(" OR ") == MAX_WORDS - 1
