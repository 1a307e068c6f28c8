import pytest

from parametric_memory.ingest.markdown import read_markdown
from parametric_memory.types import BlockKind

SOURCE = """---
title: "The yard"
tags: [a, b]
---
# Handbook #

Some **bold** text
over two lines.

## Offices

The offices are:

1. Lisbon
   - third floor: 34 desks
2. [ ] Porto

> Quoted words
> go on.

| Room | Seats |
|------|------:|
| Aurora | 12 |
| `a|b` \\| c | 3 |

Run this:

```sh
make demo
```

Porto
-----
<!-- nothing to see -->
Last words."""


@pytest.fixture(params=["\n", "\r\n"])
def source(request):
    return SOURCE.replace("\n", request.param)


def test_the_text_is_the_file_and_spans_leave_markers_out(source):
    content = read_markdown(source)
    assert content.text == source
    assert [(block.kind.value, " ".join(block.span.of(source).split())) for block in content.blocks] == [
        ("heading", "Handbook"),
        ("paragraph", "Some **bold** text over two lines."),
        ("heading", "Offices"),
        ("paragraph", "The offices are:"),
        ("list_item", "Lisbon"),
        ("list_item", "third floor: 34 desks"),
        ("list_item", "[ ] Porto"),
        ("paragraph", "Quoted words > go on."),
        ("table_row", "Aurora | 12"),
        ("table_row", "`a|b` \\| c | 3"),
        ("paragraph", "Run this:"),
        ("code", "make demo"),
        ("heading", "Porto"),
        ("paragraph", "Last words."),
    ]


def test_blocks_know_their_headings_leads_and_columns(source):
    content = read_markdown(source)
    by_text = {block.span.of(source): block for block in content.blocks}
    assert content.title == "The yard"
    assert by_text["Last words."].headings == ("Handbook", "Porto")
    assert by_text["Lisbon"].lead == "The offices are:"
    assert by_text["third floor: 34 desks"].lead == "The offices are: Lisbon:"
    assert by_text["[ ] Porto"].lead == "The offices are:"
    assert by_text["Aurora | 12"].cells == (("Room", "Aurora"), ("Seats", "12"))
    assert by_text["make demo"].lead == "Run this:"


def test_a_table_of_nothing_but_a_header_is_a_row():
    (row,) = read_markdown("| Aurora | 12 |\n|---|---|\n").blocks
    assert row.kind is BlockKind.TABLE_ROW
    assert row.cells == (("", "Aurora"), ("", "12"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "```\nopen fence",
        "> ```\n> code\n> ```",
        "1. 1\n1. 1",
        "# ",
        "- - a\n\n\tcode",
        "a\x00b c\n",
        "[a]: x\nText here.",
    ],
)
def test_odd_sources_keep_every_block_inside_the_text(text):
    for block in read_markdown(text).blocks:
        assert block.span.of(text).strip()


def test_the_first_of_several_outermost_headings_is_no_title_of_the_others():
    text = "## Berlin office\nReception opens at nine.\n\n## Munich office\nReception opens at seven.\n"
    content = read_markdown(text)
    assert content.title == ""
    assert [block.headings for block in content.blocks if block.kind is BlockKind.PARAGRAPH] == [
        ("Berlin office",),
        ("Munich office",),
    ]
    assert read_markdown("# Offices\n## Berlin\nIt opens at nine.\n## Munich\nIt opens at seven.").title == "Offices"


def test_a_break_above_a_slide_is_no_front_matter():
    content = read_markdown("---\n\n# One\n\nThe office is in Berlin.\n\n---\n\n# Two\n\nIt opens at nine.\n")
    assert [block.span.of(content.text) for block in content.blocks] == [
        "One", "The office is in Berlin.", "Two", "It opens at nine.",
    ]  # fmt: skip


def test_a_day_is_not_the_number_of_an_item():
    content = read_markdown("3. Oktober: geschlossen\n\nThen:\n\n1. a first thing\n2. a second thing\n")
    assert [block.span.of(content.text) for block in content.blocks] == [
        "3. Oktober: geschlossen", "Then:", "a first thing", "a second thing",
    ]  # fmt: skip
