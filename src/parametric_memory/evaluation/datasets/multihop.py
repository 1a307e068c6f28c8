"""HotpotQA and 2WikiMultihopQA: questions that need sentences of several paragraphs.

A row is ``{"_id", "question", "answer", "context": [[title, [sentence, …]], …], "supporting_facts": [[title, number],
…]}``; ``context`` as ``{"title": [...], "sentences": [[...]]}`` and the facts as ``{"title": [...], "sent_id": [...]}``
are read too. The document is all its paragraphs, each under its title; it has no title of its own, because one made of
the supporting paragraphs' titles would tell where the answer stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parametric_memory.evaluation.datasets.rows import Row, distinct, shown
from parametric_memory.types import stable_id


def is_multihop(row: Row) -> bool:
    """Return whether this is a row of paragraphs and sentences."""
    context = row.fields.get("context")
    return isinstance(context, list) or (isinstance(context, Mapping) and "sentences" in context)


def multihop_row(row: Row) -> Row:
    """Return a row of HotpotQA or 2WikiMultihopQA in our keys, its supporting sentences as ``supports``."""
    paragraphs = _paragraphs(row)
    document = "\n\n".join(f"{title}\n{' '.join(sentences)}" for title, sentences in paragraphs)
    number = row.fields.get("_id") or row.fields.get("id")
    fields: dict[str, Any] = {
        "doc_id": str(number) if number else stable_id(document),
        "document": document,
        "question": row.take("question", str),
        "answers": [row.take("answer", str)],
        "supports": _supports(row),
    }
    return Row(row.path, row.where, fields)


def _paragraphs(row: Row) -> list[tuple[str, list[str]]]:
    paragraphs: list[tuple[str, list[str]]] = []
    for pair in _pairs(row.fields["context"], "title", "sentences"):
        if not _is_paragraph(pair):
            raise row.wrong(f"'context' has {shown(pair)}, expected a title and a list of sentences")
        title, sentences = pair
        paragraphs.append((title.strip(), [sentence.strip() for sentence in sentences if sentence.strip()]))
    return paragraphs


def _is_paragraph(pair: Any) -> bool:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return False
    title, sentences = pair
    return isinstance(title, str) and isinstance(sentences, list) and all(isinstance(one, str) for one in sentences)


def _supports(row: Row) -> list[str]:
    """Return the supporting sentences; a fact that names none of the sentences, as some do, is left out."""
    # Not from the paragraphs as they are joined: numbers count empty sentences too.
    numbered = {title.strip(): sentences for title, sentences in _pairs(row.fields["context"], "title", "sentences")}
    found: list[str] = []
    for pair in _pairs(row.fields.get("supporting_facts") or [], "title", "sent_id"):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[1], int):
            raise row.wrong(f"'supporting_facts' has {shown(pair)}, expected a title and the number of a sentence")
        sentences = numbered.get(str(pair[0]).strip(), [])
        found += [sentence.strip() for sentence in sentences[pair[1] : pair[1] + 1] if pair[1] >= 0]
    return distinct(sentence for sentence in found if sentence)


def _pairs(value: Any, first: str, second: str) -> list[Any]:
    """Return a list of pairs, or an object of two lists as one."""
    if isinstance(value, Mapping):
        return list(zip(value.get(first) or [], value.get(second) or [], strict=False))
    return value if isinstance(value, list) else [value]
