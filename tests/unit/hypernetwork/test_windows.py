import pytest

from parametric_memory.hypernetwork.windows import atom_ids, windows
from parametric_memory.testing import tiny_model


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_model()[1]


def test_windows_hold_every_atom_whole_and_in_order(tokenizer):
    ids = atom_ids(tokenizer, [f"Sentence number {n} of the text." for n in range(30)])
    made = windows(tokenizer, "Title", ids, max_tokens=128)
    pieces = [(number, window.ids[at : at + len(ids[number])]) for window in made for number, at in window.pieces]
    assert pieces == list(enumerate(ids))
    assert all(len(window.ids) <= 128 for window in made) and len(made) > 1


def test_every_window_begins_with_the_context(tokenizer):
    ids = atom_ids(tokenizer, ["One two three."] * 20)
    head = tokenizer("Handbook > Offices\n", add_special_tokens=False).input_ids
    for window in windows(tokenizer, "Handbook > Offices", ids, max_tokens=96):
        assert window.ids[: len(head)] == head


def test_an_atom_is_never_the_first_token_of_a_window(tokenizer):
    [window] = windows(tokenizer, "", atom_ids(tokenizer, ["Alone."]))
    assert window.pieces[0][1] > 0


def test_a_text_has_the_same_tokens_whatever_stands_around_it(tokenizer):
    assert atom_ids(tokenizer, ["Same text."]) == [atom_ids(tokenizer, ["Other.", "Same text."])[1]]
    assert atom_ids(tokenizer, []) == []
