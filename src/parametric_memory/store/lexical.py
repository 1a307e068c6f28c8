"""Full-text search over statements: BM25 by SQLite's FTS5.

Any text is a query, in any script: its words are quoted one by one, so that nothing in it is read as FTS5's syntax.
"""

from __future__ import annotations

import unicodedata

from sqlalchemy import ColumnElement, Connection, func, select

from parametric_memory.store.schema import atoms, statements

#: Words of a query that are looked for; a longer text is a document, not a question.
MAX_WORDS = 64


def match_query(text: str) -> str:
    """Return an FTS5 query for statements that hold any of the text's words; empty if it has none."""
    # The categories that the tokenizer keeps: letters, marks, numbers, private use.
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or unicodedata.category(c) == "Co" else " " for c in text)
    words = list(dict.fromkeys(kept.lower().split()))[:MAX_WORDS]
    return " OR ".join(f'"{word}"' for word in words)


def lexical_search(connection: Connection, text: str, k: int, where: ColumnElement[bool]) -> list[tuple[str, float]]:
    """Return up to ``k`` (atom id, BM25) pairs, best first; BM25 is positive here, larger is better."""
    query = match_query(text)
    if not query or k < 1:
        return []
    found = (
        select(atoms.c.id, (-statements.c.rank).label("score"))
        .select_from(statements.join(atoms, atoms.c.number == statements.c.rowid))
        .where(statements.c.statements.op("MATCH")(query), where)
        .order_by(statements.c.rank, atoms.c.number)
        .limit(k)
    )
    return [(row.id, float(row.score)) for row in connection.execute(found)]


def rebuild_lexical(connection: Connection) -> None:
    """Make the full-text index anew from the statements: nothing of deleted ones is left in it."""
    connection.exec_driver_sql("INSERT INTO statements (statements) VALUES ('rebuild')")


def lexical_size(connection: Connection) -> int:
    """Return the number of statements in the full-text index."""
    return int(connection.execute(select(func.count()).select_from(statements)).scalar_one())
