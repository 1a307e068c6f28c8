import pytest

from parametric_memory.training.templates import ask, clean, is_name, is_pronoun


@pytest.mark.parametrize(
    ("relation", "name"),
    [
        ("familyFriendly", "family friendly"),
        ("SUBSIDIARY_OF", "subsidiary of"),
        ("CEO", "ceo"),
        ("LAND_(_SQMI_)", "land sqmi"),
        ("place of birth", "place of birth"),
    ],
)
def test_a_relation_is_put_in_words(relation, name):
    assert clean(relation) == name


def test_one_relation_is_asked_in_several_wordings_and_one_fact_always_in_the_same():
    asked = {ask(f"Person {number}", "PLACE_OF_BIRTH").replace(f"Person {number}", "…") for number in range(50)}
    assert len(asked) == 3 and all(question.endswith("?") for question in asked)
    assert ask("Ada", "PLACE_OF_BIRTH") == ask("Ada", "place of birth")


def test_an_unknown_relation_is_asked_in_general():
    assert ask("the {} Club", "dressCode") == "What is the dress code of the {} Club?"


def test_a_name_says_by_itself_what_it_means():
    assert all(map(is_name, ["Ada", "the Beatles", "3M", "The Hague"]))
    assert not any(map(is_name, ["He", "it", "the company", "The company", "This"]))
    assert is_pronoun("They") and not is_pronoun("The They")
