from __future__ import annotations

import gc
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from store_child import page
from store_world import ADA, BOB, Page, find, key, open_store, put

from parametric_memory.config import StoreConfig
from parametric_memory.errors import StoreError, StoreLockedError
from parametric_memory.store.lock import Lock

CHILD = Path(__file__).with_name("store_child.py")


def child(verb: str, path: Path, index: str = "numpy", name: str = "child") -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), verb, str(path), index, name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def killed_while_churning(path: Path, index: str, rng: random.Random) -> list[list[str]]:
    """Start a writer, kill it at a random moment of its work, return the lines that it said."""
    with child("churn", path, index) as writer:
        said = [writer.stdout.readline()]
        time.sleep(rng.uniform(0, 0.6))
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
    return [line.split() for line in said if line.endswith("\n")]


def expected_documents(said: list[list[str]], before: dict[int, set[int]]) -> dict[int, set[int]]:
    """Return, by document, the editions that may be stored; -1 stands for none."""
    allowed = {number: set(editions) for number, editions in before.items()}
    for word, number, edition in said:
        certain = {-1} if word.startswith("delet") else {int(edition)}
        allowed[int(number)] = certain if word in {"put", "deleted"} else allowed.get(int(number), {-1}) | certain
    return allowed


@pytest.mark.parametrize(("index", "kills"), [("numpy", 10), ("chroma", 6)])
def test_a_store_whose_writers_were_killed_is_consistent_and_every_document_whole(tmp_path, index, kills):
    rng, allowed, path = random.Random(0), {number: {-1} for number in range(7)}, tmp_path / "s"
    open_store(path, index).close()
    for _ in range(kills):
        allowed = expected_documents(killed_while_churning(path, index, rng), allowed)
        with open_store(path, index) as store:
            assert store.verify() == []
            for number, editions in allowed.items():
                by_edition = {tuple(page("child", number, edition).ids): edition for edition in range(3)}
                stored = tuple(atom.id for atom in store.atoms({"source": f"child-{number}"}))
                found = by_edition[stored] if stored else -1
                assert found in editions
                if stored:
                    assert store.codes(stored) == page("child", number, found).codes
                    assert find(store, page("child", number, found).sentences[2])[0].atom.id in stored
                allowed[number] = {found}


def test_the_holder_of_the_lock_is_named(tmp_path):
    with child("lock", tmp_path / "s") as holder:
        assert holder.stdout.readline() == "locked\n"
        with open_store(tmp_path / "s", config=StoreConfig(index="numpy", lock_timeout_s=0.1)) as store:
            with pytest.raises(
                StoreLockedError, match=rf"process {holder.pid} on {socket.gethostname()} since 20"
            ) as caught:
                put(store, ADA)
            assert str(holder.pid) in caught.value.holder
            assert store.atoms() == []
            holder.kill()
            holder.wait()
            put(store, ADA)


@pytest.mark.parametrize("index", ["numpy", "chroma"])
def test_three_writing_processes_lose_nothing(tmp_path, index):
    writers = [child("write", tmp_path / "s", index, name) for name in ("a", "b", "c")]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    with open_store(tmp_path / "s", index) as store:
        assert len(store.documents()) == 3 * 25
        assert len(store.atoms()) == 3 * 25 * 5
        assert store.verify() == []
        for name in ("a", "b", "c"):
            sentence = page(name, 24).sentences[4]
            assert find(store, sentence)[0].atom.statement == sentence


@pytest.mark.parametrize("index", ["numpy", "chroma"])
@pytest.mark.parametrize("reader_first", [True, False])
def test_a_reader_sees_what_another_process_commits_and_deletes(tmp_path, index, reader_first):
    def ask(reader: subprocess.Popen[str]) -> list[str]:
        reader.stdin.write("?\n")
        reader.stdin.flush()
        return reader.stdout.readline().split()

    with open_store(tmp_path / "s", index) as store, child("read", tmp_path / "s", index) as reader:
        if not reader_first:
            find(store, "whoever searches first owns the index")
        assert ask(reader)[0] == "0"
        put(store, page("me", 0))
        assert ask(reader)[0] == "5"
        put(store, page("me", 1))
        assert len(find(store, "fact of document", k=100)) == 10
        assert ask(reader)[0] == "10"
        store.delete_document(page("me", 0).document.id)
        assert ask(reader)[0] == "5"
        store.reset()
        assert ask(reader)[0] == "0"
        put(store, page("me", 2))
        count, kind = ask(reader)
        assert (count, kind) == ("5", "chroma" if index == "chroma" and reader_first else "numpy")
        assert len(find(store, "fact of document", k=100)) == 5
        assert store.verify() == []
        reader.stdin.close()


