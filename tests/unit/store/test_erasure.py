from __future__ import annotations

import os
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from store_world import ADA, BOB, Page, code_of, find, key, key_of, open_store, put, writing_to

from parametric_memory.config import StoreConfig
from parametric_memory.errors import StoreLockedError
from parametric_memory.store import database
from parametric_memory.store.lock import Lock
from parametric_memory.store.manifests import write_lock
from parametric_memory.store.residue import pieces, scan, vector_pieces


def files_with(folder, needle: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def holds_key(folder, vector: np.ndarray) -> list[str]:
    """Files that hold a key, also one that was normalised again: floats compared, at every alignment."""
    found = []
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for shift in range(4):
            floats = np.frombuffer(data[shift : shift + (len(data) - shift) // 4 * 4], "<f4")
            with np.errstate(invalid="ignore"):
                starts = np.flatnonzero(np.abs(floats[: max(0, len(floats) - 7)] - vector[0]) < 1e-5)
            if any(np.allclose(floats[start : start + 8], vector[:8], atol=1e-5) for start in starts):
                found.append(path.name)
    return found


def test_an_erased_user_is_in_no_file_and_the_others_still_are(store):
    put(store, ADA)
    put(store, BOB)
    put(store, Page("more", [f"Filler sentence {i}." for i in range(1200)]))  # Chroma writes its files from 1000 on
    find(store, "passport")
    assert files_with(store.path, b"X1234567")
    assert holds_key(store.path, key(ADA.sentences[0]))
    erasure = store.erase(filters={"user_id": "ada"})
    assert set(erasure.deleted) == set(ADA.ids)
    assert erasure.residuals == ()
    assert erasure.files_scanned >= len([path for path in store.path.rglob("*") if path.is_file()])
    for needle in (b"X1234567", b"x1234567", b"green tea", b"ada.md"):
        assert files_with(store.path, needle) == []
    assert holds_key(store.path, key(ADA.sentences[0])) == []
    assert holds_key(store.path, key(BOB.sentences[0]))
    assert find(store, "passport", user_id="ada") == []
    assert find(store, BOB.sentences[0])[0].atom == BOB.atoms[0]
    assert store.verify() == []


def test_the_history_forgets_what_was_erased_and_when_it_was_deleted_before(plain):
    put(plain, ADA)
    plain.delete([ADA.ids[0]])
    plain.delete_where({"user_id": "ada"})
    assert plain.history(ADA.ids[0])[-1].old == ADA.sentences[0]
    assert plain.erase(filters={"user_id": "ada"}).residuals == ()
    assert {(event.old, event.new) for event in plain.history(ADA.ids[0])} == {(None, None)}
    assert files_with(plain.path, b"passport") == []


@pytest.mark.parametrize("subject", [{"source": "ada.md"}, {"kind": "fact", "user_id": "ada"}])
def test_what_was_deleted_is_erased_by_its_own_fields_too(plain, subject):
    put(plain, ADA)
    put(plain, BOB)
    plain.delete_where(subject)
    assert files_with(plain.path, b"X1234567")
    assert plain.erase(filters=subject).residuals == ()
    assert files_with(plain.path, b"X1234567") == []
    assert plain.history(BOB.ids[0])[-1].new == BOB.sentences[0]


def test_the_history_forgets_what_an_atom_said_before_it_had_the_tag_that_is_erased(plain):
    put(plain, ADA)
    put(plain, replace(ADA, metadata={**ADA.metadata, "tag": "secret"}))
    plain.delete_document(ADA.document.id)
    plain.erase(filters={"tag": "secret"})
    assert {(event.old, event.new) for event in plain.history(ADA.ids[0])} == {(None, None)}
    assert files_with(plain.path, b"X1234567") == []


def test_a_sentence_that_was_deleted_before_is_in_no_file_after_it_was_erased(plain):
    put(plain, ADA)
    plain.delete([ADA.ids[0]])
    assert plain.erase([ADA.ids[0]]).residuals == ()
    assert files_with(plain.path, b"X1234567") == []


def test_the_history_forgets_earlier_statements_of_an_erased_atom(plain):
    put(plain, BOB)
    put(plain, ADA)
    secret = ADA.atoms[1].__class__(
        **{f: getattr(ADA.atoms[1], f) for f in ("id", "kind", "document_id", "span")},
        statement="Ada secretly drinks absinthe.",
        text="Ada secretly drinks absinthe.",
    )
    plain.update(secret, key_of(secret), code_of(secret))
    put(plain, ADA)
    assert files_with(plain.path, b"absinthe")
    plain.erase([secret.id])
    assert files_with(plain.path, b"absinthe") == []


def test_an_erased_sentence_is_blanked_in_the_text_that_stays(plain):
    put(plain, ADA)
    erasure = plain.erase([ADA.ids[0]])
    assert (erasure.deleted, erasure.residuals) == ((ADA.ids[0],), ())
    text = plain.document(ADA.document.id).text
    assert len(text) == len(ADA.document.text)
    [left] = plain.atoms()
    assert left.span.of(text) == left.text == ADA.sentences[1]
    assert text[: ADA.atoms[0].span.end].isspace()
    assert files_with(plain.path, b"X1234567") == []


def test_a_sentence_that_another_document_says_too_is_reported_as_shared(plain):
    common = "The canteen opens at noon on every working day, and in the months of summer once more in the evening."
    put(plain, Page("a", [common, "Only here is the code 998877."], {"user_id": "ada"}))
    put(plain, Page("b", [common], {"user_id": "bob"}))
    erasure = plain.erase(filters={"user_id": "ada"})
    assert erasure.residuals == ()
    assert common in erasure.shared
    assert [atom.statement for atom in plain.atoms()] == [common]


def test_the_proof_reads_what_stays_once_however_much_of_it_was_found(tmp_path):
    def statements(sentences: int) -> int:
        common = [f"Room number {n} of the house is open today." for n in range(sentences)]
        asked: list[str] = []
        with open_store(tmp_path / str(sentences)) as store:
            put(store, Page("a", common, {"user_id": "ada"}))
            put(store, Page("b", common, {"user_id": "bob"}))
            event.listen(store._database._engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
            assert len(store.erase(filters={"user_id": "ada"}).shared) >= sentences
        return len(asked)

    assert statements(3) == statements(60)


def test_more_documents_are_erased_than_one_statement_may_name(tmp_path, monkeypatch):
    configure = database._configure

    def limited(connection: sqlite3.Connection, record: object) -> None:
        configure(connection, record)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, database.BATCH + 10)

    monkeypatch.setattr(database, "_configure", limited)
    ids = [f"d{n}" for n in range(database.BATCH + 11)]
    with open_store(tmp_path / "s") as store:
        with sqlite3.connect(store.path / "store.db") as connection:
            connection.executemany(
                "INSERT INTO documents (id, source, title, text, metadata, added, updated) "
                "VALUES (?, '', '', 'A message.', '{\"user_id\": \"ada\"}', 0, 0)",
                [(id_,) for id_ in ids],
            )
            connection.executemany(
                "INSERT INTO document_metadata VALUES (?, 'user_id', '\"ada\"')", [(id_,) for id_ in ids]
            )
        assert store.erase(filters={"user_id": "ada"}).residuals == ()
        assert store.documents() == []


def test_a_residue_that_cannot_be_reached_is_reported(plain):
    put(plain, ADA)
    (plain.path / "backup.txt").write_text("copied by hand: " + ADA.sentences[0])
    [residual] = plain.erase(filters={"user_id": "ada"}).residuals
    assert residual == f"backup.txt: {ADA.sentences[0]}"


def test_a_reader_that_holds_an_old_snapshot_shows_in_the_proof(tmp_path):
    with open_store(tmp_path / "s", config=StoreConfig(index="numpy", lock_timeout_s=0.2)) as store:
        put(store, ADA)
        reader = sqlite3.connect(tmp_path / "s" / "store.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM atoms").fetchall()
        assert store.erase(filters={"user_id": "ada"}).residuals
        reader.close()
        assert store.atoms() == []


def test_erasing_nothing_in_particular_is_an_error(plain):
    with pytest.raises(ValueError, match="reset"):
        plain.erase()


def test_erasing_waits_for_the_owner_of_the_index_and_erases_nothing_meanwhile(tmp_path):
    with open_store(tmp_path / "s", "chroma") as owner:
        put(owner, ADA)
        find(owner, "tea")
        with open_store(tmp_path / "s", config=StoreConfig(lock_timeout_s=0.1)) as other:
            with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
                other.erase(filters={"user_id": "ada"})
            assert len(other.atoms()) == 2
        assert owner.erase(filters={"user_id": "ada"}).residuals == ()


def test_an_erasure_that_fails_leaves_the_index_to_others(tmp_path):
    with open_store(tmp_path / "s", config=StoreConfig(index="numpy", lock_timeout_s=0.1)) as store:
        put(store, ADA)
        with writing_to(store), pytest.raises(StoreLockedError, match="try again"):
            store.erase(filters={"user_id": "ada"})
        with write_lock(store.path).hold(0), pytest.raises(StoreLockedError, match="writing to the store"):
            store.erase(filters={"user_id": "ada"})
        with Lock(store.path / "index.lock", purpose="testing").hold(0):
            assert len(store.atoms()) == 2


@given(before=st.binary(max_size=40), secret=st.binary(min_size=15, max_size=80), after=st.binary(max_size=40))
def test_a_scan_finds_every_piece_at_every_offset(tmp_path_factory, before, secret, after):
    folder = tmp_path_factory.mktemp("f")
    (folder / "file").write_bytes(before + secret + after)
    (folder / "empty").touch()
    files, found = scan(folder, [secret])
    assert files == 2
    assert found == {secret: {"file"}}


def test_a_scan_finds_nothing_that_is_not_there(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "file").write_bytes(rng.bytes(1 << 20))
    assert scan(tmp_path, [rng.bytes(20) for _ in range(200)]) == (1, {})


def test_a_text_of_some_length_leaves_a_piece_whole_wherever_it_is_cut():
    text = "A sentence about Zürich and its 400,000 inhabitants, long enough to matter. " * 3
    data = text.encode()
    for cut in range(0, len(data), 7):
        assert any(piece in data[:cut] or piece in data[cut:] for piece in pieces(text))
    vector = key("anything").tobytes()
    for cut in range(0, len(vector), 7):
        assert any(piece in vector[:cut] or piece in vector[cut:] for piece in vector_pieces(vector))
