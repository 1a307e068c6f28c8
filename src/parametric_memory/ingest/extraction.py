"""Documents to atoms: split, extract, and number what any extractor returns.

An extractor sees one passage at a time; what depends on the whole document (the place of an atom, which occurrence
of its statement it is, and therefore its id) is settled here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from parametric_memory.config import IngestConfig
from parametric_memory.errors import ExtractionError
from parametric_memory.ingest.passages import split
from parametric_memory.protocols import Extractor
from parametric_memory.types import Atom, AtomKind, Document, Span, stable_id


def extract_document(document: Document, extractor: Extractor, config: IngestConfig | None = None) -> list[Atom]:
    """Return the atoms of a document in reading order, with their ids, positions, source and metadata.

    Raises:
        ExtractionError: If the extractor cannot read a passage, or cites what is not in the document.
    """
    config = config or IngestConfig()
    passages = split(document, max_chars=config.passage_chars)
    return number((atom for passage in passages for atom in extractor.extract(passage)), document)


def whole(document: Document) -> list[Atom]:
    """Return a document in which no sentence was found, such as a heading, as one atom; none if it is blank."""
    text = " ".join(document.text.split())
    if not text:
        return []
    return number([Atom("", AtomKind.FACT, text, text, document.id, Span(0, len(document.text)))], document)


def number(atoms: Iterable[Atom], document: Document) -> list[Atom]:
    """Return the atoms of one document, in order, as atoms of that document: ids, positions, source, metadata.

    Raises:
        ExtractionError: If an atom says nothing, or its span is not a span of the document.
    """
    occurrences: Counter[str] = Counter()
    numbered: list[Atom] = []
    for position, atom in enumerate(atoms):
        _check(atom, document)
        identity = stable_id(document.id, atom.statement, str(occurrences[atom.statement]))
        occurrences[atom.statement] += 1
        numbered.append(
            replace(
                atom,
                id=identity,
                document_id=document.id,
                position=position,
                source=document.source,
                metadata=document.metadata,
            )
        )
    return numbered


def _check(atom: Atom, document: Document) -> None:
    if not atom.statement.strip() or not atom.text.strip():
        problem = "an atom without a statement or without a text"
    elif atom.span.end > len(document.text) or not atom.span.of(document.text).strip():
        problem = (
            f"the span {atom.span.start}..{atom.span.end}, but the document has {len(document.text)} characters there"
        )
    else:
        return
    name = document.source or document.id
    raise ExtractionError(
        f"extracting atoms from {name}: the extractor returned {problem}; every atom must cite text of its document",
        document_id=document.id,
        span=atom.span,
    )
