from __future__ import annotations

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from store_world import ADA, BOB, COMPILER, DIM, SPEC, Page, code_of, find, key, key_of, open_store, put, writing_to

from parametric_memory.config import StoreConfig
from parametric_memory.errors import (
    AdapterMismatchError,
    AtomNotFoundError,
    ConfigError,
    CorruptAdapterError,
    DocumentNotFoundError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
)
from parametric_memory.store import AtomStore, Change
from parametric_memory.store.numpy_index import NumpyIndex
from parametric_memory.types import AdapterSpec, AtomKey, AtomKind


def test_what_is_put_is_there_after_reopening(tmp_path):
    for index in ("numpy", "chroma"):
        with open_store(tmp_path / index, index) as store:
            put(store, ADA)
        with open_store(tmp_path / index, index, create=False) as store:
            assert store.atoms() == ADA.atoms
            assert store.codes(ADA.ids) == ADA.codes
            assert all(np.array_equal(a.vector, b.vector) for a, b in zip(store.keys(ADA.ids), ADA.keys, strict=True))
            assert store.document(ADA.document.id) == ADA.document
            assert find(store, "green tea")[0].atom == ADA.atoms[1]
            assert store.verify() == []


def test_the_key_of_an_atom_that_is_not_there_is_asked_for_in_vain(plain):
    put(plain, ADA)
    with pytest.raises(AtomNotFoundError, match="there is no atom nobody"):
        plain.keys([*ADA.ids, "nobody"])


def test_the_same_document_again_is_a_no_op(plain):
    put(plain, ADA)
    version = plain.version
    assert plain.unchanged(ADA.document)
    assert plain.missing(ADA.document, ADA.atoms) == ()
    receipt = plain.put(ADA.document, ADA.atoms, [], [])
    assert receipt.unchanged
    assert receipt.kept == tuple(ADA.ids)
    assert plain.version == version


@pytest.mark.parametrize(
    "change", [{"text": "other"}, {"title": "other"}, {"source": "other"}, {"metadata": {"user_id": "eve"}}]
)
def test_a_document_is_changed_by_any_of_its_fields(plain, change):
    put(plain, ADA)
    assert not plain.unchanged(replace(ADA.document, **change))


def test_a_changed_document_is_replaced_atom_by_atom(store):
    before = Page("x", ["One stays.", "Two goes away.", "Three stays."])
    after = Page("x", ["Three stays.", "Four is new.", "One stays."])
    put(store, before)
    assert store.missing(after.document, after.atoms) == (after.ids[1],)
    receipt = store.put(after.document, after.atoms, [after.keys[1]], [after.codes[1]])
    assert (receipt.added, receipt.deleted) == ((after.ids[1],), (before.ids[1],))
    assert set(receipt.kept) == {before.ids[0], before.ids[2]}
    assert store.atoms() == after.atoms
    assert find(store, "Two goes away.")[0].atom.statement != "Two goes away."
    assert store.verify() == []


