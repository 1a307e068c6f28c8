import pytest

from parametric_memory.training.alignment import (
    LONGEST_GROUP,
    MOST_SUPPORTS,
    align,
    closest,
    find,
    gather,
    run_through,
    support,
    weigh,
)

TEXTS = ["Delft has canals.", "Ada lives in Delft.", "Bob does not."]


def said(places, texts):
    return [texts[place.atom][place.begin : place.end] for place in places]


def test_an_answer_is_aligned_to_the_sentence_that_shares_most_words_with_the_question():
    assert align("Where does Ada live?", "Delft", TEXTS) == (1, 13, 18)
    assert align("Where?", "Delft", TEXTS) == (0, 0, 5), "the first of two that are alike"
    assert align("Where?", "Paris", TEXTS) is None
    assert align("Where?", "", TEXTS) is None


@pytest.mark.parametrize(
    ("answer", "text", "found"),
    [
        ("elft", "Ada lives in Delft.", None),
        ("Del", "Ada lives in Delft.", None),
        ("art", "The cart is art.", (12, 15)),
        ("DELFT", "Ada lives in Delft", (13, 18)),
        ("€5", "It costs €5.", (9, 11)),
        ("C++", "In C++ and C", (3, 6)),
        ("İzmir", "Born in İzmir", (8, 13)),
    ],
)
def test_only_whole_words_are_found_whatever_their_case(answer, text, found):
    assert find(answer, text) == found


def test_an_answer_may_go_on_from_one_sentence_into_the_next():
    texts = ["He read Is It Too Late?", "A Theology by Cobb.", "Then he slept."]
    places = run_through("Is It Too Late? A Theology", texts)
    assert [place.atom for place in places] == [0, 1]
    assert said(places, texts) == ["Is It Too Late?", "A Theology"]
    assert run_through("Is It A Theology", texts) == ()
    assert run_through("a b", ["a b"] * 3) == ((0, 0, 3),)
    many = ["w"] * (LONGEST_GROUP + 1)
    assert run_through(" ".join(many), many) == (), "too many sentences are no answer"


def test_a_list_is_gathered_from_the_sentences_that_hold_its_items():
    texts = ["The dog barked.", "It rained.", "The cat purred.", "A cock crew."]
    assert said(gather("Who?", "cock, dog and cat", texts), texts) == ["dog", "cat", "cock"]
    assert gather("Who?", "dog and horse", texts) == ()
    assert gather("Who?", "dog and barked", texts) == (), "one sentence holds both: no list over several"
    assert gather("Who?", "dog", texts) == ()


def test_rare_words_weigh_more_and_answers_twice():
    weights = weigh(TEXTS, question="Delft canals", answer="lives")
    assert weights["canal"] > weights["delft"]
    assert weights["lives"] == pytest.approx(2 * weights["canal"])
    assert "paris" not in weigh(TEXTS, question="Paris")


def test_the_closest_texts_share_the_heaviest_words():
    weights = weigh(TEXTS, question="Does Bob live in Delft?")
    assert closest(TEXTS, weights, count=1) == (2,)
    assert closest(TEXTS, weights, count=9) == (0, 1, 2)
    assert closest(TEXTS, {}, count=1) == (0,)


def test_support_adds_a_sentence_only_for_words_that_the_others_lack():
    texts = [
        "Anna tends the lighthouse.",
        "The lighthouse stands on Skerry.",
        "Anna likes the lighthouse.",
        "Whales pass.",
    ]
    assert support("Where is the lighthouse that Anna tends?", "on the island of Skerry", texts) == (0, 1)
    assert support("Why?", "unknown", texts) == ()
    assert support("a b c d e f", "", list("abcdef")) == tuple(range(MOST_SUPPORTS))
