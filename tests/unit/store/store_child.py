"""What the tests run as another process: ``python store_child.py VERB STORE INDEX [NAME]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from store_world import Page, find, open_store, put


def page(name: str, number: int, edition: int = 0) -> Page:
    """Five sentences; those of other editions overlap."""
    return Page(
        f"{name}-{number}", [f"Fact f{i + edition} of document d{number} by {name}." for i in range(5)], {"by": name}
    )


def say(*words: object) -> None:
    """Tell the test, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def churn(path: Path, index: str, name: str) -> None:
    """Put, replace, search and delete until killed; say each committed document, by number and edition."""
    with open_store(path, index) as store:
        for step in range(100_000):
            number, edition = step % 7, step // 7 % 3
            if step % 11 == 10:
                say("deleting", number, 0)
                store.delete_document(page(name, number).document.id)
                say("deleted", number, 0)
                continue
            say("putting", number, edition)
            put(store, page(name, number, edition))
            say("put", number, edition)
            if step % 3 == 0:
                find(store, f"fact f{step}")


def write(path: Path, index: str, name: str) -> None:
    """Put twenty-five documents among other writers."""
    with open_store(path, index) as store:
        for number in range(25):
            put(store, page(name, number))
            find(store, f"document d{number}")


def read(path: Path, index: str, name: str) -> None:
    """For every line that comes in, say how many candidates there are."""
    with open_store(path, index) as store:
        for _ in sys.stdin:
            say(len(find(store, "fact of document", k=100)), store.stats().index)


def lock(path: Path, index: str, name: str) -> None:
    """Hold the write lock until killed."""
    with open_store(path, index) as store, store._write():
        say("locked")
        time.sleep(60)


def leave(path: Path, index: str, name: str) -> None:
    """Put and search, and end without closing."""
    store = open_store(path, index)
    put(store, page(name, 0))
    find(store, "fact")


if __name__ == "__main__":
    verb, path, index, name = sys.argv[1:]
    {"churn": churn, "write": write, "read": read, "lock": lock, "leave": leave}[verb](Path(path), index, name)
