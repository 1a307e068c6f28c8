"""Plain text: blocks from blank lines, underlines, capitals, numbers and bullets.

The text is taken as it is; only blocks are found. A line break inside a paragraph is a wrap, unless the line had
room for the next line's first word: then it was ended on purpose (an address, a record, a log) and the lines are
read apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from parametric_memory.ingest.markup import mask, visible
from parametric_memory.ingest.outline import Content, Outline
from parametric_memory.types import Span

_LINE = re.compile(r"[^\r\n]+|(?>\r\n|\r|\n)")
_UNDERLINE = re.compile(r"\s*(={3,}|-{3,}|~{3,})\s*")
ITEM = re.compile(r"(?P<indent>\s*)(?P<marker>[-*•‣◦▪●–]|(?P<number>\d{1,3})[.)]|\(\w\)|[a-z]\))\s+(?=\S)")
NUMBERED_HEADING = re.compile(r"\s*(?P<number>\d{1,2}(?:\.\d{1,2}){0,3})\.?\s+[^\W\d_].{0,78}")
# Words that a sentence does not end with: a line that ends with one goes on in the next.
_GOES_ON = re.compile(
    r"(?:[,(–-]|\b(?:a|an|and|are|as|at|by|for|from|in|is|of|on|or|that|the|to|was|were|with))$", re.IGNORECASE
)
_LONGEST_HEADING = 80


def read_plain(text: str) -> Content:
    """Find the blocks of plain text; ``Content.text`` is ``text`` itself."""
    reader = _PlainReader(text)
    runs = list(_runs(text))
    for index, run in enumerate(runs):
        reader.read(run, following=runs[index + 1] if index + 1 < len(runs) else None, first=index == 0)
    return Content(text, reader.outline.title, reader.outline.blocks)


def is_heading_in_capitals(line: str) -> bool:
    """Return whether a line is written in capitals and short enough to be a heading."""
    line = line.strip()
    letters = sum(character.isalpha() for character in line)
    return line.isupper() and letters >= 4 and len(line) <= _LONGEST_HEADING and not line.endswith((".", ",", ";", "!"))


def counts_on(number: str | None, last: int) -> bool:
    """Return whether an item's number is one of a list, whose last was another: "3. Oktober" is none."""
    return number is None or int(number) in (0, 1, last + 1)


def stands_alone(line: str, following: str) -> bool:
    """Return whether neither the end of ``line`` nor the start of the following one says that the sentence goes on."""
    return not following.lstrip()[:1].islower() and not _GOES_ON.search(line.rstrip())


def had_room(line: str, following: str, *, width: int) -> bool:
    """Return whether the first word of ``following`` fits into ``line``: a wrap would have put it there."""
    return len(line.rstrip()) + 1 + len(following.split(None, 1)[0]) <= width


def _is_caption(line: str, following: str) -> bool:
    """Return whether a short line stands right above a long one that begins a sentence of its own."""
    line, following = line.strip(), following.strip()
    short = len(line) <= 60 and len(line.split()) <= 8 and 2 * len(line) < len(following)
    complete = following.endswith((".", "!", "?")) or len(following) > 60
    mark = line.endswith((*".,;:!", "。")) or bool(ITEM.match(line))
    return (
        short and complete and not mark and line[:1].isupper() and following[:1].isupper() and not _GOES_ON.search(line)
    )


def _runs(text: str) -> Iterator[list[Span]]:
    """Yield runs of consecutive lines that are not blank, each line without its end."""
    run: list[Span] = []
    blank = True
    for match in _LINE.finditer(text):
        if match[0][0] in "\r\n":
            if blank and run:
                yield run
                run = []
            blank = True
        elif match[0].strip():
            run.append(Span(*match.span()))
            blank = False
    if run:
        yield run


class _PlainReader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.outline = Outline()
        self._styles: list[str] = []
        self._after_numbered_item = False
        self._number = 0

    def read(self, run: Sequence[Span], *, following: Sequence[Span] | None, first: bool) -> None:
        """Report the blocks of one run of lines."""
        lines = [span.of(self.text) for span in run]
        start = self._headings(run, lines, following, first)
        while start < len(run):
            if not any(character.isalnum() for character in lines[start]):
                start += 1
                continue
            end = start + 1
            item = ITEM.match(lines[start])
            counted = bool(item and counts_on(item["number"], self._number))
            if item and item["number"] and counted:
                self._number = int(item["number"])
            while end < len(run) and not self._opens_item(lines[end], dates=bool(item) and not counted):
                end += 1
            if item:
                begin = run[start].start + (item.end() if counted else 0)
                self._item(Span(begin, run[end - 1].end), depth=len(item["indent"].expandtabs(4)))
            else:
                self._paragraphs(run[start:end], lines[start:end])
            self._after_numbered_item = bool(item and item["number"])
            start = end

    def _opens_item(self, line: str, *, dates: bool) -> bool:
        """Return whether a line within a run is an item; one with a number of its own is, if the one above is."""
        item = ITEM.match(line)
        return bool(item and (dates or counts_on(item["number"], self._number)))

    def _headings(
        self, run: Sequence[Span], lines: Sequence[str], following: Sequence[Span] | None, first: bool
    ) -> int:
        """Report the heading that opens a run, if one does, and return how many lines it takes."""
        line, below = lines[0].rstrip(), lines[1] if len(lines) > 1 else ""
        if not any(map(str.isalnum, line)):
            return 0
        alone = not below and following is not None and not line.endswith((*".,;:!", "。"))
        underline = _UNDERLINE.fullmatch(below) if len(line) <= _LONGEST_HEADING else None
        numbered = NUMBERED_HEADING.fullmatch(line) if alone else None
        style = ""
        if underline:
            style = underline[1][0]
        elif is_heading_in_capitals(line) and (below or following) and not is_heading_in_capitals(below):
            style = "capitals"
        elif below and _is_caption(line, below):
            style = "caption"
        elif numbered and following and ("." in numbered["number"] or not self._in_numbered_list(following)):
            style = f"number {numbered['number'].count('.')}"
        elif first and alone and len(line) <= _LONGEST_HEADING and len(line.split()) <= 10 and not ITEM.match(line):
            style = "title"
        if style:
            self._heading(run[0], style)
        return (2 if underline else 1) if style else 0

    def _in_numbered_list(self, following: Sequence[Span]) -> bool:
        item = ITEM.match(following[0].of(self.text))
        return self._after_numbered_item or bool(item and item["number"])

    def _heading(self, line: Span, style: str) -> None:
        # Nothing says how deep a style is; the one that appears first is the outermost.
        if style not in self._styles:
            self._styles.append(style)
        span = self._trimmed(line)
        self.outline.heading(span, visible(mask(span.of(self.text))), level=self._styles.index(style))
        self._after_numbered_item = False

    def _item(self, span: Span, *, depth: int) -> None:
        span = self._trimmed(span)
        self.outline.item(span, visible(mask(span.of(self.text))), depth=depth)

    def _paragraphs(self, run: Sequence[Span], lines: Sequence[str]) -> None:
        width = max(len(line.rstrip()) for line in lines)
        steps = list(pairwise(lines))
        apart = all(stands_alone(*step) for step in steps) and any(had_room(*step, width=width) for step in steps)
        for span in run if apart else [Span(run[0].start, run[-1].end)]:
            self.outline.paragraph(self._trimmed(span), visible(mask(span.of(self.text))))

    def _trimmed(self, span: Span) -> Span:
        raw = span.of(self.text)
        return Span(span.start + len(raw) - len(raw.lstrip()), span.start + len(raw.rstrip()))
