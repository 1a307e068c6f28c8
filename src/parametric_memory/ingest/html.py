"""HTML: what a browser would show, written out as blocks.

The document's text is that visible text; scripts, styles, forms and navigation are not part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parametric_memory.ingest.outline import Content, Manuscript, pair

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LISTS = ("ul", "ol", "menu")
_UNSHOWN = "script style template nav iframe svg object button select input textarea"
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
    title = page.css_first("title")
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
        for index, row in enumerate(rows):
            cells = [cell for cell in row.iter() if cell.tag in ("td", "th")]
            values = [_joined(cell) for cell in cells]
            if not any(values):
                continue
            span = self.manuscript.write(" | ".join(values), gap="\n" if index else "\n\n")
            if all(cell.tag == "th" for cell in cells) and index + 1 < len(rows):
                header = values
            else:
                self.manuscript.outline.row(span, pair(header, values))


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
