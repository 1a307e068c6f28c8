"""Markdown: the document's text is the source itself, so that citations are characters of the file.

markdown-it finds the blocks; their spans leave out ``#``, bullets, fences and outer pipes. Inline markup stays
inside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from parametric_memory.ingest.markup import mask, visible
from parametric_memory.ingest.outline import Content, Outline, pair
from parametric_memory.ingest.plain import counts_on
from parametric_memory.ingest.sentences import trim
from parametric_memory.types import Span

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# A break above slides looks alike, but has no key in its first line.
_FRONT_MATTER = re.compile(
    r"\A---[ \t]*(?>\r\n|\r|\n)(?=(?:#[^\r\n]*[\r\n]+)*(?:[\w\"'-][^\r\n]*:|---|\.\.\.))"
    r"(?P<body>.*?)(?>\r\n|\r|\n)(?:---|\.\.\.)[ \t]*(?=[\r\n]|\Z)",
    re.DOTALL,
)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(?P<quote>[\"']?)(?P<title>[^\r\n]*?)(?P=quote)[ \t]*$", re.MULTILINE)
# The same line ends that markdown-it normalises.
_LINE_END = re.compile(r"\r\n?|\n")
_NOT_LINE_END = re.compile(r"[^\r\n]")


def read_markdown(text: str) -> Content:
    """Find the blocks of Markdown; ``Content.text`` is ``text`` itself."""
    front = _FRONT_MATTER.match(text)
    # Blanked, not cut: offsets stay those of the file.
    source = _NOT_LINE_END.sub(" ", front[0]) + text[front.end() :] if front else text
    reader = _MarkdownReader(source)
    reader.read(_parser().parse(source))
    title = _FRONT_TITLE.search(front["body"].replace("\r\n", "\n")) if front else None
    return Content(text, (title["title"] if title else "") or reader.outline.title, reader.outline.blocks)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    # Inline parsing is not needed: `markup` hides inline markup in place.
    return MarkdownIt("commonmark").enable("table").disable("inline")


class _MarkdownReader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.outline = Outline()
        ends = [match.span() for match in _LINE_END.finditer(text)]
        self._lines = [
            Span(*line)
            for line in zip([0, *(end for _, end in ends)], [*(end for end, _ in ends), len(text)], strict=True)
        ]
        self._open: list[str] = []
        self._row = Span(0, 0)
        self._cells: list[str] = []
        self._header: list[str] = []
        self._has_rows = False
        self._number, self._last_number = "", 0

    def read(self, tokens: Sequence[Token]) -> None:
        """Report the blocks of a token stream."""
        for token in tokens:
            if token.nesting == 1:
                self._enter(token)
            elif token.nesting == -1:
                self._leave(token)
            elif token.type == "inline":
                self._inline(token)
            elif token.type == "fence":
                self.outline.code(self._without_fences(self._whole(token)))
            elif token.type == "code_block":
                self.outline.code(self._whole(token))
            elif token.type == "html_block":
                self._paragraph(self._whole(token))

    def _enter(self, token: Token) -> None:
        self._open.append(token.tag)
        if token.type == "list_item_open":
            self._number = token.info
        elif token.type == "table_open":
            self._header, self._has_rows = [], False
        elif token.type == "tr_open":
            self._row, self._cells = _without_pipes(self.text, self._whole(token)), []

    def _leave(self, token: Token) -> None:
        self._open.pop()
        if token.type == "tr_close" and "thead" in self._open:
            self._header = self._cells
        elif token.type == "tr_close":
            self._has_rows = True
            self.outline.row(self._row, pair(self._header, self._cells))
        elif token.type == "table_close" and not self._has_rows:
            self.outline.row(self._row, pair([], self._header))

    def _inline(self, token: Token) -> None:
        tag = self._open[-1]
        if tag in ("td", "th"):
            self._cells.append(visible(mask(token.content)))
        elif tag.startswith("h"):
            span = self._content(token)
            self.outline.heading(span, visible(mask(span.of(self.text))), level=int(tag[1]))
        elif "li" in self._open:
            span = self._numbered(self._content(token))
            self.outline.item(span, visible(mask(span.of(self.text))), depth=self._open.count("li"))
        else:
            self._paragraph(self._content(token))

    def _numbered(self, span: Span) -> Span:
        """Return an item's span, with its number if that belongs to the text and not to a list ("3. Oktober")."""
        number, self._number = self._number, ""
        if number:
            last, self._last_number = self._last_number, int(number)
            if not counts_on(number, last) and (begin := self.text.rfind(number, 0, span.start)) >= 0:
                return Span(begin, span.end)
        return span

    def _paragraph(self, span: Span) -> None:
        shown = visible(mask(span.of(self.text)))
        # A comment, a lone tag or a picture without a label shows nothing.
        if shown:
            self.outline.paragraph(span, shown)

    def _whole(self, token: Token) -> Span:
        """Return the span of a token's lines, trimmed."""
        lines = self._token_lines(token)
        return trim(self.text, lines[0].start, lines[-1].end)

    def _content(self, token: Token) -> Span:
        """Return where a token's content lies within its lines, without the markers before and after it."""
        lines = self._token_lines(token)
        content = token.content.split("\n")
        head, tail = content[0].strip(), content[-1].strip()
        first = next((line for line in lines if line.of(self.text).rstrip().endswith(head)), lines[0])
        last = next((line for line in reversed(lines) if line.of(self.text).rstrip().endswith(tail)), lines[-1])
        # -1 (markdown-it replaced a character) falls back to the whole line.
        start = first.start + max(first.of(self.text).rfind(head), 0)
        at = last.of(self.text).rfind(tail)
        return trim(self.text, start, max(last.start + at + len(tail) if at >= 0 else last.end, start))

    def _token_lines(self, token: Token) -> list[Span]:
        first, after = token.map or (0, 1)
        return self._lines[first:after]

    def _without_fences(self, span: Span) -> Span:
        lines = list(_LINE_END.finditer(span.of(self.text)))
        if not lines:
            return Span(span.end, span.end)
        last = span.of(self.text)[lines[-1].end() :].strip(" \t>")
        closed = set(last) <= set("`~") and last
        end = lines[-1].start() if closed else span.end - span.start
        return trim(self.text, span.start + lines[0].end(), span.start + max(end, lines[0].end()))


def _without_pipes(text: str, span: Span) -> Span:
    row = span.of(text)
    left = len(row) - len(row.lstrip("| \t>"))
    right = len(row) - len(row.rstrip("| \t")) if not row.endswith("\\|") else 0
    return Span(span.start + left, max(span.end - right, span.start + left))
