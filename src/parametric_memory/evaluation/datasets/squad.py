"""SQuAD, 1.1 and 2.0: the official nested file, or the same rows one by one.

The official file is ``{"data": [{"title", "paragraphs": [{"context", "qas": [{"question", "answers": [{"text"}],
"is_impossible"}]}]}]}``; a single row is ``{"title", "context", "question", "answers": {"text": [...]}}``. A
document is a paragraph. Plausible answers of impossible questions are not answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parametric_memory.evaluation.datasets.rows import Row, distinct
from parametric_memory.types import stable_id


def nested_rows(file: Row) -> Iterator[Row]:
    """Yield a row per question, and one per paragraph, of the official file."""
    for a, article in enumerate(file.take("data", list), 1):
        about = file.part(f"article {a}", article)
        for p, paragraph in enumerate(about.take("paragraphs", list), 1):
            place = about.part(f"paragraph {p}", paragraph)
            fields = _document(about.fields.get("title"), place.take("context", str))
            yield Row(file.path, place.where, fields | {"question": None})
            for q, asked in enumerate(place.take("qas", list), 1):
                question = place.part(f"question {q}", asked)
                yield Row(file.path, question.where, fields | _question(question))


def is_flat(row: Row) -> bool:
    """Return whether this is a row of SQuAD by itself."""
    return isinstance(row.fields.get("context"), str) and "question" in row.fields and "document" not in row.fields


def flat_row(row: Row) -> Row:
    """Return a row of SQuAD in our keys."""
    fields = _document(row.fields.get("title"), row.take("context", str))
    return Row(row.path, row.where, fields | _question(row))


def _document(title: Any, context: str) -> dict[str, Any]:
    title = title.replace("_", " ") if isinstance(title, str) else title
    return {"doc_id": stable_id(str(title or ""), context), "title": title, "document": context}


def _question(row: Row) -> dict[str, Any]:
    impossible = row.fields.get("is_impossible", False)
    answers = [] if impossible else _texts(row)
    return {"question": row.take("question", str), "answers": answers, "answerable": bool(answers)}


def _texts(row: Row) -> list[str]:
    answers = row.fields.get("answers")
    if isinstance(answers, dict):
        return distinct(row.part("answers", answers).take("text", list))
    listed = enumerate(row.take("answers", list), 1)
    return distinct(row.part(f"answer {n}", answer).take("text", str) for n, answer in listed)
