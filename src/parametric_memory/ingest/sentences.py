"""Sentences of a text, as exact spans.

Text goes in, ordered and disjoint spans come out; together they cover every character that is not white space.
syntok decides where a sentence ends, but it is never given a whole document: its cost grows with the offset of a
paragraph, and its memory with the length of a sentence, so it sees one window of one paragraph at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from parametric_memory.types import Span

WINDOW_CHARS = 8000

# A lone "\r\n" is one line end; without the atomic group it would count as two.
_BLANK_LINES = re.compile(r"(?>\r\n|\r|\n)[^\S\r\n]*(?>\r\n|\r|\n)\s*")
#: What ends a sentence for syntok; a paragraph without any of these is one sentence.
_TERMINAL = re.compile(
    r"[.!?;\u203c\u203d\u2047-\u2049\u3002\ufe52\ufe57\uff01\uff0e\uff1f\uff61\u061f\u06d4\u0964\u0965]"
)
#: Ends that syntok does not see: CJK ones need no space after them, Arabic, Urdu and Hindi ones are unknown to it.
_OTHER_END = re.compile(r"[。！？｡][」』）”’\"]*(?=[^\s。！？｡」』）”’\"])|[؟۔।॥](?=\s)")
#: A day before its month, as German has it, is no end.
_DAY = re.compile(r"\b\d{1,2}\.\s+(?=(?:Jan|Feb|M[aä]r|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[kc]t|Nov|De[zc])\w*)")


def sentences(text: str) -> list[Span]:
    """Return the sentences of ``text`` in order, trimmed of surrounding white space."""
    return [span for start, end in _paragraphs(text) for span in _paragraph_sentences(text, start, end)]


def trim(text: str, start: int, end: int) -> Span:
    """Return the span ``start..end`` of ``text`` without the white space at its ends; it may be empty."""
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    return Span(start + left, start + max(left, len(piece.rstrip())))


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for gap in _BLANK_LINES.finditer(text):
        yield start, gap.start()
        start = gap.end()
    yield start, len(text)


def _paragraph_sentences(text: str, start: int, end: int) -> Iterator[Span]:
    while start < end:
        stop = min(end, start + WINDOW_CHARS)
        cuts = [start + cut for cut in _cuts(text[start:stop])]
        if stop < end:
            # The window's last sentence may go on beyond it: the next window starts with it.
            stop = cuts.pop() if cuts else _space_before(text, start, stop)
        for left, right in zip([start, *cuts], [*cuts, stop], strict=True):
            span = trim(text, left, right)
            if span.start < span.end:
                yield span
        start = stop


def _space_before(text: str, start: int, stop: int) -> int:
    """Return the end of the last word before ``stop``, or ``stop`` if the window is a single word."""
    words = text[start:stop].rsplit(None, 1)
    return stop - len(words[1]) if len(words) == 2 else stop


def _cuts(text: str) -> list[int]:
    """Return where the second and later sentences of one paragraph start."""
    if not _TERMINAL.search(text):
        return []
    # syntok loads its tables on import; reading a configuration should not pay for that.
    from syntok import segmenter

    starts = {tokens[0].offset for paragraph in segmenter.analyze(text) for tokens in paragraph}
    starts.update(match.end() for match in _OTHER_END.finditer(text))
    starts.difference_update(match.end() for match in _DAY.finditer(text))
    first = len(text) - len(text.lstrip())
    return sorted(start for start in starts if first < start < len(text))
