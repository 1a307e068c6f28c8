"""Plain CSV: questions in a table, the documents in a folder beside it.

The first row names the columns: ``question``, ``answer`` (or ``answers``; several with ``|`` between) and, if you like,
``document``. The folder is called ``documents``, or as the table without its suffix; its files are read as `pmem add`
reads them. A row's document is a path inside that folder. If no row names one, every question is asked of all of them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.datasets.questions import dataset_name
from parametric_memory.evaluation.datasets.rows import Row, distinct, shown
from parametric_memory.ingest import read_folder, read_path
from parametric_memory.types import Document

_ANSWERS = ("answers", "answer")


def is_table(text: str) -> bool:
    """Return whether the text begins with a row of column names, ``question`` among them."""
    return "question" in _columns(text)


def table_rows(path: Path, text: str) -> Iterator[Row]:
    """Yield a row per question, and one per document of the folder that no question names."""
    rows = [row for row in _read(path, text) if any(row.fields.values())]
    named = [row for row in rows if row.fields.get("document")]
    folder = _folder(path)
    if named and len(named) < len(rows):
        row = next(row for row in rows if not row.fields.get("document"))
        raise row.wrong("it names no document, but other rows do; name one in every row, or in none")
    if named:
        yield from _about_files(named, folder)
    else:
        whole = _document(folder.name, _all_of(folder))
        yield from (Row(row.path, row.where, whole | _question(row)) for row in rows)


def _about_files(rows: Sequence[Row], folder: Path) -> Iterator[Row]:
    """Yield the questions with their documents, each file read once, and then the folder's other documents."""
    documents: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row.fields["document"]
        if name not in documents:
            documents[name] = _document(name, _one_of(row, folder, name))
        yield Row(row.path, row.where, documents[name] | _question(row))
    for result in read_folder(folder):
        name = result.path.relative_to(folder).as_posix()
        if result.documents and name not in documents:
            yield Row(rows[0].path, name, _document(name, result.documents) | {"question": None})


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


def _all_of(folder: Path) -> Sequence[Document]:
    documents = [document for result in read_folder(folder) for document in result.documents]
    if not documents:
        raise UnreadableDocumentError(f"reading the documents of {folder}: there is none that can be read; add some")
    return documents


def _document(name: str, documents: Sequence[Document]) -> dict[str, Any]:
    """Return documents as one: a file of JSON lines holds several, a folder too."""
    title = documents[0].title if len(documents) == 1 else ""
    return {"doc_id": name, "title": title, "document": "\n\n".join(document.text for document in documents)}
