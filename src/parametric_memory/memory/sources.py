"""Whatever a caller adds, as documents: text, files, folders, messages, LangChain and LlamaIndex documents.

A plain string is a text, never a path: pass `pathlib.Path` for files and folders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from parametric_memory.config import IngestConfig
from parametric_memory.errors import IngestError, MissingDependencyError, UnreadableDocumentError
from parametric_memory.ingest import read_folder, read_path
from parametric_memory.ingest.readers import JSONL
from parametric_memory.types import SCOPE_KEYS, Document, Metadata, Scalar, stable_id


def documents_of(content: Any, *, metadata: Metadata, config: IngestConfig) -> Iterator[Document | IngestError]:
    """Yield the documents in `content`, and in place of each of several that cannot be read, its error.

    Args:
        content: A text; a path of a file or folder; a message ``{"role", "content"}`` (only the user's turns count); an
            object with ``page_content`` or ``text`` and ``metadata``; a `Document`; or a sequence of these.
        metadata: Added to every document's own.
        config: How files are read.

    Raises:
        UnreadableDocumentError: If `content` is none of these, or one alone that cannot be read.
        MissingDependencyError: If it is one file alone whose format needs a library that is not installed.
    """
    if isinstance(content, Document):
        yield _scoped(content, metadata)
    elif isinstance(content, str):
        yield _text(content, metadata)
    elif isinstance(content, Path):
        yield from _files(content, metadata, config)
    elif isinstance(content, Mapping) and "content" in content:
        if content.get("role", "user") == "user":
            yield _text(_said(content["content"]), metadata)
    elif several(content):
        for item in content:
            try:
                yield from documents_of(item, metadata=metadata, config=config)
            except (IngestError, MissingDependencyError) as error:
                yield error if isinstance(error, IngestError) else UnreadableDocumentError(str(error))
    else:
        yield _framework_document(content, metadata)


def several(content: Any) -> bool:
    """Return whether `content` may be several documents, of which the trouble of one does not stop the others."""
    if isinstance(content, Path):
        return content.is_dir() or content.suffix.lower() in JSONL
    return isinstance(content, Sequence) and not isinstance(content, str | bytes | bytearray)


def _files(path: Path, metadata: Metadata, config: IngestConfig) -> Iterator[Document | IngestError]:
    if not path.is_dir():
        yield from read_path(path, config=config, metadata=metadata)
        return
    for result in read_folder(path, config=config, metadata=metadata):
        if result.error is not None:
            yield result.error
        yield from result.documents


def _said(content: Any) -> str:
    """Return the words of a message, whose content is a text or parts of one: ``{"type": "text", "text": …}``."""
    lines: list[str] = []
    for part in content if isinstance(content, list | tuple) else [content]:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            raise UnreadableDocumentError(
                f"adding a message: its content holds {part!r:.60}, which is no text; leave out what has no words"
            )
        lines.append(text)
    return "\n".join(lines)


def _text(text: str, metadata: Metadata, own: Metadata | None = None) -> Document:
    """Return a document whose identity is its text: its source, if metadata names one, may have others."""
    if not text.strip():
        raise UnreadableDocumentError(
            "adding a text: it is empty; pass the words to remember, or a pathlib.Path of a file"
        )
    own = own or {}
    return _scoped(Document("", text, source=str({**own, **metadata}.get("source", "")), metadata=own), metadata)


def _framework_document(content: Any, metadata: Metadata) -> Document:
    """Read a LangChain `Document` (``page_content``) or a LlamaIndex one (``text``), by shape, not by import."""
    text = getattr(content, "page_content", None) or getattr(content, "text", None)
    if not isinstance(text, str):
        raise UnreadableDocumentError(
            f"adding a {type(content).__name__}: expected a str, a pathlib.Path, a message with 'content', a Document, "
            "or a sequence of these"
        )
    own = {key: value for key, value in (getattr(content, "metadata", None) or {}).items() if isinstance(value, Scalar)}
    return _text(text, metadata, own)


def _scoped(document: Document, metadata: Metadata) -> Document:
    """Return a document with more metadata, under its own id unless it has none or a scope comes with it."""
    merged = {**document.metadata, **metadata}
    # Made anew: without half characters, which nothing can store.
    made = Document.of(
        document.text, source=document.source, title=document.title, metadata=merged, blocks=document.blocks
    )
    if document.id and not metadata.keys() & SCOPE_KEYS:
        return replace(made, id=document.id)
    scope = [f"{key}={merged[key]}" for key in SCOPE_KEYS if key in merged]
    return replace(made, id=stable_id(document.id or made.text, *scope))
