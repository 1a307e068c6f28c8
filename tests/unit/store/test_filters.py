from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_world import ADA, BOB, Page, find, open_store, put

from parametric_memory.store.filters import canonical, matches

KEYS = st.sampled_from(["user_id", "year", "draft", "source"])
SCALARS = st.one_of(
    st.sampled_from(["ada", "bob", "1", "true", "", "naïve 🙂", '"; DROP TABLE atoms; --']),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, -0.5, 1e300]),
    st.booleans(),
)
METADATA = st.dictionaries(KEYS, SCALARS, max_size=3)
FILTERS = st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), min_size=1, max_size=2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages=st.lists(METADATA, min_size=1, max_size=6), filters=FILTERS)
def test_the_database_finds_what_a_dict_says(tmp_path_factory, pages, filters):
    with open_store(tmp_path_factory.mktemp("s")) as store:
        for number, metadata in enumerate(pages):
            page = Page(f"page-{number}", [f"Sentence of page {number}."], metadata)
            put(store, page)
        expected = {f"page-{number}" for number, metadata in enumerate(pages) if matches(metadata, filters)}
        assert {atom.source for atom in store.atoms(filters)} == expected
        assert {document.source for document in store.documents(filters)} == expected


def test_a_number_is_neither_its_string_nor_a_bool():
    assert canonical("x", 1) == canonical("x", 1.0) != canonical("x", "1")
    assert canonical("x", 1) != canonical("x", True)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), {"a": 1}, b"x"])
def test_a_value_that_is_no_scalar_is_refused(plain, value):
    with pytest.raises(ValueError, match="'user_id' must be"):
        put(plain, Page("x", ["A sentence."], {"user_id": value}))
    with pytest.raises(ValueError, match="'user_id' must be"):
        plain.atoms({"user_id": value})


def test_an_atoms_own_fields_filter_too(plain):
    put(plain, ADA)
    put(plain, BOB)
    assert {atom.source for atom in plain.atoms({"source": "ada.md"})} == {"ada.md"}
    assert len(plain.atoms({"kind": ["fact", "event"], "document_id": BOB.document.id})) == 2
    assert plain.atoms({"kind": "event"}) == []


def test_a_users_search_finds_only_that_user(store):
    put(store, ADA)
    put(store, BOB)
    everyone = find(store, "passport in the drawer or suitcase")
    assert {candidate.atom.source for candidate in everyone} == {"ada.md", "bob.md"}
    hers = find(store, "passport in the drawer or suitcase", user_id="ada")
    assert {candidate.atom.source for candidate in hers} == {"ada.md"}
    assert find(store, "passport", user_id="eve") == []
    assert find(store, "passport", user_id=[]) == []
