from itertools import dropwhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.ingest import split
from parametric_memory.ingest.html import read_html
from parametric_memory.ingest.markdown import read_markdown
from parametric_memory.ingest.markup import mask
from parametric_memory.ingest.plain import read_plain
from parametric_memory.types import BlockKind, Document

LINES = st.sampled_from(
    [
        *(
            "# Heading",
            "CAPITALS HERE",
            "Title",
            "=====",
            "---",
            "- item one",
            "  * nested",
            "1. first",
            "To do this:",
            "> quoted words",
        ),
        *(
            "| a | b |",
            "|---|---|",
            "| 1 | 2 |",
            "```",
            "    code",
            "<p>para<br>",
            "<table><tr><td>x",
            "<!--",
            "[a]: b",
            "&amp;",
        ),
        *(
            "Dr. Smith came. He left!",
            "هذا نص عربي. نعم؟",
            "שלום",
            "👨‍👩‍👧‍👦 and é ñ̃",
            "中文。句子！",
            "",
            "",
            "word " * 30,
            "x" * 90,
        ),
    ]
)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\n\r\n", " "])
TEXTS = st.lists(st.tuples(LINES | st.text(max_size=8), ENDS).map("".join), max_size=25).map("".join)


@given(TEXTS, st.sampled_from([read_plain, read_markdown, read_html]), st.integers(20, 300))
def test_passages_are_exact_runs_of_the_text_in_order(text, read, max_chars):
    content = read(text)
    document = Document.of(content.text, blocks=content.blocks)
    end = 0
    for passage in split(document, max_chars=max_chars):
        assert document.text[passage.span.start : passage.span.end] == passage.text
        assert passage.span.start >= end
        end = passage.span.end
        # Headings stay with what follows them, and the sentence that introduces a list with its first item.
        body = list(dropwhile(lambda block: block.kind is BlockKind.HEADING, passage.blocks))
        assert len(passage.text) <= max_chars or not any(b.kind in ("paragraph", "list_item") for b in body[2:])
        for block in passage.blocks:
            assert passage.span.start <= block.span.start < block.span.end <= passage.span.end


@given(TEXTS, st.integers(20, 300))
def test_no_letter_of_a_plain_text_paragraph_is_left_out(text, max_chars):
    content = read_plain(text)
    passages = split(Document.of(text, blocks=content.blocks), max_chars=max_chars)
    covered = {i for passage in passages for block in passage.blocks for i in range(block.span.start, block.span.end)}
    for block in content.blocks:
        if block.kind is not BlockKind.HEADING:
            # Letters of markup (the name of an entity) are not the text's.
            letters = [i for i, letter in enumerate(mask(block.span.of(text)), block.span.start) if letter.isalnum()]
            assert set(letters) <= covered


def test_blocks_of_one_heading_stay_together_as_far_as_they_fit():
    text = "# A\n\n" + "\n\n".join(f"Sentence number {i} stands here." for i in range(6)) + "\n\n# B\n\nLast one.\n"
    passages = split(Document.of(text, blocks=read_markdown(text).blocks), max_chars=120)
    assert [[block.headings[-1:] for block in passage.blocks if block.headings] for passage in passages] == [
        [("A",)] * 3,
        [("A",)] * 3,
        [("B",)],
    ]


def test_a_passage_ends_between_sentences():
    text = " ".join(f"Dr. Smith opened office {i} in Lisbon." for i in range(40))
    passages = split(Document.of(text), max_chars=200)
    assert all(passage.text.startswith("Dr. Smith") and passage.text.endswith("Lisbon.") for passage in passages)
    assert " ".join(passage.text for passage in passages) == text


def test_the_sentence_that_introduces_a_list_stays_with_its_first_item():
    text = "Filler words stand here for a while.\n\nTo reset the router:\n\n- hold the button for ten seconds\n"
    passages = split(Document.of(text), max_chars=70)
    assert [passage.text.startswith("To reset") for passage in passages] == [False, True]


def test_headings_without_content_make_no_passage():
    text = "# A\n\n## B\n"
    assert split(Document.of(text, blocks=read_markdown(text).blocks)) == []


def test_a_passage_needs_room():
    with pytest.raises(ValueError, match="max_chars=0"):
        split(Document.of("Words."), max_chars=0)
