"""HTML: what a browser would show, written out as blocks.

The document's text is that visible text; scripts, styles, forms and navigation are not part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from parametric_memory.ingest.outline import Content, Manuscript, pair

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
#: A cell spans no more rows or columns than this.
_WIDEST = 1000
_LISTS = ("ul", "ol", "menu")
_UNSHOWN = "script style noscript template nav iframe svg object button select input textarea"
_BLOCKS = (
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 header hgroup hr legend li main menu ol p pre section summary table tbody td tfoot "
    "th thead tr ul"
)
_BLOCK_TAGS = frozenset(_BLOCKS.split())


def read_html(text: str) -> Content:
    """Return the visible text of an HTML page; its title is that of its head, or its first heading."""
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(text)
    title = page.css_first("head > title")
    name = _joined(title) if title is not None else ""
    page.strip_tags(_UNSHOWN.split())
    for node in page.css("[hidden], [role=navigation]"):
        node.decompose()
    writer = _HtmlWriter()
    if page.body is not None:
        writer.walk(page.body)
    return writer.manuscript.content(name)


class _HtmlWriter:
    def __init__(self) -> None:
        self.manuscript = Manuscript()
        self._inline: list[str] = []
        self._open: list[str] = []

    def walk(self, root: LexborNode) -> None:
        """Write a tree; with a stack, because pages nest deeper than Python recurses."""
        todo: list[tuple[LexborNode, bool]] = [(root, True)]
        while todo:
            node, entering = todo.pop()
            if node.is_text_node:
                self._inline.append(node.text_content or "")
            elif not entering:
                self._flush()
                self._open.pop()
            elif node.tag == "br":
                self._inline.append("\n")
            elif node.tag == "table" and _is_data(node):
                self._flush()
                self._table(node)
            elif node.is_element_node:
                if node.tag in _BLOCK_TAGS:
                    self._flush()
                    self._open.append(node.tag)
                    todo.append((node, False))
                todo.extend((child, True) for child in reversed(list(node.iter(include_text=True))))

    def _flush(self) -> None:
        """Write the inline text that was gathered, as the block it stands in."""
        raw, self._inline = "".join(self._inline), []
        tag = self._open[-1] if self._open else ""
        if "pre" in self._open:
            code = "\n".join(line.rstrip() for line in raw.splitlines()).strip("\n")
            if code.strip():
                self.manuscript.outline.code(self.manuscript.write(code))
            return
        text = " ".join(raw.split())
        if not text:
            return
        span = self.manuscript.write(text, gap="\n" if tag in ("li", "dd") else "\n\n")
        outline = self.manuscript.outline
        heading = next((name for name in self._open if name in _HEADINGS), "")
        if heading:
            outline.heading(span, text, level=int(heading[1]))
        elif tag == "dt":
            outline.introduce(f"{text.rstrip(':')}:")
        elif "li" in self._open or tag == "dd":
            outline.item(span, text, depth=sum(name in _LISTS for name in self._open))
        else:
            outline.paragraph(span, text)

    def _table(self, table: LexborNode) -> None:
        caption = table.css_first("caption")
        if caption is not None and _joined(caption):
            text = _joined(caption)
            self.manuscript.outline.paragraph(self.manuscript.write(text), text)
            self.manuscript.outline.introduce(f"{text.rstrip(':.')}:")
        header: list[str] = []
        rows = table.css("tr")
        from_above: dict[int, tuple[str, int]] = {}
        for index, row in enumerate(rows):
            cells = [cell for cell in row.iter() if cell.tag in ("td", "th")]
            heads = all(cell.tag == "th" for cell in cells)
            values = _spread(cells, from_above, repeat=heads)
            if not any(values):
                continue
            span = self.manuscript.write(" | ".join(values), gap="\n" if index else "\n\n")
            if heads and cells and index + 1 < len(rows):
                header = values
            else:
                self.manuscript.outline.row(span, pair(header, values))


def _spread(cells: Sequence[LexborNode], from_above: dict[int, tuple[str, int]], *, repeat: bool) -> list[str]:
    """Return a row's values by column: a cell of several rows stands in each, one of several columns in the first.

    Args:
        cells: Of the row.
        from_above: By column, a value that goes on from the rows above, and for how many rows; brought up to date.
        repeat: A cell of several columns stands in each of them, as a head does.
    """
    values: list[str] = []

    def take_from_above() -> None:
        while len(values) in from_above:
            value, rows = from_above.pop(len(values))
            if rows > 1:
                below[len(values)] = (value, rows - 1)
            values.append(value)

    below: dict[int, tuple[str, int]] = {}
    for cell in cells:
        take_from_above()
        value, rows = _joined(cell), _span(cell, "rowspan")
        for column in range(_span(cell, "colspan")):
            if rows > 1:
                below[len(values)] = (value, rows - 1)
            values.append(value if repeat or not column else "")
    take_from_above()
    from_above.update(below)
    return values


def _span(cell: LexborNode, name: str) -> int:
    value = (cell.attributes.get(name) or "").strip()
    return min(max(int(value), 1), _WIDEST) if value.isascii() and value.isdigit() else 1


def _is_data(table: LexborNode) -> bool:
    """Return whether a table holds data; one that holds blocks lays out a page."""
    # A selection includes the node it starts from.
    return (
        len(table.css("table")) == 1
        and not table.css("ul, ol, h1, h2, h3, h4, h5, h6, pre")
        and bool(table.css("td, th"))
    )


def _joined(node: LexborNode) -> str:
    return " ".join(node.text(deep=True, separator=" " if node.css("br, p, div") else "").split())
