import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.ingest import sentences

PIECES = st.sampled_from(
    [
        *(
            "Dr. Smith came at 3.50 p.m. today.",
            "Who knows?",
            "She said: “Go.”",
            "e.g. this",
            "...",
            "…",
            ";",
            "-",
            "_",
        ),
        *("\r\n", "\n", "\r", "\n\n", "\r\n\r\n", " ", "\t", "\u2028", "\x85", "\u200b", "\xa0", "\x0b", "\x0c"),
        *(
            "مرحبا بالعالم.",
            "هذا نص عربي؟ نعم.",
            "שלום עולם.",
            "中文句子。第二句！",
            "👨‍👩‍👧‍👦",
            "🇵🇹.",
            "é",
            "ñ̃.",
            "\u202e",
            "\ufeff",
        ),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=12), max_size=30).map("".join)


@given(TEXTS)
def test_sentences_are_ordered_disjoint_trimmed_and_cover_all_that_is_not_white_space(text):
    spans = sentences(text)
    ends = [0, *(span.end for span in spans)]
    for before, span in zip(ends, spans, strict=False):
        assert before <= span.start < span.end
        assert not text[before : span.start].strip()
        assert span.of(text) == span.of(text).strip()
    assert not text[ends[-1] :].strip()


def test_sentences_inside_long_paragraphs_keep_their_offsets():
    sentence = "Hall 4B holds the diving gear and Dr. Orme keeps the key."
    text = f"\r\n\r\n{' '.join([sentence] * 700)}\r\n\r\n{sentence}"
    assert [span.of(text) for span in sentences(text)] == [sentence] * 701


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Dr. Smith paid 3.50 euros, i.e. four dollars. He left.",
            ["Dr. Smith paid 3.50 euros, i.e. four dollars.", "He left."],
        ),
        ("One line\nwrapped here. Next.", ["One line\nwrapped here.", "Next."]),
        ("First paragraph\r\n\r\nsecond paragraph", ["First paragraph", "second paragraph"]),
        ("A line\r\nits wrap", ["A line\r\nits wrap"]),
        ("今日は。明日は？「はい。」", ["今日は。", "明日は？", "「はい。」"]),
        ("هل هذا نص؟ نعم هذا نص.", ["هل هذا نص؟", "نعم هذا نص."]),
        (" \r\n ", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text, expected):
    assert [span.of(text) for span in sentences(text)] == expected


def test_a_word_without_end_is_cut_into_bounded_sentences():
    assert max(span.end - span.start for span in sentences("x" * 50_000)) <= 8000


@pytest.mark.parametrize("gap", [" ", "\n\n"])
def test_time_grows_with_the_length_of_the_text_not_with_its_square(gap):
    def seconds(count):
        text = gap.join(["The Lisbon office has 34 desks. It opened in 2019!"] * count)
        start = time.process_time()
        sentences(text)
        return time.process_time() - start

    seconds(100)
    small, large = min(seconds(400) for _ in range(3)), seconds(8000)
    # Twenty times the text; four hundred times the time if it were quadratic.
    assert large < 80 * small


def test_a_day_before_its_month_ends_no_sentence():
    text = "Das Fest ist am 12. Juli 2025. Es beginnt um 15 Uhr."
    assert [span.of(text) for span in sentences(text)] == ["Das Fest ist am 12. Juli 2025.", "Es beginnt um 15 Uhr."]
