import pytest

from parametric_memory.compilers.distillation.exercises import from_statement, question_word

BAKERY = "The bakery on Mill Street, which Maud Ferris owns, opened on 3 May 1921 with 14 ovens."


def test_every_answer_stands_in_the_statement():
    made = from_statement(BAKERY, limit=100)
    assert len(made) > 10
    assert all(exercise.answer in BAKERY and exercise.question for exercise in made)


def test_names_numbers_and_what_joins_them_are_asked_for():
    answers = {exercise.answer for exercise in from_statement(BAKERY, limit=100)}
    assert answers >= {"bakery", "Mill Street", "14 ovens"}
    assert "House of Lords" in {e.answer for e in from_statement("It is the House of Lords.", limit=100)}


def test_a_question_does_not_give_its_answer_away():
    for exercise in from_statement("Maud Ferris sells rye bread on Friday.", limit=100):
        assert exercise.answer not in exercise.question


def test_they_depend_on_the_statement_and_the_seed_alone():
    assert from_statement(BAKERY, limit=9, seed=1) == from_statement(BAKERY, limit=9, seed=1)
    assert from_statement(BAKERY, limit=9, seed=1) != from_statement(BAKERY, limit=9, seed=2)


def test_a_smaller_set_asks_for_many_spans_before_any_twice():
    answers = [exercise.answer for exercise in from_statement(BAKERY, limit=5)]
    assert len(set(answers)) == 5


@pytest.mark.parametrize("statement", ["", "Yes.", "It is.", "?!", "Green"])
def test_a_statement_with_nothing_to_ask_for_has_few_exercises_and_no_error(statement):
    assert len(from_statement(statement, limit=10)) <= 1


@pytest.mark.parametrize(
    ("answer", "word"), [("1921", "when"), ("14 ovens", "how many"), ("Maud Ferris", "who"), ("rye bread", "what")]
)
def test_the_question_word_follows_from_the_answers_shape(answer, word):
    assert question_word(answer) == word
