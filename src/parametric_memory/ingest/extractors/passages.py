"""One atom per passage: chunks, for compilers that read more than a sentence at a time."""

from __future__ import annotations

from dataclasses import dataclass

from parametric_memory.ingest.extractors.rules import resolve_context
from parametric_memory.ingest.markup import mask, visible
from parametric_memory.types import Atom, AtomKind, BlockKind, Passage, stable_id, stated


@dataclass(frozen=True, slots=True)
class PassageExtractor:
    """Makes one atom of a passage: its words without markup, behind its title and headings.

    The ids of its atoms are provisional until `extract_document` has numbered them.
    """

    def extract(self, passage: Passage) -> list[Atom]:
        """Return the passage as an atom; none if it has no words."""
        text = visible(mask(passage.text))
        if not any(character.isalnum() for character in text):
            return []
        headings = next((block.headings for block in passage.blocks if block.kind is not BlockKind.HEADING), ())
        context = resolve_context(passage.title, headings)
        statement = stated(text, context)
        provisional = stable_id(passage.document_id, statement, str(passage.span.start))
        return [Atom(provisional, AtomKind.FACT, statement, text, passage.document_id, passage.span, context)]
