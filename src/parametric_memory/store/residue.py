"""What is left of erased bytes in the files of a folder.

Every file is read once, however many pieces are searched for: any run of 15 bytes holds one whole word of 8 bytes that
starts at a multiple of 8, so only the words at such places are compared, and the pieces found behind them are checked
byte by byte. Pieces shorter than 15 bytes prove nothing and are skipped.
"""

from __future__ import annotations

import mmap
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_WORD = 8
_SHORTEST = 2 * _WORD - 1
#: Longest piece of a text. SQLite cuts long values at pages, so a text is searched for in pieces.
_PIECE = 60


def pieces(text: str) -> list[bytes]:
    """Return what to search for to find any substantial part of a text."""
    cut = [text[start : start + _PIECE].encode() for start in range(0, len(text), _PIECE)]
    return [piece for piece in cut if len(piece) >= _SHORTEST and piece.strip()]


def vector_pieces(vector: bytes) -> list[bytes]:
    """Return what to search for to find a stored key: its quarters, so that a page border hides one at most.

    Quarters of zeros alone, which sparse keys have, are everywhere and prove nothing.
    """
    quarter = max(len(vector) // 4, _SHORTEST)
    cut = [vector[start : start + quarter] for start in range(0, len(vector), quarter)]
    return [piece for piece in cut if len(piece) >= _SHORTEST and any(piece)]


def scan(folder: Path, wanted: Collection[bytes]) -> tuple[int, dict[bytes, set[str]]]:
    """Return the number of files searched and, for each piece found, the files that hold it, relative to the folder."""
    words: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for piece in set(wanted):
        for shift in range(_WORD):
            words[int.from_bytes(piece[shift : shift + _WORD], "little")].append((piece, shift))
    known = np.array(sorted(words), dtype="<u8")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found: dict[bytes, set[str]] = defaultdict(set)
    for path in files:
        for piece in _found_in(path, words, known):
            found[piece].add(path.relative_to(folder).as_posix())
    return len(files), dict(found)


def _found_in(path: Path, words: dict[int, list[tuple[bytes, int]]], known: NDArray[np.uint64]) -> Iterator[bytes]:
    if path.stat().st_size < _WORD or not len(known):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        count, step = len(data) // _WORD, 1 << 20
        for start in range(0, count, step):
            # A copy, so that no view holds the map open.
            part = np.frombuffer(data[start * _WORD : min(start + step, count) * _WORD], dtype="<u8")
            for place in np.flatnonzero(np.isin(part, known)).tolist():
                for piece, shift in words[int(part[place])]:
                    begin = (start + place) * _WORD - shift
                    if begin >= 0 and data[begin : begin + len(piece)] == piece:
                        yield piece
