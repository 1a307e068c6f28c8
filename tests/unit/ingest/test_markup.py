import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.ingest.markup import mask, visible


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("The **red** key is *here*.", "The red key is here."),
        ("***Both*** and __two words__ and _one_.", "Both and two words and one."),
        ("Read [the guide](https://example.org/a_(b) 'Guide') now.", "Read the guide now."),
        ("**[Bold link](x.md)**", "Bold link"),
        ("Use `a * b * c` or ``x`` here.", "Use a * b * c or x here."),
        ("![A map](map.png) of the yard", "A map of the yard"),
        ("Write to <mira@example.org>.", "Write to mira@example.org."),
        (r"5 \* 3 and 2 &amp; 4", "5 * 3 and 2 & 4"),
        ("Line<br>break <b>bold</b><!-- hidden -->", "Line break bold"),
        ("quoted\r\n> over two lines", "quoted over two lines"),
        ("[x] buy milk", "buy milk"),
        ("said so[^1] [often][ref]", "said so often"),
        ("well-\nknown", "well-known"),
        ("soft\xadhyphen", "softhyphen"),
    ],
)
def test_markup_is_not_shown(source, shown):
    assert visible(mask(source)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4 = 24",
        "snake_case_name",
        "call __init__ first",
        "a < b and c > d",
        "AT&T; R&D",
        "[1] and (2)",
        "x ~ y ~ z",
    ],
)
def test_what_only_looks_like_markup_stays(text):
    assert visible(mask(text)) == text


@given(
    st.lists(
        st.sampled_from(
            ["*", "**", "_", "`", "[", "](", ")", "<", ">", "&amp;", "\\", "~~", "\n", " ", "a", "é", "b c", "\v"]
        )
    ).map("".join)
)
def test_masking_moves_no_character(source):
    masked = mask(source)
    assert len(masked) == len(source)


@pytest.mark.parametrize("text", ["![][image1]", f'<img src="data:image/png;base64,{"A" * 3000}">'])
def test_a_picture_without_a_label_shows_nothing(text):
    assert visible(mask(text)) == ""
