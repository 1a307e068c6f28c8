"""LongBench: ``{"input": question, "context": one long document, "answers": [...], "_id"}``, one object a line.

Where the answer is the word "unanswerable", the question has none.
"""

from __future__ import annotations

from parametric_memory.evaluation.datasets.rows import Row, distinct
from parametric_memory.types import stable_id


def is_longbench(row: Row) -> bool:
    """Return whether this is a row of LongBench."""
    return {"input", "context", "answers"} <= row.fields.keys()


def longbench_row(row: Row) -> Row:
    """Return a row of LongBench in our keys; questions about the same context share its document."""
    question, context = row.take("input", str), row.take("context", str)
    if not question.strip():
        raise row.wrong("'input' is empty: this task has no questions; choose one that asks, such as qasper")
    answers = [answer for answer in row.take("answers", list) if answer != "unanswerable"]
    fields = {"doc_id": stable_id(context), "document": context, "question": question, "answers": distinct(answers)}
    return Row(row.path, row.where, fields)
