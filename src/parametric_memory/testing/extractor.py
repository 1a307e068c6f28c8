"""What every `Extractor` must do, as tests to inherit.

For example::

    class TestMyExtractor(ExtractorConformance):
        @pytest.fixture
        def extractor(self):
            return MyExtractor()
"""

# ruff: noqa: D102 - a test's name is its sentence
from __future__ import annotations

from collections.abc import Sequence

import pytest

from parametric_memory.config import IngestConfig
from parametric_memory.ingest import extract_document, split
from parametric_memory.protocols import Extractor
from parametric_memory.types import Atom, Document

TEXTS = (
    "The library opens at nine. It closes at six on weekdays.",
    "# Rooms\n\n- The red room holds 12 people.\n- The blue room holds 40 people.\n",
    "Der Hafen öffnet um 7:30 Uhr.\r\n\r\nThe café 🦀 sells crab soup on Friday.",
    "",
    "   \n\n\t",
)


class ExtractorConformance:
    """Inherit, and give an extractor."""

    @pytest.fixture
    def extractor(self) -> Extractor:
        """Return the extractor under test."""
        raise NotImplementedError("a conformance test gives its own `extractor` fixture")

    def extract(self, extractor: Extractor, text: str) -> Sequence[Atom]:
        document = Document.of(text, source="notes.md", title="Notes", metadata={"user_id": "u"})
        return extract_document(document, extractor, IngestConfig())

    def test_it_is_an_extractor(self, extractor: Extractor) -> None:
        assert isinstance(extractor, Extractor)

    @pytest.mark.parametrize("text", TEXTS)
    def test_every_atom_cites_characters_of_its_document(self, extractor: Extractor, text: str) -> None:
        for atom in self.extract(extractor, text):
            assert 0 <= atom.span.start < atom.span.end <= len(text)
            assert atom.text.strip() and atom.statement.strip()

    @pytest.mark.parametrize("text", TEXTS)
    def test_atoms_come_in_reading_order_with_ids_of_their_own(self, extractor: Extractor, text: str) -> None:
        atoms = self.extract(extractor, text)
        assert [atom.span.start for atom in atoms] == sorted(atom.span.start for atom in atoms)
        assert len({atom.id for atom in atoms}) == len(atoms)

    def test_a_passage_is_read_the_same_way_twice(self, extractor: Extractor) -> None:
        assert self.extract(extractor, TEXTS[0]) == self.extract(extractor, TEXTS[0])

    def test_a_text_with_facts_gives_atoms_and_an_empty_one_none(self, extractor: Extractor) -> None:
        assert self.extract(extractor, TEXTS[0])
        assert not self.extract(extractor, TEXTS[4])

    def test_spans_are_spans_of_the_document_whatever_passage_they_stand_in(self, extractor: Extractor) -> None:
        text = "\n\n".join(f"Shelf number {n} holds {n * 3} boxes of salt." for n in range(60))
        document = Document.of(text)
        passages = split(document, max_chars=400)
        assert len(passages) > 1
        for passage in passages:
            for atom in extractor.extract(passage):
                assert passage.span.start <= atom.span.start < atom.span.end <= passage.span.end
