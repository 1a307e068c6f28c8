"""Files to documents: plain text, Markdown, HTML, PDF, JSON Lines.

A file that cannot be read raises `UnreadableDocumentError`, which names it and says what to do; in a folder the
error is part of the result, and the other files are read all the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from parametric_memory.config import IngestConfig
from parametric_memory.errors import MissingDependencyError, UnreadableDocumentError
from parametric_memory.ingest.encoding import decode
from parametric_memory.ingest.html import read_html
from parametric_memory.ingest.jsonl import read_jsonl
from parametric_memory.ingest.markdown import read_markdown
from parametric_memory.ingest.outline import Content
from parametric_memory.ingest.pdf import read_pdf
from parametric_memory.ingest.plain import read_plain
from parametric_memory.types import Document, Metadata

logger = logging.getLogger(__name__)

_MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mkd"})
_HTML = frozenset({".html", ".htm", ".xhtml"})
#: Files that hold a document a line.
JSONL = frozenset({".jsonl", ".ndjson"})


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What came of one file of a folder: its documents, or the error that kept it from being read."""

    path: Path
    documents: tuple[Document, ...] = ()
    error: UnreadableDocumentError | None = None


def read_path(
    path: str | Path, *, config: IngestConfig | None = None, metadata: Metadata | None = None
) -> list[Document]:
    """Read one file. All formats hold one document, except JSON Lines.

    Args:
        path: The file; its documents are cited under this path as it is given.
        config: Limits; the defaults if None.
        metadata: Given to every document.

    Raises:
        UnreadableDocumentError: If the file is missing, a folder, empty, binary, encrypted, damaged or too large.
        MissingDependencyError: If the format needs a library that is not installed.
    """
    path = Path(path)
    source, suffix, metadata = path.as_posix(), path.suffix.lower(), metadata or {}
    raw = _bytes(path, (config or IngestConfig()).max_bytes)
    if suffix == ".pdf" or raw.startswith(b"%PDF-"):
        return [_document(read_pdf(raw, name=source), path, metadata)]
    text = decode(raw)
    if text is None:
        raise UnreadableDocumentError(
            f"reading {source}: it is binary, not text; convert it to txt, md, html, pdf or jsonl"
        )
    if not text.strip():
        raise UnreadableDocumentError(f"reading {source}: it holds nothing but white space; leave it out")
    if suffix in JSONL:
        return read_jsonl(text, source=source, metadata=metadata)
    content = _content(text, suffix)
    if not content.text.strip():
        raise UnreadableDocumentError(
            f"reading {source}: it shows no text; if a script writes the page, save what it shows"
        )
    return [_document(content, path, metadata)]


def read_folder(
    path: str | Path, *, config: IngestConfig | None = None, metadata: Metadata | None = None
) -> Iterator[ReadResult]:
    """Read the files of a folder one after the other, in the order of `find_files`.

    Raises:
        UnreadableDocumentError: At once, if there is nothing at ``path``.
    """
    return (_result(file, config, metadata) for file in find_files(path))


def find_files(path: str | Path) -> list[Path]:
    """Return the files below a folder in sorted order, or the file itself; hidden ones are left out.

    A folder that may not be listed is returned as if it were a file: reading it gives the error that reports it.

    Raises:
        UnreadableDocumentError: If there is nothing at ``path``.
    """
    path = Path(path)
    if not path.exists():
        raise UnreadableDocumentError(f"reading {path.as_posix()}: there is no such file or folder; check the path")
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    closed: list[Path] = []
    for folder, folders, files in os.walk(path, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder) / name for name in files if not name.startswith(".")]
    return sorted(found + closed)


def _result(path: Path, config: IngestConfig | None, metadata: Metadata | None) -> ReadResult:
    try:
        return ReadResult(path, tuple(read_path(path, config=config, metadata=metadata)))
    except UnreadableDocumentError as error:
        failure = error
    except MissingDependencyError as error:
        failure = UnreadableDocumentError(str(error))
        failure.__cause__ = error
    logger.warning("%s", failure)
    return ReadResult(path, error=failure)


def _bytes(path: Path, max_bytes: int) -> bytes:
    name = path.as_posix()
    try:
        if path.is_dir():
            # Listing a folder that is closed to us raises what its reader should be told.
            next(os.scandir(path), None)
            raise UnreadableDocumentError(f"reading {name}: it is a folder; read it with read_folder")
        if not path.is_file() and path.exists():
            raise UnreadableDocumentError(f"reading {name}: it is not a regular file; copy its content into one")
        size = path.stat().st_size
        if size > max_bytes:
            raise UnreadableDocumentError(
                f"reading {name}: {size:,} bytes is over the limit of {max_bytes:,}; split it or raise max_bytes"
            )
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableDocumentError(f"reading {name}: there is no such file; check the path") from error
    except PermissionError as error:
        raise UnreadableDocumentError(f"reading {name}: permission denied; make it readable for this user") from error
    except OSError as error:
        raise UnreadableDocumentError(
            f"reading {name}: {error.strerror or error}; check the path and the disk"
        ) from error
    if not raw:
        raise UnreadableDocumentError(f"reading {name}: it is empty; leave it out")
    return raw


def _content(text: str, suffix: str) -> Content:
    if suffix in _MARKDOWN:
        return read_markdown(text)
    return read_html(text) if suffix in _HTML else read_plain(text)


def _document(content: Content, path: Path, metadata: Mapping[str, str | int | float | bool]) -> Document:
    title = content.title or path.stem
    return Document.of(content.text, source=path.as_posix(), title=title, metadata=metadata, blocks=content.blocks)
