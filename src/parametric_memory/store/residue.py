"""What is left of erased bytes in the files of a folder, or in any other bytes.

Everything is read once, however many pieces are searched for: any run of 15 bytes holds one whole word of 8 bytes that
starts at a multiple of 8, so only the words at such places are compared, and the pieces found behind them are checked
byte by byte. Pieces shorter than 15 bytes prove nothing and are skipped.
"""

from __future__ import annotations

import mmap
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_WORD = 8
_SHORTEST = 2 * _WORD - 1
#: Longest piece of a text. SQLite cuts long values at pages, so a text is searched for in pieces.
_PIECE = 60


def pieces(text: str) -> list[bytes]:
    """Return what to search for to find any substantial part of a text."""
    return [piece for piece in map(str.encode, _cut(text)) if len(piece) >= _SHORTEST and piece.strip()]


def stretches(texts: Iterable[str], found: Collection[bytes]) -> list[str]:
    """Return the parts of texts that the found pieces make up, neighbours joined, each once."""
    runs = (groupby(_cut(text), lambda piece: piece.encode() in found) for text in texts)
    return sorted({"".join(run) for of_text in runs for is_found, run in of_text if is_found})


def vector_pieces(vector: bytes) -> list[bytes]:
    """Return what to search for to find a stored key: its quarters, so that a page border hides one at most.

    Quarters of zeros alone, which sparse keys have, are everywhere and prove nothing.
    """
    quarter = max(len(vector) // 4, _SHORTEST)
    cut = [vector[start : start + quarter] for start in range(0, len(vector), quarter)]
    return [piece for piece in cut if len(piece) >= _SHORTEST and any(piece)]


def scan(folder: Path, wanted: Collection[bytes]) -> tuple[int, dict[bytes, set[str]]]:
    """Return the number of files searched and, for each piece found, the files that hold it, relative to the folder."""
    words = _words(wanted)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found: dict[bytes, set[str]] = defaultdict(set)
    for path in files:
        if not path.stat().st_size:
            # An empty file cannot be mapped.
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for piece in _found_in(data, words):
                found[piece].add(path.relative_to(folder).as_posix())
    return len(files), dict(found)


def held(parts: Iterable[bytes], wanted: Collection[bytes]) -> set[bytes]:
    """Return which of the pieces are in any of the parts."""
    words = _words(wanted)
    return {piece for part in parts for piece in _found_in(part, words)}


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of pieces, sorted, and by word the pieces that have it, each with where."""

    known: NDArray[np.uint64]
    places: Mapping[int, list[tuple[bytes, int]]]


def _words(wanted: Collection[bytes]) -> _Words:
    places: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for piece in set(wanted):
        for shift in range(_WORD):
            places[int.from_bytes(piece[shift : shift + _WORD], "little")].append((piece, shift))
    return _Words(np.array(sorted(places), dtype="<u8"), places)


def _found_in(data: bytes | mmap.mmap, words: _Words) -> Iterator[bytes]:
    count, step = len(data) // _WORD, 1 << 20
    for start in range(0, count if len(words.known) else 0, step):
        # A copy, so that no view holds the map open.
        part = np.frombuffer(data[start * _WORD : min(start + step, count) * _WORD], dtype="<u8")
        nearest = words.known.take(np.searchsorted(words.known, part), mode="clip")
        for place in np.flatnonzero(nearest == part).tolist():
            for piece, shift in words.places[int(part[place])]:
                begin = (start + place) * _WORD - shift
                if begin >= 0 and data[begin : begin + len(piece)] == piece:
                    yield piece


def _cut(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
