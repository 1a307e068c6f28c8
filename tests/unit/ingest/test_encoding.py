import os

import pytest

from parametric_memory.ingest.encoding import decode

GERMAN = "Das Büro in München öffnet um neun Uhr.\r\nDie Straße ist gesperrt.\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252"])
def test_western_text_is_read_in_every_usual_encoding(encoding):
    assert decode(GERMAN.encode(encoding)) == GERMAN


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Привет, это короткий текст о погоде и о море.", "cp1251"),
        ("Zażółć gęślą jaźń. Łódź leży w Polsce, a Kraków też.", "cp1250"),
        ("こんにちは世界。これは日本語の文章です。", "shift_jis"),
        ("El niño comió año tras año en España.", "latin-1"),
    ],
)
def test_legacy_encodings_are_detected(text, encoding):
    assert decode(text.encode(encoding)) == text


def test_a_utf8_text_with_a_broken_byte_stays_utf8():
    raw = GERMAN.encode() * 5 + b"\xff" + GERMAN.encode()
    assert decode(raw) == GERMAN * 5 + "\ufffd" + GERMAN


def test_what_is_not_ascii_may_come_late():
    text = "Plain words first. " * 30_000 + GERMAN
    assert decode(text.encode("latin-1")) == text


@pytest.mark.parametrize(
    "raw",
    [b"\x89PNG\r\n\x1a\n\x00\x00", os.urandom(4000), bytes(range(1, 32)) * 20, b"\xff\xfea"],
    ids=["png", "random", "control", "odd utf-16"],
)
def test_bytes_that_are_no_text_are_none(raw):
    assert decode(raw) is None
