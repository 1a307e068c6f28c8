"""Plain CSV: questions in a table, the documents in a folder beside it.

The first row names the columns: ``question``, ``answer`` (or ``answers``; several with ``|`` between) and, if you like,
``document``. The folder is called ``documents``, or as the table without its suffix; its files are read as `pmem add`
reads them, and those that cannot be read are logged. A row's document is a path inside that folder. If no row names
one, every question is asked of all of them; where its right answer stands is looked for by words.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.datasets.questions import dataset_name
from parametric_memory.evaluation.datasets.rows import Row, distinct, shown
from parametric_memory.evaluation.metrics import normalise
from parametric_memory.ingest import read_folder, read_path
from parametric_memory.types import Document

_ANSWERS = ("answers", "answer")


def is_table(text: str) -> bool:
    """Return whether the text begins with a row of column names, ``question`` among them."""
    return "question" in _columns(text)


class _Searched(NamedTuple):
    """A document's fields, its text as answers are compared with it, and its words."""

    fields: dict[str, Any]
    text: str
    words: frozenset[str]

    @classmethod
    def of(cls, name: str, document: Document) -> _Searched:
        text = f" {normalise(document.text)} "
        return cls(_document(name, [document]), text, frozenset([*text.split(), *normalise(document.title).split()]))


def table_rows(path: Path, text: str) -> Iterator[Row]:
    """Yield a row per question, and one per document of the folder that no question names."""
    rows = [row for row in _read(path, text) if any(row.fields.values())]
    named = [row for row in rows if row.fields.get("document")]
    folder = _folder(path)
    if named and len(named) < len(rows):
        row = next(row for row in rows if not row.fields.get("document"))
        raise row.wrong("it names no document, but other rows do; name one in every row, or in none")
    yield from _about_files(named, folder) if named else _about_any(path, rows, folder)


def _about_files(rows: Sequence[Row], folder: Path) -> Iterator[Row]:
    """Yield the questions with their documents, each file read once, and then the folder's other documents."""
    documents: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row.fields["document"]
        if name not in documents:
            documents[name] = _document(name, _one_of(row, folder, name))
        yield Row(row.path, row.where, documents[name] | _question(row))
    for name, read in _files(folder):
        if name not in documents:
            yield Row(rows[0].path, name, _document(name, read) | {"question": None})


def _about_any(path: Path, rows: Sequence[Row], folder: Path) -> Iterator[Row]:
    """Yield the folder's documents, and then the questions, each with the one that most likely holds its answer."""
    documents = _all_of(folder)
    for document in documents:
        yield Row(path, document.fields["doc_id"], document.fields | {"question": None})
    for row in rows:
        question = _question(row)
        yield Row(row.path, row.where, _likeliest(question, documents) | question | {"anywhere": True})


def _likeliest(question: Mapping[str, Any], documents: Sequence[_Searched]) -> dict[str, Any]:
    """Return the document that holds a right answer, or any if none does: of several, the one nearest in words."""
    asked = set(normalise(question["question"]).split())
    answers = [f" {normalise(answer)} " for answer in question["answers"]]
    holding = [document for document in documents if any(answer in document.text for answer in answers)]
    return max(holding or documents, key=lambda document: len(asked & document.words)).fields


def _read(path: Path, text: str) -> Iterator[Row]:
    """Yield the rows below the first, numbered as a spreadsheet numbers them: the first question is in row 2."""
    columns = _columns(text)
    file = Row(path, "row 1", {})
    if "question" not in columns or not set(_ANSWERS) & set(columns):
        raise file.wrong(f"the columns are {shown(columns)}, expected question, answer and, if you like, document")
    reader = csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=_delimiter(text), strict=True)
    number = 1
    try:
        for number, cells in enumerate(reader, 1):
            if len(cells) > len(columns):
                raise Row(path, f"row {number}", {}).wrong(
                    f"{len(cells)} cells for {len(columns)} columns; put quotes around a text that has commas in it"
                )
            if number > 1:
                yield Row(path, f"row {number}", dict(zip(columns, map(str.strip, cells), strict=False)))
    except csv.Error as error:
        raise Row(path, f"row {number + 1}", {}).wrong(f"not CSV ({error}); close every quotation mark") from error


def _columns(text: str) -> list[str]:
    cells = next(csv.reader([_header(text)], delimiter=_delimiter(text)), [])
    return [cell.strip().lower() for cell in cells]


def _delimiter(text: str) -> str:
    """Return what separates the columns: the first line is short and knows."""
    return max(",;\t", key=_header(text).count)


def _header(text: str) -> str:
    # Cut: a file that is no table may be one line as long as a book.
    return text.lstrip("\r\n").split("\n", 1)[0][:4096].rstrip("\r")


def _question(row: Row) -> dict[str, Any]:
    written = next((row.fields[key] for key in _ANSWERS if row.fields.get(key)), "")
    answers = distinct(answer.strip() for answer in written.split("|") if answer.strip())
    return {"question": row.fields.get("question", ""), "answers": answers}


def _folder(path: Path) -> Path:
    wanted = (path.with_name("documents"), path.with_name(dataset_name(path)))
    folder = next((one for one in wanted if one.is_dir()), None)
    if folder is None:
        raise UnreadableDocumentError(
            f"reading the questions of {path}: there is no folder of documents beside it; put the documents into "
            f"{wanted[0]} or {wanted[1]}"
        )
    return folder


def _one_of(row: Row, folder: Path, name: str) -> Sequence[Document]:
    try:
        return read_path(folder / name)
    except UnreadableDocumentError as error:
        raise row.wrong(f"its document is {name!r}, a path inside {folder}: {error}") from error


def _files(folder: Path) -> Iterator[tuple[str, Sequence[Document]]]:
    """Yield what the folder's files hold, by their paths in it; of those that cannot be read, the log tells."""
    for result in read_folder(folder):
        if result.documents:
            yield result.path.relative_to(folder).as_posix(), result.documents


def _all_of(folder: Path) -> list[_Searched]:
    """Return the folder's documents, each by itself, also those of a file that holds several."""
    found = [
        _Searched.of(name if len(read) == 1 else f"{name}#{number}", document)
        for name, read in _files(folder)
        for number, document in enumerate(read, 1)
    ]
    if not found:
        raise UnreadableDocumentError(f"reading the documents of {folder}: there is none that can be read; add some")
    return found


def _document(name: str, documents: Sequence[Document]) -> dict[str, Any]:
    """Return documents as one: a file of JSON lines holds several."""
    title = documents[0].title if len(documents) == 1 else ""
    return {"doc_id": name, "title": title, "document": "\n\n".join(document.text for document in documents)}
