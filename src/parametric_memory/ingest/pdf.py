"""PDF: the text that pages carry, written out as paragraphs, headings, lists and tables.

A PDF knows only where characters stand, so structure is read from sizes, weights and gaps. Lines are joined, words
that a line end hyphenates are made whole, and running heads and page numbers are left out: the result is the
document's text, and what citations cite. Pages that are pictures hold no text and need OCR first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from parametric_memory.errors import MissingDependencyError, UnreadableDocumentError
from parametric_memory.ingest.outline import Content, Manuscript, pair
from parametric_memory.ingest.plain import (
    ITEM,
    NUMBERED_HEADING,
    counts_on,
    had_room,
    is_heading_in_capitals,
    stands_alone,
)
from parametric_memory.types import Span

if TYPE_CHECKING:
    from pypdf import PdfReader

_HYPHENATED = re.compile(r"(?<=[^\W\d_])[-\u2010\xad]$")
_DIGITS = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(r"(?i)\W*(?:(?:.{0,80}\W)?(?:page|seite|p\.))?\s*\d{1,4}(?:\s*(?:/|of|von)\s*\d{1,4})?\W*")
_MADE_UP_TITLE = re.compile(r"(?i)untitled|microsoft (?:word|powerpoint)|.*\.(?:docx?|pptx?|tex|indd|pdf)$")
_ENDS_SENTENCE = (".", "!", "?", ":", "。", '."', ".)", ".”")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a page: its text, its size in points (0 if unknown), and where its pieces start and end (points)."""

    text: str
    size: float
    bold: bool
    y: float
    cells: tuple[tuple[float, str], ...]


def read_pdf(raw: bytes, *, name: str) -> Content:
    """Return the text of a PDF.

    Raises:
        MissingDependencyError: If pypdf is not installed.
        UnreadableDocumentError: If the file is damaged, encrypted, or holds no text.
    """
    try:
        import pypdf
    except ImportError as error:
        raise MissingDependencyError("pypdf", extra="pdf", purpose=f"reading {name}") from error
    try:
        reader = pypdf.PdfReader(BytesIO(raw))
        _unlock(reader, name)
        pages = [_lines(page) for page in reader.pages]
        title = (reader.metadata.title or "").strip() if reader.metadata else ""
    except UnreadableDocumentError:
        raise
    # A damaged PDF makes pypdf raise whatever its parser runs into: KeyError, RecursionError, zlib.error.
    except Exception as error:
        raise UnreadableDocumentError(
            f"reading {name}: it is not a PDF that can be read ({error}); open it and save it again"
        ) from error
    if not any(pages):
        raise UnreadableDocumentError(
            f"reading {name}: its {len(pages)} page(s) hold no text, so they are pictures; run OCR on it first"
        )
    writer = _PdfWriter(pages)
    writer.write()
    return writer.manuscript.content("" if _MADE_UP_TITLE.match(title) else title)


def _unlock(reader: PdfReader, name: str) -> None:
    """Open a PDF that only restricts printing or copying; its user password is empty."""
    from pypdf.errors import DependencyError

    if not reader.is_encrypted:
        return
    try:
        unlocked = bool(reader.decrypt(""))
    except DependencyError as error:
        raise UnreadableDocumentError(
            f"reading {name}: it is encrypted with AES; save it without a password, or pip install cryptography"
        ) from error
    if not unlocked:
        raise UnreadableDocumentError(f"reading {name}: it is encrypted; save it without a password")


def _lines(page: Any) -> list[_Line]:  # a pypdf page: pypdf is not imported at the top
    """Return the lines of a page in reading order."""
    lines: list[_Line] = []
    pieces: list[tuple[str, float, float, float, bool]] = []

    def end_line() -> None:
        text = " ".join("".join(piece[0] for piece in pieces).split())
        inked = [piece for piece in pieces if piece[0].strip()]
        if text:
            cells = tuple((round(x), piece.strip()) for piece, x, *_ in inked)
            lines.append(_Line(text, inked[0][3], all(piece[4] for piece in inked), inked[0][2], cells))
        pieces.clear()

    def visit(text: str, cm: Sequence[float], tm: Sequence[float], font: Any, size: float) -> None:
        x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
        y = tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
        scale = abs(tm[3] * cm[3]) or 1.0
        bold = "bold" in str((font or {}).get("/BaseFont", "")).lower()
        for index, part in enumerate(text.split("\n")):
            if index:
                end_line()
            pieces.append((part, x, y, round(size * scale, 1), bold))

    page.extract_text(visitor_text=visit)
    end_line()
    return lines