SENTENCES = st.lists(st.sampled_from([f"Sentence {letter} says {letter}." for letter in "abcdefg"]), max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(versions=st.lists(SENTENCES, min_size=1, max_size=4))
def test_any_sequence_of_edits_leaves_exactly_the_last_version(tmp_path_factory, versions):
    with open_store(tmp_path_factory.mktemp("s")) as store:
        for sentences in versions:
            page = Page("page", sentences)
            needed = set(store.missing(page.document, page.atoms))
            store.put(
                page.document,
                page.atoms,
                [key for key in page.keys if key.atom_id in needed],
                [code for code in page.codes if code.atom_id in needed],
            )
        assert store.atoms() == page.atoms
        assert store.codes(page.ids) == page.codes
        found = store.search("", key("sentence"), 100)
        assert {candidate.atom.id for candidate in found} == set(page.ids)
        assert store.verify() == []


def test_an_atom_of_the_same_id_with_other_content_is_compiled_again(plain):
    put(plain, ADA)
    renamed = [replace(atom, context="Other heading", statement=f"Other: {atom.text}") for atom in ADA.atoms]
    assert plain.missing(ADA.document, renamed) == tuple(ADA.ids)
    receipt = plain.put(ADA.document, renamed, [key_of(a) for a in renamed], [code_of(a) for a in renamed])
    assert receipt.updated == tuple(ADA.ids)
    assert plain.history(ADA.ids[0])[-1].old == ADA.sentences[0]
    assert max(find(plain, "other"), key=lambda c: c.lexical).lexical > 0
    assert plain.verify() == []


def test_other_metadata_is_stored_without_compiling(plain):
    put(plain, ADA)
    moved = Page(ADA.source, ADA.sentences, {"user_id": "ada", "year": 2024})
    assert plain.missing(moved.document, moved.atoms) == ()
    receipt = plain.put(moved.document, moved.atoms, [], [])
    assert not receipt.unchanged
    assert len(plain.atoms({"year": 2024})) == 2


@pytest.mark.parametrize("scope", [{}, {"user_id": "bob"}, {"user_id": "ada", "run_id": 1}])
def test_a_document_does_not_take_the_place_of_one_of_another_scope(plain, scope):
    put(plain, ADA)
    stranger = replace(ADA.document, text="Bob drinks tea.", metadata=scope)
    with pytest.raises(StoreError, match="with another user_id or agent_id or run_id; give this one an id of its own"):
        plain.put(stranger, [], [], [])
    assert plain.atoms() == ADA.atoms and plain.document(ADA.document.id) == ADA.document


def test_new_atoms_need_a_key_and_a_code(plain):
    with pytest.raises(StoreError, match="2 are new or changed and came without key or code"):
        plain.put(ADA.document, ADA.atoms, ADA.keys, [])
    assert plain.atoms() == []


def test_an_atom_is_updated_in_place(store):
    put(store, ADA)
    atom = replace(ADA.atoms[1], statement="Ada drinks cold milk.", text="Ada drinks cold milk.")
    assert store.update(atom, key_of(atom), code_of(atom)).updated == (atom.id,)
    assert store.get(atom.id) == atom
    assert find(store, "cold milk")[0].atom == atom
    assert [(e.change, e.old, e.new) for e in store.history(atom.id)] == [
        (Change.ADD, None, "Ada drinks green tea."),
        (Change.UPDATE, "Ada drinks green tea.", "Ada drinks cold milk."),
    ]
    assert store.verify() == []
    with pytest.raises(AtomNotFoundError, match="no such atom"):
        store.update(BOB.atoms[0], BOB.keys[0], BOB.codes[0])


def test_search_joins_both_searches_and_scores_by_the_stored_keys(store):
    put(store, Page("x", [f"Filler sentence number {i}." for i in range(30)]))
    put(store, Page("y", ["The word xylophone is rare."]))
    query = key("number 7")
    found = store.search("xylophone", query, 4)
    assert len(found) == 5
    assert [candidate.dense for candidate in found] == sorted((candidate.dense for candidate in found), reverse=True)
    for candidate in found:
        assert candidate.dense == pytest.approx(float(key(candidate.atom.statement) @ query), abs=1e-6)
    [lexical] = [candidate for candidate in found if candidate.lexical > 0]
    assert "xylophone" in lexical.atom.statement


def test_both_indexes_give_the_same_candidates(tmp_path):
    pages = [Page(f"p{n}", [f"Item {n * 10 + i} of shelf {n}." for i in range(10)], {"shelf": n}) for n in range(8)]
    answers = []
    for index in ("numpy", "chroma"):
        with open_store(tmp_path / index, index) as store:
            for page in pages:
                put(store, page)
            found = [find(store, "item 42 of shelf 4", k=6), find(store, "item 42", k=6, shelf=[3, 4])]
            answers.append([[replace(candidate, updated=0.0) for candidate in one] for one in found])
    assert answers[0] == answers[1]


def test_one_more_atom_is_one_more_key(plain, monkeypatch):
    written: list[int] = []
    upsert = NumpyIndex.upsert
    monkeypatch.setattr(NumpyIndex, "upsert", lambda self, keys: (written.append(len(keys)), upsert(self, keys))[1])
    put(plain, Page("many.md", [f"Room {number} is open." for number in range(50)]))
    find(plain, "Which room?")
    put(plain, ADA)
    assert find(plain, "passport drawer", k=1)[0].atom.statement == ADA.sentences[0]
    assert written == [50, 2]


def test_what_changed_since_is_read_without_reading_all_of_the_history(plain):
    put(plain, ADA)
    find(plain, "passport")
    put(plain, BOB)
    asked: list[tuple[str, tuple]] = []
    event.listen(
        plain._database._engine, "before_cursor_execute", lambda c, cursor, sql, values, *_: asked.append((sql, values))
    )
    find(plain, "passport")
    of_history = [pair for pair in asked if "FROM history" in pair[0]]
    assert of_history
    for sql, values in of_history:
        with plain._database.read() as connection:
            plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert len(plan) == 1 and plan[0].startswith("SEARCH") and "history_by_version" in plan[0]


def test_atoms_beside_those_found_come_along_if_asked_for(store):
    put(store, Page("story.md", ["It rained.", "Ada went to the harbour.", "She took the ferry.", "The end."]))
    put(store, BOB)
    question = "Who went to the harbour?"
    alone = {c.atom.statement for c in find(store, question, k=1)}
    beside = store.search(question, key(question), 1, neighbours=2)
    assert alone == {"Ada went to the harbour."}
    assert {c.atom.statement for c in beside} == {"It rained.", "Ada went to the harbour.", "She took the ferry."}
    assert len(store.search(question, key(question), 1, neighbours=1)) == 2
    assert all(c.dense == pytest.approx(float(key(c.atom.statement) @ key(question)), abs=1e-5) for c in beside)


def test_a_neighbour_that_the_filters_do_not_mean_stays_away(plain):
    put(plain, Page("story.md", ["Ada went to the harbour.", "She took the ferry."]))
    [first, _] = plain.atoms()
    plain.update(replace(first, kind=AtomKind.EVENT), key_of(first), code_of(first))
    found = plain.search("harbour", key("harbour"), 1, filters={"kind": "event"}, neighbours=4)
    assert [c.atom.statement for c in found] == ["Ada went to the harbour."]


def test_a_candidate_knows_when_it_was_last_changed(plain):
    put(plain, ADA)
    put(plain, BOB)
    ada, bob = (find(plain, page.sentences[0], k=1)[0] for page in (ADA, BOB))
    assert 0.0 < ada.updated < bob.updated


def test_a_deleted_atom_is_gone_and_comes_back_with_its_document(store):
    put(store, ADA)
    receipt = store.delete([ADA.ids[0], "nobody"])
    assert receipt.deleted == (ADA.ids[0],)
    assert [c.atom.id for c in find(store, ADA.sentences[0])] == [ADA.ids[1]]
    with pytest.raises(AtomNotFoundError, match=ADA.ids[0]):
        store.get(ADA.ids[0])
    assert not store.unchanged(ADA.document)
    assert store.missing(ADA.document, ADA.atoms) == (ADA.ids[0],)
    put(store, ADA)
    assert store.atoms() == ADA.atoms
    assert [e.change for e in store.history(ADA.ids[0])] == [Change.ADD, Change.DELETE, Change.ADD]


def test_a_deleted_sentence_is_blanked_in_the_text_until_its_document_is_put_again(plain):
    put(plain, ADA)
    plain.delete([ADA.ids[0]])
    text = plain.document(ADA.document.id).text
    assert ADA.atoms[0].span.of(text).isspace()
    assert ADA.atoms[1].span.of(text) == ADA.sentences[1]
    assert plain.history(ADA.ids[0])[-1].old == ADA.sentences[0]
    put(plain, ADA)
    assert plain.document(ADA.document.id) == ADA.document


def test_deleting_nothing_writes_nothing(plain):
    put(plain, ADA)
    version = plain.version
    assert plain.delete(["nobody"]).unchanged
    assert plain.delete_where({"user_id": "eve"}).unchanged
    assert plain.version == version


def test_a_document_goes_with_its_last_atom(plain):
    put(plain, ADA)
    plain.delete(ADA.ids)
    assert plain.documents() == []


def test_a_document_is_deleted_with_its_atoms(store):
    put(store, ADA)
    put(store, BOB)
    assert set(store.delete_document(ADA.document.id).deleted) == set(ADA.ids)
    assert [document.source for document in store.documents()] == ["bob.md"]
    with pytest.raises(DocumentNotFoundError, match="no document"):
        store.delete_document(ADA.document.id)
    assert store.verify() == []


def test_deleting_by_filter_takes_documents_without_atoms_too(plain):
    put(plain, ADA)
    put(plain, BOB)
    put(plain, Page("empty.md", [], {"user_id": "ada"}))
    plain.delete_where({"user_id": "ada"})
    assert [document.source for document in plain.documents()] == ["bob.md"]
    with pytest.raises(ValueError, match="reset"):
        plain.delete_where({})


def test_reset_leaves_an_empty_usable_store(store):
    put(store, ADA)
    find(store, "tea")
    version = store.version
    store.reset()
    assert (store.atoms(), store.documents(), store.history(ADA.ids[0])) == ([], [], [])
    assert find(store, "tea") == []
    assert store.version > version
    put(store, BOB)
    assert find(store, "coffee")[0].atom == BOB.atoms[1]
    assert store.verify() == []


def test_atoms_come_in_the_order_of_documents_and_positions(plain):
    put(plain, BOB)
    put(plain, ADA)
    assert [atom.id for atom in plain.atoms()] == BOB.ids + ADA.ids
    assert [atom.id for atom in plain.atoms(limit=2, offset=1)] == [BOB.ids[1], ADA.ids[0]]


def test_a_corrupted_code_names_its_atom_and_is_repaired_as_the_message_says(tmp_path):
    with open_store(tmp_path / "s") as store:
        put(store, ADA)
        with sqlite3.connect(tmp_path / "s" / "store.db") as connection:
            connection.execute("UPDATE codes SET payload = zeroblob(200) WHERE atom_id = ?", [ADA.ids[1]])
        assert store.codes(ADA.ids[:1]) == ADA.codes[:1]
        with pytest.raises(CorruptAdapterError, match=f"{ADA.ids[1]}.*delete the atom and add its document again"):
            store.codes(ADA.ids)
        [problem] = store.verify()
        assert ADA.ids[1] in problem
        store.delete([ADA.ids[1]])
        put(store, ADA)
        assert store.codes(ADA.ids) == ADA.codes
        assert store.verify() == []


def test_codes_of_unknown_atoms_are_an_error(plain):
    with pytest.raises(AtomNotFoundError, match="nobody"):
        plain.codes(["nobody"])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"spec": AdapterSpec("other", "e" * 64, SPEC.targets)}, "base model"),
        ({"spec": AdapterSpec("tiny", SPEC.base_fingerprint, ("other",))}, "base model"),
        ({"key_encoder": "other"}, "key encoder"),
        ({"dim": DIM + 1}, "key encoder"),
        ({"compiler": "test:2"}, "compiler"),
    ],
)
def test_a_store_of_another_model_is_refused_with_what_to_do(tmp_path, change, name):
    open_store(tmp_path / "s").close()
    with pytest.raises(AdapterMismatchError, match=f"its {name} is .*another path.*recompile") as caught:
        open_store(tmp_path / "s", **change)
    assert set(caught.value.expected) == set(caught.value.actual) == {name}


