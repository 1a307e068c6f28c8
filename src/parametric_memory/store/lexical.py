"""Full-text search over statements: BM25 by SQLite's FTS5.

Any text is a query, in any script: its words are quoted one by one, so that nothing in it is read as FTS5's syntax.

FTS5 ranks every statement that holds any word, so that a question with "the" in it would take as long as there are
statements. The rarest words are looked for, as many as `MAX_ROWS` statements hold; the commoner ones of a large memory
are left out, which had next to no weight in BM25. Filters mean a part of the memory, where other words are rare: under
them every word is looked for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from sqlalchemy import Connection, select

from parametric_memory.store.filters import Filters, atoms_where
from parametric_memory.store.schema import atoms, statements

#: Words of a query that are looked for; a longer text is a document, not a question.
MAX_WORDS = 64
#: Rows that a search ranks, as long as it has a word that fewer statements hold: some 3 ms on one core.
MAX_ROWS = 2000


def words_of(text: str) -> list[str]:
    """Return the words of a text as FTS5's tokenizer cuts them, each once, at most `MAX_WORDS`."""
    # The categories that the tokenizer keeps: letters, marks, numbers, private use.
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or unicodedata.category(c) == "Co" else " " for c in text)
    return list(dict.fromkeys(kept.lower().split()))[:MAX_WORDS]


def lexical_search(connection: Connection, text: str, k: int, filters: Filters | None) -> list[tuple[str, float]]:
    """Return up to ``k`` (atom id, BM25) pairs, best first; BM25 is positive here, larger is better."""
    words = words_of(text)
    if not words or k < 1:
        return []
    # What is common in the memory may be rare among what the filters mean: with filters no word is left out.
    query = _any_of(words if filters else rarest(words, _held(connection, words), rows=MAX_ROWS))
    found = (
        select(atoms.c.id, (-statements.c.rank).label("score"))
        .select_from(statements.join(atoms, atoms.c.number == statements.c.rowid))
        .where(statements.c.statements.op("MATCH")(query), atoms_where(filters))
        .order_by(statements.c.rank, atoms.c.number)
        .limit(k)
    )
    return [(row.id, float(row.score)) for row in connection.execute(found)]


def rarest(words: Sequence[str], held: Sequence[int], *, rows: int) -> list[str]:
    """Return the words that the fewest statements hold, in their order: as many as `rows` in all, and at least one.

    Args:
        words: At least one.
        held: For each word, the number of statements that hold it; beyond `rows` any number that is larger.
        rows: So many are ranked at most, if a word allows it.
    """
    taken: set[int] = set()
    for number in sorted(range(len(words)), key=lambda n: (held[n], n)):
        rows -= held[number]
        # Words that no statement holds cost nothing, but are no reason to stop at.
        if rows < 0 and any(held[n] for n in taken):
            break
        taken.add(number)
    return [word for number, word in enumerate(words) if number in taken]


def rebuild_lexical(connection: Connection) -> None:
    """Make the full-text index anew from the statements: nothing of deleted ones is left in it."""
    connection.exec_driver_sql("INSERT INTO statements (statements) VALUES ('rebuild')")


def _any_of(words: Sequence[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)


def _held(connection: Connection, words: Sequence[str]) -> list[int]:
    """Return how many statements hold each word, counted up to one more than `MAX_ROWS`."""
    count = "(SELECT count(*) FROM (SELECT 1 FROM statements WHERE statements MATCH ? LIMIT ?))"
    values = tuple(value for word in words for value in (_any_of([word]), MAX_ROWS + 1))
    return list(connection.exec_driver_sql(f"SELECT {', '.join([count] * len(words))}", values).one())
