from parametric_memory.ingest.html import read_html
from parametric_memory.types import BlockKind

PAGE = """<!doctype html><html><head><title>Guide &amp; map</title><style>p {}</style></head><body>
<nav><a href="/">Home</a></nav><script>var x = "hidden";</script>
<h1>Guide</h1>Loose <b>wo</b>rds
in a   row.<div>Own <i>block</i>.<br>Next line.</div><p hidden>Not shown</p>
<h2>Steps</h2><p>To reset the router:</p><ol><li>Hold the <em>button</em><li>Wait<ul><li>ten seconds</ul></ol>
<dl><dt>Halfboat</dt><dd>A ferry with fewer than ten passengers.</dd></dl>
<table><caption>Rooms</caption><tr><th>Room</th><th>Seats</th></tr><tr><td>Aurora</td><td>12</td></tr></table>
<pre>make demo
  now</pre></body></html>"""


def test_the_visible_text_becomes_blocks():
    content = read_html(PAGE)
    assert content.title == "Guide & map"
    assert [(block.kind.value, block.span.of(content.text)) for block in content.blocks] == [
        ("heading", "Guide"),
        ("paragraph", "Loose words in a row."),
        ("paragraph", "Own block. Next line."),
        ("heading", "Steps"),
        ("paragraph", "To reset the router:"),
        ("list_item", "Hold the button"),
        ("list_item", "Wait"),
        ("list_item", "ten seconds"),
        ("list_item", "A ferry with fewer than ten passengers."),
        ("paragraph", "Rooms"),
        ("table_row", "Aurora | 12"),
        ("code", "make demo\n  now"),
    ]


def test_what_a_browser_hides_is_not_in_the_text():
    text = read_html(PAGE).text
    assert not [word for word in ("Home", "hidden", "Not shown", "p {}") if word in text]


def test_items_terms_and_rows_know_what_introduces_them():
    content = read_html(PAGE)
    leads = {block.span.of(content.text): block.lead for block in content.blocks}
    assert leads["Hold the button"] == "To reset the router:"
    assert leads["ten seconds"] == "To reset the router: Wait:"
    assert leads["A ferry with fewer than ten passengers."] == "Halfboat:"
    (row,) = (block for block in content.blocks if block.kind is BlockKind.TABLE_ROW)
    assert row.cells == (("Room", "Aurora"), ("Seats", "12"))
    assert row.lead == "Rooms:"
    assert row.headings == ("Guide", "Steps")


def test_a_table_that_lays_out_the_page_is_read_as_blocks():
    content = read_html(
        "<table><tr><td><table><tr><td>Inner</td><td>cell</td></tr></table></td><td><p>Words</p></td></tr></table>"
    )
    assert [block.span.of(content.text) for block in content.blocks] == ["Inner | cell", "Words"]


def test_pages_may_nest_deeper_than_python_recurses():
    content = read_html("<div><b>" * 5000 + "deep words")
    assert content.text == "deep words"


def test_a_cell_of_several_rows_stands_in_each_and_one_of_several_columns_in_the_first():
    rows = (
        "<tr><th>day</th><th colspan=2>room</th></tr><tr><td rowspan='2'>Monday</td><td>Aurora</td><td>Tern</td></tr>"
        "<tr><td>Borealis</td><td>-</td></tr><tr><td colspan=3>Closed on Sundays</td></tr>"
    )
    content = read_html(f"<table>{rows}</table>")
    assert [block.cells for block in content.blocks] == [
        (("day", "Monday"), ("room", "Aurora"), ("room", "Tern")),
        (("day", "Monday"), ("room", "Borealis"), ("room", "-")),
        (("day", "Closed on Sundays"), ("room", ""), ("room", "")),
    ]


def test_only_the_head_gives_a_title_and_what_a_browser_does_not_show_is_left_out():
    page = (
        "<body><svg><title>Menu</title></svg><noscript>Enable it.</noscript><h1>Handbook</h1><p>It is open.</p></body>"
    )
    content = read_html(page)
    assert content.title == "Handbook"
    assert content.text == "Handbook\n\nIt is open."
