"""JSON Lines: one document per line, as ``{"text": …, "title": …, "source": …, "id": …, "metadata": {…}}``.

Only the text is required. A line without a source is cited as ``file#id``, or as ``file#line``.
"""

from __future__ import annotations

import json

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.ingest.plain import read_plain
from parametric_memory.types import Document, Metadata, Scalar


def read_jsonl(text: str, *, source: str, metadata: Metadata) -> list[Document]:
    """Return the documents of a JSON Lines file.

    Args:
        text: The decoded file.
        source: What the file is cited as.
        metadata: Added to every document; stronger than the line's own.

    Raises:
        UnreadableDocumentError: If a line is broken, naming the line.
    """
    documents: list[Document] = []
    seen: set[str] = set()
    # Not splitlines(): JSON strings may hold U+2028 and its like as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            document = _document(line, number, source, metadata, seen)
            seen.add(document.source)
            documents.append(document)
    return documents


def _document(line: str, number: int, source: str, metadata: Metadata, seen: set[str]) -> Document:
    where = f"reading {source}, line {number}"
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnreadableDocumentError(f"{where}: it is not JSON ({error}); write one JSON object per line") from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str) or not record["text"].strip():
        raise UnreadableDocumentError(f'{where}: expected an object with a "text" that is not empty, got {line[:60]!r}')
    for key, kinds in (("title", str), ("source", str), ("id", (str, int))):
        if not isinstance(record.get(key, ""), kinds):
            raise UnreadableDocumentError(f"{where}: {key!r} must be a string, got {record[key]!r}")
    own_id = record.get("id")
    place = f"#{number if own_id is None or own_id == '' else own_id}"
    cited = record.get("source") or source + place
    # Two lines of one source are two documents, not two versions of one.
    if cited in seen:
        cited = f"{cited}#{number}"
    content = read_plain(record["text"])
    title = record.get("title") or content.title
    own = _metadata(record.get("metadata") or {}, where)
    return Document.of(record["text"], source=cited, title=title, metadata={**own, **metadata}, blocks=content.blocks)


def _metadata(raw: object, where: str) -> dict[str, Scalar]:
    if not isinstance(raw, dict) or any(
        not isinstance(value, str | int | float | bool | None) for value in raw.values()
    ):
        raise UnreadableDocumentError(
            f'{where}: "metadata" must be an object of strings, numbers and booleans, got {raw!r:.80}'
        )
    return {key: value for key, value in raw.items() if value is not None}