class _PdfWriter:
    def __init__(self, pages: Sequence[Sequence[_Line]]) -> None:
        self.manuscript = Manuscript()
        self._pages = _without_running_heads(pages)
        lines = [line for page in self._pages for line in page]
        letters = _letters(lines)
        self._body = letters.most_common(1)[0][0] if letters else 0.0
        self._sizes = sorted((size for size in letters if size > 1.1 * self._body), reverse=True)
        self._width = max((len(line.text) for line in lines if line.size == self._body), default=0)
        self._gap = _usual_gap(self._pages, self._body)
        self._pending: list[_Line] = []
        self._level_of_pending = 0
        self._number = 0

    def write(self) -> None:
        """Write all pages; a paragraph may go on over the page break."""
        for page in self._pages:
            index = 0
            while index < len(page):
                rows = _table_rows(page[index:])
                if rows:
                    self._flush()
                    self._table(page[index : index + rows])
                    index += rows
                    continue
                self._line(page[index], page[index + 1] if index + 1 < len(page) else None)
                index += 1
        self._flush()

    def _line(self, line: _Line, following: _Line | None) -> None:
        level = self._level(line, following)
        if self._pending and (level != self._level_of_pending or self._starts_block(self._pending[-1], line)):
            self._flush()
        self._pending.append(line)
        self._level_of_pending = level

    def _level(self, line: _Line, following: _Line | None) -> int:
        """Return the heading level of a line, 0 if it is none: by size first, then by weight, capitals, numbers."""
        if len(line.text) > 120 or line.text.endswith((".", ",", ";")) or not any(map(str.isalpha, line.text)):
            return 0
        if line.size in self._sizes:
            return 1 + self._sizes.index(line.size)
        deeper = 1 + len(self._sizes)
        alone = following is None or not following.bold or len(following.cells) > 1
        if line.bold and alone and not line.text.endswith(":"):
            return deeper
        numbered = NUMBERED_HEADING.fullmatch(line.text)
        if (
            numbered
            and "." in numbered["number"]
            and following
            and not ITEM.match(following.text)
            and len(line.text) <= 80
        ):
            return deeper + numbered["number"].count(".")
        return deeper if is_heading_in_capitals(line.text) and alone else 0

    def _starts_block(self, last: _Line, line: _Line) -> bool:
        if self._level_of_pending:
            # A long heading is wrapped like a paragraph, with lines as far apart as its letters are high.
            return not 0 < last.y - line.y < 1.8 * line.size
        if self._opens_item(line.text) or last.size != line.size:
            return True
        if last.y <= line.y:
            # Another column or page: only the words can tell.
            return last.text.endswith(_ENDS_SENTENCE) and stands_alone(last.text, line.text)
        if last.y - line.y > 1.4 * self._gap:
            return True
        # Letters differ in width, so a line only had room if the word would have fitted easily.
        return stands_alone(last.text, line.text) and had_room(last.text, line.text, width=int(0.85 * self._width))

    def _opens_item(self, text: str) -> bool:
        item = ITEM.match(text)
        return bool(item and counts_on(item["number"], self._number))

    def _flush(self) -> None:
        if not self._pending:
            return
        text, self._pending = _join([line.text for line in self._pending]), []
        outline, item = self.manuscript.outline, ITEM.match(text) if self._opens_item(text) else None
        if self._level_of_pending:
            outline.heading(self.manuscript.write(text), text, level=self._level_of_pending)
        elif item:
            self._number = int(item["number"] or self._number)
            span = self.manuscript.write(text, gap="\n")
            outline.item(Span(span.start + item.end(), span.end), text[item.end() :])
        else:
            outline.paragraph(self.manuscript.write(text), text)

    def _table(self, rows: Sequence[_Line]) -> None:
        header = [cell for _, cell in rows[0].cells] if rows[0].bold and not rows[1].bold else []
        for index, row in enumerate(rows):
            values = [cell for _, cell in row.cells]
            span = self.manuscript.write(" | ".join(values), gap="\n" if index else "\n\n")
            if index or not header:
                self.manuscript.outline.row(span, pair(header, values))


def _join(lines: Sequence[str]) -> str:
    """Join wrapped lines; a word that was hyphenated at a line end becomes whole."""
    text = lines[0]
    for line in lines[1:]:
        whole = _HYPHENATED.search(text) and line[:1].islower()
        text = text[:-1] + line if whole else f"{text} {line}"
    return text


def _table_rows(lines: Sequence[_Line]) -> int:
    """Return how many of the first lines form a table: at least two, with pieces at the same two or more places."""
    places = [place for place, _ in lines[0].cells]
    if len(places) < 2 or len(set(places)) < len(places):
        return 0
    rows = 1
    while rows < len(lines) and [place for place, _ in lines[rows].cells] == places:
        rows += 1
    return rows if rows > 1 else 0


def _usual_gap(pages: Sequence[Sequence[_Line]], body: float) -> float:
    """Return the usual distance of two lines of body text, in points."""
    gaps = Counter(
        round(above.y - below.y, 1)
        for page in pages
        for above, below in pairwise(page)
        if above.size == below.size == body and above.y > below.y
    )
    return min(gaps, key=lambda gap: (-gaps[gap], gap)) if gaps else 1.2 * body


def _letters(lines: Iterable[_Line]) -> Counter[float]:
    """Return how many letters are set in which size."""
    letters: Counter[float] = Counter()
    for line in lines:
        letters[line.size] += len(line.text)
    return letters


def _without_running_heads(pages: Sequence[Sequence[_Line]]) -> list[list[_Line]]:
    """Return the pages without page numbers and first and last lines that most share; as they are if that is all."""
    edges = Counter(key for page in pages if page for key in {_edge(page[0]), _edge(page[-1])})
    # Two pages are enough for a line that counts ("page 1", "page 2"); any other may be repeated by chance.
    shared = {key for key, count in edges.items() if count >= (2 if "#" in key else 3) and count > len(pages) / 2}
    lines = [line for page in pages for line in page]
    letters = _letters(lines)
    body = max(letters, key=lambda size: letters[size], default=0.0)
    light = 2 * sum(len(line.text) for line in lines if line.bold) < letters.total()

    def repeated(line: _Line) -> bool:
        # "Room 101", "Room 102" in large or bold letters are the pages' own headings.
        own = "#" in _edge(line) and (line.size > 1.1 * body or (line.bold and light))
        return bool(_PAGE_NUMBER.fullmatch(line.text)) or (_edge(line) in shared and not own)

    left = []
    for page in pages:
        kept = list(page)
        for end in (0, -1):
            while kept and repeated(kept[end]):
                kept.pop(end)
        left.append(kept)
    return left if any(left) else [list(page) for page in pages]


def _edge(line: _Line) -> str:
    return _DIGITS.sub("#", line.text.casefold())
