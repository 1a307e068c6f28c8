"""Bytes to text: a byte order mark decides, then UTF-8, then what charset-normalizer finds most likely."""

from __future__ import annotations

import codecs
import re

# UTF-32 first: its little-endian mark starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 256 * 1024
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+[\x00-\x7f]{0,40}")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def decode(raw: bytes) -> str | None:
    """Return ``raw`` as text, without a byte order mark; None if it is not text."""
    mark = next((encoding for mark, encoding in _MARKS if raw.startswith(mark)), None)
    if mark is None and b"\0" in raw:
        return None
    text = _decode_marked(raw, mark) if mark else _decode_unmarked(raw)
    if text is None or len(_CONTROL.findall(text, 0, _SAMPLE_BYTES)) > 0.02 * min(len(text), _SAMPLE_BYTES):
        return None
    return text


def _decode_marked(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def _decode_unmarked(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    # A UTF-8 text with a few broken bytes is still UTF-8; any other reading would break all its accents.
    lenient = raw.decode("utf-8", errors="replace")
    broken = lenient.count("\ufffd")
    beyond_ascii = len(lenient) - len(lenient.encode("ascii", errors="ignore"))
    if beyond_ascii > 10 * broken:
        return lenient
    encoding = _likely_encoding(raw)
    return raw.decode(encoding, errors="replace") if encoding else None


def _likely_encoding(raw: bytes) -> str | None:
    # Loading the detector's tables takes longer than reading a UTF-8 file.
    from charset_normalizer import from_bytes

    matches = from_bytes(_sample(raw))
    best = matches.best()
    if best is None:
        return None
    # Short texts fit several single-byte encodings equally well; the commonest by far is Windows' Western one.
    western = next((match for match in matches if match.encoding == "cp1252"), None)
    if western and western.chaos <= best.chaos and western.coherence >= best.coherence:
        return "cp1252"
    return best.encoding


def _sample(raw: bytes) -> bytes:
    """Return what is not ASCII with a few words around it: the rest fits every encoding and tells nothing."""
    pieces: list[bytes] = []
    end = taken = 0
    for match in _BEYOND_ASCII.finditer(raw):
        pieces.append(raw[max(end, match.start() - 40) : match.end()])
        end = match.end()
        taken += len(pieces[-1])
        if taken > _SAMPLE_BYTES:
            break
    return b"".join(pieces)
