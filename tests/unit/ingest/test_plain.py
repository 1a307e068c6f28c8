import pytest

from parametric_memory.ingest.plain import read_plain
from parametric_memory.types import BlockKind


def blocks(text):
    return [(block.kind.value, block.span.of(text)) for block in read_plain(text).blocks]


def test_paragraphs_are_parted_by_blank_lines_and_may_be_wrapped():
    text = "The office opens at nine and closes\r\nat five on all working days.\r\n \r\nIt is closed on Sundays.\r\n"
    assert blocks(text) == [
        ("paragraph", "The office opens at nine and closes\r\nat five on all working days."),
        ("paragraph", "It is closed on Sundays."),
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Handbook\n========\n\nOffices\n-------\nLisbon has 34 desks.\n", ("Handbook", "Offices")),
        ("THE HANDBOOK\n\n1. Offices\n\nLisbon has 34 desks.\n", ("THE HANDBOOK", "1. Offices")),
        ("Handbook of the yard\n\n2.1 Offices\n\nLisbon has 34 desks.\n", ("Handbook of the yard", "2.1 Offices")),
        ("OFFICES\nLisbon has 34 desks and\nno lift at all.\n", ("OFFICES",)),
        (
            "THE HANDBOOK\n\nOffices\nLisbon has 34 desks on the third floor of the old customs house.\n",
            ("THE HANDBOOK", "Offices"),
        ),
    ],
)
def test_headings_are_known_by_underline_capitals_number_or_place(text, path):
    content = read_plain(text)
    assert content.blocks[-1].headings == path
    assert content.title == path[0]


def test_a_numbered_list_with_blank_lines_is_no_row_of_headings():
    text = "Do this:\n\n1. Press the button\n\n2. Wait ten seconds\n\nThen go on as before.\n"
    assert [kind for kind, _ in blocks(text)] == ["paragraph", "list_item", "list_item", "paragraph"]


def test_list_items_know_the_sentence_that_introduces_them():
    text = (
        "Read this first. To reset the router:\n- hold the button\n  for ten seconds\n- wait\n\nAfterwards it works.\n"
    )
    content = read_plain(text)
    assert [(block.span.of(text), block.lead) for block in content.blocks if block.kind is BlockKind.LIST_ITEM] == [
        ("hold the button\n  for ten seconds", "To reset the router:"),
        ("wait", "To reset the router:"),
    ]


def test_lines_that_were_ended_on_purpose_are_read_apart():
    text = "Name: Mira Lindquist\nPost: Head of catering at Orrin Sound Ferries\nExtension: 241\n"
    assert [shown for _, shown in blocks(text)] == text.splitlines()


def test_nothing_but_rules_makes_no_block():
    assert blocks("-----\n\n* * *\n") == []


def test_a_number_that_a_wrapped_line_begins_with_stays_in_its_sentence():
    text = "Das Sommerfest ist in Potsdam und zwar am\n12. Juli 2025 ab 15 Uhr.\n\n3. Oktober: zu\n24. Dezember: zu"
    content = read_plain(text)
    assert [block.span.of(text) for block in content.blocks] == [
        "Das Sommerfest ist in Potsdam und zwar am\n12. Juli 2025 ab 15 Uhr.", "3. Oktober: zu", "24. Dezember: zu",
    ]  # fmt: skip