def test_a_base_model_that_moved_is_the_same_one(tmp_path):
    moved = replace(SPEC, base_model="/elsewhere/tiny")
    with open_store(tmp_path / "s") as store:
        put(store, ADA)
    with open_store(tmp_path / "s", spec=moved) as store:
        assert store.codes(ADA.ids) == [replace(code, spec=moved) for code in ADA.codes]


def test_a_code_of_another_compiler_is_refused(plain):
    with pytest.raises(AdapterMismatchError, match="test:2"):
        plain.put(ADA.document, ADA.atoms, ADA.keys, [replace(code, compiler="test:2") for code in ADA.codes])
    assert plain.atoms() == []


@pytest.mark.parametrize("vector", [np.ones(3, np.float32), np.ones(DIM, np.float32), np.full(DIM, np.nan, np.float32)])
def test_a_malformed_key_is_refused(plain, vector):
    with pytest.raises(ValueError, match="key of atom"):
        plain.put(ADA.document, ADA.atoms, [AtomKey(id_, vector) for id_ in ADA.ids], ADA.codes)


def test_atoms_of_another_document_are_refused(plain):
    with pytest.raises(ValueError, match="belongs to another document"):
        plain.put(ADA.document, BOB.atoms, BOB.keys, BOB.codes)
    with pytest.raises(ValueError, match="same id"):
        plain.put(ADA.document, ADA.atoms * 2, ADA.keys, ADA.codes)


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(StoreNotFoundError, match="there is none"):
        open_store(tmp_path / "s", create=False)
    with pytest.raises(StoreNotFoundError):
        AtomStore.inspect(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "s").write_text("mine")
    with pytest.raises(StoreError, match="path of a folder"):
        open_store(tmp_path / "s")


