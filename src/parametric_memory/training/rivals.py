"""Rivals: for each question, atoms that a search would find beside its own, to be told apart in training.

BM25 over the atoms' texts stands for the similarity stage of routing. Words that very many atoms hold are not looked
for: they say little, and ranking all those atoms would take most of the time. What holds the answer's words is left
out: it may well answer.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from parametric_memory.training.alignment import find, words
from parametric_memory.training.corpus import Corpus, Example

#: Rivals of one example, and how many atoms are looked at for them.
RIVALS, LOOKED_AT = 6, 16
#: A word of a question is looked for if no more atoms hold it.
COMMON = 1000


def rivals(corpus: Corpus, examples: Sequence[Example], *, among: Iterable[int]) -> dict[Example, list[int]]:
    """Return up to `RIVALS` rivals of each example that something answers.

    What answers the others is not known, so nothing can be known not to.

    Args:
        corpus: Holds the atoms.
        examples: What is asked.
        among: The atoms that are searched.
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE atoms USING fts5(text, tokenize = 'porter unicode61')")
        searched = sorted(set(among))
        rows = ((atom + 1, corpus.texts[atom]) for atom in searched)  # a rowid is positive
        connection.executemany("INSERT INTO atoms (rowid, text) VALUES (?, ?)", rows)
        held = Counter(word for atom in searched for word in set(words(corpus.texts[atom])))
        common = {word for word, count in held.items() if count > COMMON}
        return {example: _rivals(connection, corpus, example, common) for example in examples if example.golds}
    finally:
        connection.close()


def _rivals(connection: sqlite3.Connection, corpus: Corpus, example: Example, common: set[str]) -> list[int]:
    # Quoted, no word is read as FTS5's syntax.
    query = " OR ".join(f'"{word}"' for word in dict.fromkeys(words(example.question)) if word not in common)
    if not query:
        return []
    found = connection.execute(
        "SELECT rowid - 1 FROM atoms WHERE atoms MATCH ? ORDER BY rank, rowid LIMIT ?", (query, LOOKED_AT)
    )
    # The same sentence may stand in two documents.
    own = {corpus.texts[atom] for atom in example.golds}
    others = [atom for (atom,) in found if corpus.texts[atom] not in own]
    return [atom for atom in others if not find(example.answer, corpus.texts[atom])][:RIVALS]
