import random
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.config import IngestConfig
from parametric_memory.errors import ExtractionError
from parametric_memory.ingest import RuleExtractor, extract_document, read_path
from parametric_memory.ingest.extraction import whole
from parametric_memory.ingest.markdown import read_markdown
from parametric_memory.types import Atom, AtomKind, Document, Span


@dataclass
class Whole:
    """Takes every passage as one atom, as an extractor of somebody else might, without ids or positions."""

    shift: int = 0

    def extract(self, passage):
        span = Span(passage.span.start + self.shift, passage.span.end + self.shift)
        return [Atom("", AtomKind.FACT, passage.text, passage.text, "", span)]


def test_atoms_of_any_extractor_are_numbered_within_their_document():
    text = "# A\n\nSame words here.\n\n# B\n\nOther words here.\n\n# A\n\nSame words here.\n"
    document = Document.of(text, source="a.md", metadata={"user_id": "mira"}, blocks=read_markdown(text).blocks)
    atoms = extract_document(document, Whole())
    assert [atom.position for atom in atoms] == [0, 1, 2]
    assert atoms[0].statement == atoms[2].statement
    assert len({atom.id for atom in atoms}) == 3
    assert {(atom.document_id, atom.source, atom.metadata["user_id"]) for atom in atoms} == {
        (document.id, "a.md", "mira")
    }


def test_a_text_without_a_sentence_can_be_taken_as_one_atom():
    document = Document.of("Opening\n hours", source="a.txt")
    [atom] = whole(document)
    assert (atom.statement, atom.span, atom.source) == ("Opening hours", Span(0, 14), "a.txt")
    assert whole(Document.of(" \n")) == []


def test_the_same_sentence_keeps_its_atom_when_the_text_around_it_changes():
    before = Document.of("Lisbon has 34 desks. Porto has two desks.", source="a.txt")
    after = Document.of("New words come first. Lisbon has 34 desks. Porto has nine desks.", source="a.txt")
    ids = [{atom.text: atom.id for atom in extract_document(document, RuleExtractor())} for document in (before, after)]
    assert ids[0]["Lisbon has 34 desks."] == ids[1]["Lisbon has 34 desks."]
    assert ids[0].keys() & ids[1].keys() == {"Lisbon has 34 desks."}


@given(
    st.lists(
        st.sampled_from(
            [
                "# Head",
                "- item one two",
                "Words **are** here.",
                "| a | b |",
                "|---|---|",
                "> said he",
                "نص عربي هنا.",
                "👨‍👩‍👧‍👦 é x 1",
                "",
            ]
        )
    ).map("\r\n".join)
)
def test_every_atom_cites_characters_of_its_document_in_order(text):
    document = Document.of(text, blocks=read_markdown(text).blocks)
    atoms = extract_document(document, RuleExtractor(), IngestConfig(passage_chars=60))
    assert all(atom.span.of(text) == atom.span.of(text).strip() != "" for atom in atoms)
    assert [atom.span.start for atom in atoms] == sorted(atom.span.start for atom in atoms)


def test_a_citation_outside_the_document_is_an_error_that_says_so():
    document = Document.of("Short words here.", source="a.txt")
    with pytest.raises(ExtractionError, match=r"a\.txt.*span 9\.\.26") as caught:
        extract_document(document, Whole(shift=9))
    assert (caught.value.document_id, caught.value.span) == (document.id, Span(9, 26))


def test_a_large_file_takes_time_in_proportion_to_its_length(tmp_path):
    rng = random.Random(0)
    words = ("the", "Lisbon", "office", "has", "desks", "Marta", "Silva", "in", "2019", "reports", "to", "harbour")

    def seconds(characters):
        sentences = (" ".join(rng.choices(words, k=14)).capitalize() + "." for _ in range(characters // 90))
        path = tmp_path / "large.txt"
        path.write_text(
            "".join(f"{sentence}{' ' * rng.randint(1, 2)}" + "\n\n" * (rng.random() < 0.2) for sentence in sentences)
        )
        start = time.process_time()
        (document,) = read_path(path)
        assert extract_document(document, RuleExtractor())
        return time.process_time() - start

    seconds(10_000)
    small, large = seconds(50_000), seconds(800_000)
    # Sixteen times the text; 256 times the time if it were quadratic.
    assert large < 60 * small