def test_an_index_that_was_closed_in_order_is_kept_and_another_one_is_made_anew(tmp_path):
    def index_made_at() -> set[Path]:
        return {path for path in (tmp_path / "s" / "index").iterdir() if path.is_dir()}

    with open_store(tmp_path / "s", "chroma") as store:
        put(store, ADA)
    made = index_made_at()
    with open_store(tmp_path / "s", "chroma") as store:
        assert find(store, "tea")[0].atom == ADA.atoms[1]
    assert index_made_at() == made
    (tmp_path / "s" / "index" / "closed.json").unlink()
    with open_store(tmp_path / "s", "chroma") as store:
        assert find(store, "tea")[0].atom == ADA.atoms[1]
    assert index_made_at() != made


def test_a_process_that_ends_without_closing_leaves_the_index_in_order(tmp_path):
    with child("leave", tmp_path / "s", "chroma") as writer:
        writer.communicate(timeout=60)
    assert writer.returncode == 0
    assert (tmp_path / "s" / "index" / "closed.json").exists()


def test_an_index_that_saw_more_than_a_restored_backup_is_made_anew(tmp_path):
    database, eve = tmp_path / "s" / "store.db", Page("eve.md", ["Eve plays the cello in the evening."])
    with open_store(tmp_path / "s", "chroma") as store:
        put(store, ADA)
    backup = database.read_bytes()
    with open_store(tmp_path / "s", "chroma") as store:
        put(store, BOB)
    database.write_bytes(backup)
    with open_store(tmp_path / "s", "chroma") as store:
        put(store, eve)
        assert store.search("", key(eve.sentences[0]), 1)[0].atom == eve.atoms[0]
        assert store.verify() == []


@pytest.mark.parametrize("damage", ["truncated", "garbage", "gone"])
def test_a_damaged_index_is_made_anew(tmp_path, damage):
    with open_store(tmp_path / "s", "chroma") as store:
        put(store, ADA)
    for path in (tmp_path / "s" / "index").rglob("*"):
        if path.is_file() and path.name != "closed.json":
            data = path.read_bytes()
            new = {"truncated": data[: len(data) // 2], "garbage": os.urandom(len(data)), "gone": None}[damage]
            path.unlink() if new is None else path.write_bytes(new)
    with open_store(tmp_path / "s", "chroma") as store:
        assert find(store, "tea")[0].atom == ADA.atoms[1]
        assert store.verify() == []


@pytest.mark.parametrize("name", ["header.bin", "index_metadata.pickle"])
def test_an_index_that_fails_while_searching_is_reported_and_made_anew(tmp_path, name):
    many = Page("many", [f"Sentence number n{i}." for i in range(1100)])  # Chroma writes its files from 1000 on
    with open_store(tmp_path / "s", "chroma") as store:
        put(store, many)
    [damaged] = (tmp_path / "s" / "index").rglob(name)
    damaged.write_bytes(b"\xff" * damaged.stat().st_size)
    with open_store(tmp_path / "s", "chroma") as store:
        [problem] = store.verify()
        assert "key index: it fails with" in problem
        assert find(store, "number n77")[0].atom == many.atoms[77]
        assert store.verify() == []


def test_threads_share_a_store(store):
    errors: list[Exception] = []

    def work(name: str) -> None:
        try:
            for number in range(10):
                put(store, page(name, number))
                assert find(store, f"document d{number}", by=name)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.atoms()) == 6 * 10 * 5
    assert store.verify() == []


def test_two_stores_of_one_process_share_a_folder(tmp_path):
    with open_store(tmp_path / "s", "chroma") as one, open_store(tmp_path / "s", "chroma") as two:
        put(one, ADA)
        assert find(two, "tea")[0].atom == ADA.atoms[1]
        two.delete([ADA.ids[1]])
        assert [candidate.atom for candidate in find(one, "tea")] == [ADA.atoms[0]]


def test_a_forked_child_is_told_to_open_the_store_again(plain):
    put(plain, ADA)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            plain.atoms()
        except StoreError as error:
            code = 0 if "forked" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_lock_outlives_the_copy_of_it_in_a_forked_child(tmp_path):
    lock = Lock(tmp_path / "x.lock", purpose="testing")
    lock.acquire(0)
    pid = os.fork()
    if pid == 0:
        del lock
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
        Lock(tmp_path / "x.lock", purpose="testing").acquire(0)
    lock.release()


def test_the_exact_index_needs_neither_chroma_nor_torch(tmp_path):
    script = (
        "import sys; from pathlib import Path; from store_world import ADA, find, open_store, put\n"
        f"with open_store(Path({str(tmp_path)!r}) / 's') as store: put(store, ADA); find(store, 'tea')\n"
        "assert not {'chromadb', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, check=True, timeout=60)
