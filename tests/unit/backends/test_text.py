from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parametric_memory.backends.text import TextStream
from parametric_memory.testing.doubles import tiny_model

_, TOKENIZER = tiny_model()


def pieces(text: str, stops: Sequence[str] = ()) -> list[str]:
    stream = TextStream(TOKENIZER, stops)
    made = []
    for token in TOKENIZER(text, add_special_tokens=False).input_ids:
        made.append(stream.push(token))
        if stream.stopped:
            break
    return [*made, stream.close()]


def before_the_first_stop(text: str, stops: Sequence[str]) -> str:
    """Return the text before the stop string that is complete first."""
    for end in range(len(text) + 1):
        found = [text[:end].find(stop) for stop in stops if stop in text[:end]]
        if found:
            return text[: min(found)]
    return text


@given(st.text(st.characters(exclude_characters="\ufffd", exclude_categories=["Cs"])))
def test_pieces_join_to_the_text_and_none_is_half_a_character(text):
    made = pieces(text)
    assert "".join(made) == text.lstrip()
    assert not any("\ufffd" in piece for piece in made)


@given(st.text("ab\né"), st.lists(st.text("ab\né", min_size=1, max_size=3), max_size=3))
def test_text_ends_before_the_first_stop_string(text, stops):
    assert "".join(pieces(text, stops)) == before_the_first_stop(text.lstrip(), stops)


def test_a_character_comes_with_its_last_byte():
    assert pieces("né🙂!") == ["n", "", "é", "", "", "", "🙂", "!", ""]


def test_what_may_begin_a_stop_string_is_held_back_until_it_is_not():
    assert pieces("a\nb\n\nc", ["\n\n"]) == ["a", "", "\nb", "", "", ""]


def test_an_unfinished_character_is_dropped_at_the_end():
    stream = TextStream(TOKENIZER)
    ids = TOKENIZER("ok 🙂", add_special_tokens=False).input_ids
    assert "".join([*map(stream.push, ids[:-1]), stream.close()]) == "ok "


@pytest.mark.parametrize("junk", ["\udcff", "\udce2\udc82x"])
def test_bytes_that_are_no_text_do_not_stop_the_stream(junk):
    letters = {byte: letter for letter, byte in _byte_letters().items()}
    ids = [TOKENIZER.convert_tokens_to_ids(letters[byte]) for byte in f"a{junk}bc".encode(errors="surrogateescape")]
    stream = TextStream(TOKENIZER)
    text = "".join([*map(stream.push, ids), stream.close()])
    assert text == f"a{junk}bc".encode(errors="surrogateescape").decode(errors="replace")


def _byte_letters() -> dict[str, int]:
    """Return GPT-2's letter for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}
