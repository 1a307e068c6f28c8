"""Files of questions, whatever their format: what is in a file decides, not what it is called.

=========================  ===========================================================================================
JSON lines                 our own: ``document`` and ``question`` are needed; ``doc_id``, ``title``, ``answers`` (empty
                           when the document does not answer) and ``answerable`` may be missing, other keys are ignored
SQuAD 1.1, 2.0             the official nested JSON, or its rows (`datasets.squad`)
HotpotQA, 2Wiki            a JSON list of questions with paragraphs of sentences (`datasets.multihop`)
LongBench                  JSON lines with ``input``, ``context``, ``answers`` (`datasets.longbench`)
CSV                        questions in a table, documents in a folder beside it (`datasets.table`)
=========================  ===========================================================================================

Any of them may be gzipped. The dataset is called as its file, without suffixes, whatever the rows say. A ``doc_id``
that names two different texts names two documents.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.datasets.longbench import is_longbench, longbench_row
from parametric_memory.evaluation.datasets.multihop import is_multihop, multihop_row
from parametric_memory.evaluation.datasets.questions import CorpusDocument, Question
from parametric_memory.evaluation.datasets.rows import Row, document_of, question_of
from parametric_memory.evaluation.datasets.squad import flat_row, is_flat, nested_rows
from parametric_memory.evaluation.datasets.table import is_table, table_rows
from parametric_memory.ingest.encoding import decode
from parametric_memory.types import stable_id

logger = logging.getLogger(__name__)

_KNOWN = "JSON lines, SQuAD's or HotpotQA's JSON, or CSV with the columns question and answer"


def read_questions(path: Path | str) -> list[Question]:
    """Read all questions of a file, in order.

    Raises:
        UnreadableDocumentError: If the file cannot be read or has no questions, or one of them is none, naming its
            place.
        MissingDependencyError: If a document beside a CSV file needs a library that is not installed.
    """
    questions = [question for _, question in _read(Path(path)) if question is not None]
    if not questions:
        raise UnreadableDocumentError(f"reading the questions of {path}: there are none in it")
    return questions


def corpus_documents(source: Path | str | Iterable[Question]) -> list[CorpusDocument]:
    """Return the documents of a file, also those that no question is about, or those of questions; each once.

    Raises:
        UnreadableDocumentError: If the file cannot be read.
    """
    if isinstance(source, Path | str):
        documents = (document for document, _ in _read(Path(source)))
    else:
        documents = (CorpusDocument(one.doc_id, one.title, one.document) for one in source)
    # The last one would do as well: those of one id are equal.
    return list({document.doc_id: document for document in documents}.values())


def _read(path: Path) -> Iterator[tuple[CorpusDocument, Question | None]]:
    """Yield every row's document, and its question if it has one."""
    documents: dict[str, CorpusDocument] = {}
    renamed: set[str] = set()
    for row in _rows(path):
        document = document_of(row)
        known = documents.setdefault(document.doc_id, document)
        if known.document != document.document:
            document = document._replace(doc_id=f"{document.doc_id}#{stable_id(document.document)[:8]}")
            renamed.add(document.doc_id)
            known = documents.setdefault(document.doc_id, document)
        # Rows of one document share its text in memory.
        document = document._replace(document=known.document)
        asks = row.fields.get("question", "") is not None
        yield document, question_of(row, document) if asks else None
    if renamed:
        logger.warning(
            "%s: %d documents have the doc_id of another text; they are read as documents of their own, such as %s",
            path, len(renamed), min(renamed),
        )  # fmt: skip


def _rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in our own keys."""
    text = _text(path)
    if text.lstrip()[:1] in {"{", "["}:
        yield from map(_translated, _json_rows(path, text))
    elif is_table(text):
        yield from table_rows(path, text)
    elif text.strip():
        line = text.strip().split("\n", 1)[0]
        raise UnreadableDocumentError(f"reading the questions of {path}, line 1: {line[:60]!r}, expected {_KNOWN}")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw.startswith(b"\x1f\x8b") or path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableDocumentError(
            f"reading the questions of {path}: {error}; expected {_KNOWN}, gzipped if the name ends in .gz"
        ) from error
    text = decode(raw)
    if text is None:
        raise UnreadableDocumentError(f"reading the questions of {path}: it is binary, expected {_KNOWN}, in UTF-8")
    return text


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    """Yield the objects of JSON lines, of a list, or the rows of SQuAD's file."""
    # Not splitlines: it also splits at characters that may stand in a document.
    lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    first = _object(next(lines)[1])
    if isinstance(first, dict) and not isinstance(first.get("data"), list):
        lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        for number, line in lines:
            yield Row(path, "", {}).part(f"line {number}", _parsed(path, line, number))
        return
    whole = _parsed(path, text, 1)
    if isinstance(whole, dict) and isinstance(whole.get("data"), list):
        yield from nested_rows(Row(path, "", whole))
        return
    for number, item in enumerate(whole if isinstance(whole, list) else [whole], 1):
        yield Row(path, "", {}).part(f"item {number}", item)


def _translated(row: Row) -> Row:
    """Return a row in our own keys, recognised by its own."""
    if "document" in row.fields:
        return row
    if is_multihop(row):
        return multihop_row(row)
    if is_longbench(row):
        return longbench_row(row)
    return flat_row(row) if is_flat(row) else row


def _object(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _parsed(path: Path, text: str, number: int) -> Any:
    """Return what JSON text says; ``number`` is that of its first line in the file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = Row(path, f"line {number + error.lineno - 1}", {})
        raise place.wrong(f"not JSON ({error.msg}, column {error.colno})") from error
    except RecursionError as error:
        raise Row(path, f"line {number}", {}).wrong("not JSON that can be read: it is nested too deeply") from error
