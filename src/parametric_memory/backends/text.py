"""Tokens in, text out, each piece as soon as it is certain.

Held back are the bytes of an unfinished character, and words that may be the beginning of a stop string. Joined, the
pieces are the text of the whole generation: without leading whitespace, and ending before the first stop string.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_UNFINISHED = "\ufffd"


class TextStream:
    """The text of one generation.

    Attributes:
        stopped: Whether a stop string came up; nothing follows it.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stops = stops
        self._ids: list[int] = []
        self._pending = ""
        self._started = False
        # Text is read from _context on, and is new behind _done: some tokenizers spell a token by its neighbours.
        self._context = self._done = 0

    def push(self, token: int) -> str:
        """Return the text that is certain now that this token has come."""
        self._ids.append(token)
        piece = self._new_text()
        if not piece or piece.endswith(_UNFINISHED):
            return ""
        self._context, self._done = self._done, len(self._ids)
        return self._release(piece)

    def close(self) -> str:
        """Return what was held back; a character that was never finished is dropped."""
        last = self._release(self._new_text().rstrip(_UNFINISHED))
        rest, self._pending = self._pending, ""
        return last + rest

    def _new_text(self) -> str:
        known = self._decode(self._ids[self._context : self._done])
        return self._decode(self._ids[self._context :])[len(known) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _release(self, piece: str) -> str:
        """Return the part of what is pending that no stop string can claim any more."""
        if self.stopped:
            return ""
        text = self._pending + piece
        text = text if self._started else text.lstrip()
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        self.stopped = bool(found)
        keep = min(found) if found else len(text) - self._claimed(text)
        self._pending = "" if found else text[keep:]
        self._started = self._started or keep > 0
        return text[:keep]

    def _claimed(self, text: str) -> int:
        """Return how many characters at the end may be the beginning of a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        sizes = range(min(longest, len(text)), 0, -1)
        return next((size for size in sizes if any(stop.startswith(text[-size:]) for stop in self._stops)), 0)