def test_inspect_tells_whom_a_store_belongs_to(tmp_path):
    open_store(tmp_path / "s").close()
    manifest = AtomStore.inspect(tmp_path / "s")
    assert (manifest.spec, manifest.key_encoder, manifest.dim, manifest.compiler) == (SPEC, "words", DIM, COMPILER)


def test_an_unknown_index_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="faiss"):
        open_store(tmp_path / "s", config=StoreConfig(index="faiss"))


def test_a_closed_store_refuses_to_work(tmp_path):
    store = open_store(tmp_path / "s")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        store.atoms()
    with pytest.raises(StoreError, match="was closed"):
        put(store, ADA)


def test_stats_add_up(store):
    put(store, ADA)
    put(store, BOB)
    find(store, "tea")
    stats = store.stats()
    assert (stats.documents, stats.atoms, stats.kinds) == (2, 4, {"fact": 4})
    assert stats.code_bytes == 4 * 200
    assert stats.key_bytes == 4 * 4 * DIM
    assert (stats.index_bytes > 0) == (stats.index == "chroma")
    assert stats.database_bytes > stats.code_bytes + stats.key_bytes


def test_verify_finds_an_atom_without_a_key_and_a_broken_full_text_index(tmp_path):
    with open_store(tmp_path / "s") as store:
        put(store, ADA)
        find(store, "tea")
        with sqlite3.connect(tmp_path / "s" / "store.db") as connection:
            connection.execute("DELETE FROM keys WHERE atom_id = ?", [ADA.ids[0]])
            connection.execute(
                "INSERT INTO statements (statements, rowid, statement) VALUES ('delete', 1, ?)", [ADA.sentences[0]]
            )
        problems = "\n".join(store.verify())
        assert f"atom {ADA.ids[0]}: it has no key" in problems
        assert "1 keys belong to no atom" in problems
        assert "full-text index" in problems
        store.rebuild_index()
        assert [problem for problem in store.verify() if "index" in problem] == []


def test_a_busy_store_is_not_taken_for_a_broken_one(tmp_path):
    with open_store(tmp_path / "s", config=StoreConfig(index="numpy", lock_timeout_s=0.1)) as store:
        put(store, ADA)
        with writing_to(store), pytest.raises(StoreLockedError, match="try again"):
            store.verify()
        assert store.verify() == []
