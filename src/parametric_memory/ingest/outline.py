"""What a reader finds in a file: its text, its title, and its blocks with the headings and the lead they stand under.

Readers report blocks in reading order; `Outline` knows which headings are open and which sentence introduces a
list. `Manuscript` does the same for formats whose text has to be written first (HTML, PDF).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parametric_memory.ingest.sentences import sentences
from parametric_memory.types import Block, BlockKind, Span

_COLONS = (":", "：")
#: A longer sentence that ends with a colon says more than what follows; it is not repeated in every item.
_LONGEST_LEAD = 200
_ENDS = (*".!?…", *_COLONS, *"。！？؟۔।")


@dataclass(frozen=True, slots=True)
class Content:
    """What was read of one file; ``title`` is empty if the file does not give one."""

    text: str
    title: str = ""
    blocks: tuple[Block, ...] = ()


class Outline:
    """The blocks of one document, collected in reading order."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._headings: list[tuple[int, str]] = []
        self._outermost: int | None = None
        self._lead = ""
        self._items: list[tuple[int, str]] = []
        self.title = ""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Everything that was reported so far."""
        return tuple(self._blocks)

    def heading(self, span: Span, text: str, *, level: int) -> None:
        """Report a heading; it closes the headings of its own and of deeper levels.

        The first one is the title, unless another stands beside it: then it is of one section only.
        """
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        self._add(BlockKind.HEADING, span)
        self._headings.append((level, text))
        if self._outermost is None:
            self.title, self._outermost = text, level
        elif level <= self._outermost:
            self.title = ""
        self.introduce("")

    def paragraph(self, span: Span, text: str) -> None:
        """Report a paragraph; if it ends with a colon, its last sentence introduces what follows."""
        self._add(BlockKind.PARAGRAPH, span)
        lead = sentences(text)[-1].of(text) if text.endswith(_COLONS) else ""
        self.introduce(lead if len(lead) <= _LONGEST_LEAD else "")

    def introduce(self, lead: str) -> None:
        """Let ``lead`` introduce the list, the table or the code that follows."""
        self._lead = lead
        self._items.clear()

    def item(self, span: Span, text: str, *, depth: int = 0) -> None:
        """Report a list item; items above it in the list are part of its lead ("Rooms: Second floor:")."""
        while self._items and self._items[-1][0] >= depth:
            self._items.pop()
        # A parent that is a whole sentence says its own thing; its children are not its objects.
        parents = [
            f"{parent.rstrip(':：')}:"
            for _, parent in self._items
            if parent.endswith(_COLONS) or not parent.endswith(_ENDS)
        ]
        self._add(BlockKind.LIST_ITEM, span, lead=" ".join([self._lead, *parents]).strip())
        self._items.append((depth, text))

    def row(self, span: Span, cells: Sequence[tuple[str, str]]) -> None:
        """Report a table row as (column, value) pairs."""
        self._add(BlockKind.TABLE_ROW, span, cells=tuple(cells), lead=self._lead)

    def code(self, span: Span) -> None:
        """Report a block of code; inside a list, the item above it introduces it."""
        item = self._items[-1][1] if self._items else ""
        self._add(BlockKind.CODE, span, lead=item if item.endswith(_COLONS) else self._lead)

    def _add(self, kind: BlockKind, span: Span, *, cells: tuple[tuple[str, str], ...] = (), lead: str = "") -> None:
        if span.start < span.end:
            self._blocks.append(Block(kind, span, tuple(text for _, text in self._headings), cells, lead))


class Manuscript:
    """A text that is written block by block, with its outline."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.outline = Outline()

    def write(self, text: str, *, gap: str = "\n\n") -> Span:
        """Append ``text`` after ``gap`` and return its span."""
        for part in (gap if self._length else "", text):
            self._parts.append(part)
            self._length += len(part)
        return Span(self._length - len(text), self._length)

    def content(self, title: str = "") -> Content:
        """Return what was written, under ``title`` or its first heading."""
        return Content("".join(self._parts), title or self.outline.title, self.outline.blocks)


def pair(header: Sequence[str], values: Sequence[str]) -> list[tuple[str, str]]:
    """Return (column, value) pairs: a value without a column gets an empty one, a column without a value goes."""
    columns = [*header, *[""] * (len(values) - len(header))]
    return list(zip(columns, values, strict=False))
