"""Plain text: blocks from blank lines, underlines, capitals, numbers and bullets.

The text is taken as it is; only blocks are found. A line break inside a paragraph is a wrap, unless the line had room for
the next line's first word: then it was ended on purpose (an address, a record, a log) and the lines are read apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from parametric_memory.ingest.markup import mask, visible
from parametric_memory.ingest.outline import Content, Outline
from parametric_memory.types import Span

_LINE = re.compile(r"[^\r\n]+|(?>\r\n|\r|\n)")
_UNDERLINE = re.compile(r"\s*(={3,}|-{3,}|~{3,})\s*")
ITEM = re.compile(r"(?P<indent>\s*)(?P<marker>[-*•‣◦▪●–]|(?P<number>\d{1,3})[.)]|\(\w\)|[a-z]\))\s+(?=\S)")
NUMBERED_HEADING = re.compile(r"\s*(?P<number>\d{1,2}(?:\.\d{1,2}){0,3})\.?\s+[^\W\d_].{0,78}")
# Words that a sentence does not end with: a line that ends with one goes on in the next.
_GOES_ON = re.compile(r"(?:[,(–-]|\b(?:a|an|and|are|as|at|by|for|from|in|is|of|on|or|that|the|to|was|were|with))$", re.IGNORECASE)
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


def stands_alone(line: str, following: str) -> bool:
    """Return whether neither the end of ``line`` nor the start of the following one says that the sentence goes on."""
    return not following.lstrip()[:1].islower() and not _GOES_ON.search(line.rstrip())


def had_room(line: str, following: str, *, width: int) -> bool:
    """Return whether the first word of ``following`` would have fitted into ``line``: a wrap would have put it there."""
    return len(line.rstrip()) + 1 + len(following.split(None, 1)[0]) <= width


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

    def read(self, run: Sequence[Span], *, following: Sequence[Span] | None, first: bool) -> None:
        """Report the blocks of one run of lines."""
        lines = [span.of(self.text) for span in run]
        start = self._headings(run, lines, following, first)
        while start < len(run):
            if not any(character.isalnum() for character in lines[start]):
                start += 1
                continue
            end = start + 1
            while end < len(run) and not ITEM.match(lines[end]):
                end += 1
            item = ITEM.match(lines[start])
            if item:
                self._item(Span(run[start].start + item.end(), run[end - 1].end), depth=len(item["indent"].expandtabs(4)))
            else:
                self._paragraphs(run[start:end], lines[start:end])
            self._after_numbered_item = bool(item and item["number"])
            start = end

    def _headings(self, run: Sequence[Span], lines: Sequence[str], following: Sequence[Span] | None, first: bool) -> int:
        """Report the headings that open a run and return how many lines they take."""
        underline = _UNDERLINE.fullmatch(lines[1]) if len(lines) > 1 else None
        if underline and len(lines[0].strip()) <= _LONGEST_HEADING:
            return self._heading(run[0], style=underline[1][0], lines=2)
        if is_heading_in_capitals(lines[0]) and (len(lines) > 1 or following) and not (lines[1:] and is_heading_in_capitals(lines[1])):
            return self._heading(run[0], style="capitals", lines=1)
        if len(lines) > 1 or not following or lines[0].rstrip().endswith((*".,;:!", "。")):
            return 0
        numbered = NUMBERED_HEADING.fullmatch(lines[0].rstrip())
        if numbered and ("." in numbered["number"] or not self._in_numbered_list(following)):
            return self._heading(run[0], style=f"number {numbered['number'].count('.')}", lines=1)
        if first and len(lines[0].split()) <= 10 and len(lines[0]) <= _LONGEST_HEADING and not ITEM.match(lines[0]):
            return self._heading(run[0], style="title", lines=1)
        return 0

    def _in_numbered_list(self, following: Sequence[Span]) -> bool:
        item = ITEM.match(following[0].of(self.text))
        return self._after_numbered_item or bool(item and item["number"])

    def _heading(self, line: Span, *, style: str, lines: int) -> int:
        # Nothing says how deep a style is; the one that appears first is the outermost.
        if style not in self._styles:
            self._styles.append(style)
        span = self._trimmed(line)
        self.outline.heading(span, visible(mask(span.of(self.text))), level=self._styles.index(style))
        self._after_numbered_item = False
        return lines

    def _item(self, span: Span, *, depth: int) -> None:
        span = self._trimmed(span)
        self.outline.item(span, visible(mask(span.of(self.text))), depth=depth)

    def _paragraphs(self, run: Sequence[Span], lines: Sequence[str]) -> None:
        width = max(len(line.rstrip()) for line in lines)
        steps = list(zip(lines, lines[1:], strict=False))
        apart = all(stands_alone(*step) for step in steps) and any(had_room(*step, width=width) for step in steps)
        for span in run if apart else [Span(run[0].start, run[-1].end)]:
            self.outline.paragraph(self._trimmed(span), visible(mask(span.of(self.text))))

    def _trimmed(self, span: Span) -> Span:
        raw = span.of(self.text)
        return Span(span.start + len(raw) - len(raw.lstrip()), span.start + len(raw.rstrip()))
