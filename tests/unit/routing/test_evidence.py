"""What the words of statements say about a question that is not spelled as they are."""

import pytest

from parametric_memory.routing.evidence import weigh

STATEMENTS = [
    "The lighthouse of Crail was designed by Ada Fenwick.",
    "The harbour of Crail closes in November.",
    "Its keeper, Bob Tarn, plays the trombone.",
]


def coverages(question: str) -> list[float]:
    return [found.coverage for found in weigh(question, STATEMENTS)]


@pytest.mark.parametrize("slip", ["lihgthouse", "lighthose", "lighthouuse", "ligthouse", "lighthoyse"])
def test_a_word_with_a_slip_in_it_counts_nearly_as_much(slip: str) -> None:
    right, wrong = (coverages(f"Who designed the {word}?") for word in ("lighthouse", slip))
    assert 0.85 < wrong[0] < right[0] == 1.0
    assert wrong[1:] == right[1:]


def test_a_question_word_with_a_slip_in_it_counts_as_little_as_ever() -> None:
    assert coverages("Whcih lighthouse is in Crail?") == coverages("Which lighthouse is in Crail?")


@pytest.mark.parametrize("other", ["1912", "1192", "key", "hghtousel", "Xighthouse"])
def test_numbers_short_words_and_other_words_are_not_guessed_at(other: str) -> None:
    statements = [*STATEMENTS, "It was lit in 1921.", "The kex is red."]
    assert all(found.coverage < 1e-9 for found in weigh(other, statements))


def test_a_word_that_some_statement_has_means_itself() -> None:
    statements = ["The harbour closes.", "The harbourr opens."]
    assert [found.coverage for found in weigh("harbour", statements)] == [1.0, 0.0]


def test_what_a_slip_names_is_no_news_and_no_answer() -> None:
    asked, slipped = (weigh(f"Who is {name}?", ["The keeper is Fenwick."])[0] for name in ("Fenwick", "Fenwcik"))
    assert asked.lacks_answer and slipped.lacks_answer
    assert asked.news == slipped.news


@pytest.mark.parametrize("word", ["World", "Stanley", "cloud", "winch"])
def test_a_word_that_nothing_has_counts_though_it_looks_like_one_that_says_nothing(word):
    [found] = weigh(f"Who won the 1998 {word} Cup?", ["The Davis Cup of 1998 was won by Sweden."])
    assert found.coverage < 0.75
