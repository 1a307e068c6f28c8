import pytest
import typer

from parametric_memory.cli.options import filters_of, metadata_of


@pytest.mark.parametrize(
    ("pair", "meant"),
    [
        ("team=harbour", "harbour"),
        ("year=2031", 2031),
        ("share=0.5", 0.5),
        ("draft=true", True),
        ('year="2031"', "2031"),
        ("formula=a=b", "a=b"),
        ("empty=", ""),
        ("list=[1]", "[1]"),
        ("nothing=null", "null"),
        ("odd=NaN", "NaN"),
        ("odd=Infinity", "Infinity"),
    ],
)
def test_a_value_is_what_it_is_as_json_or_else_the_text(pair, meant):
    [value] = metadata_of([pair]).values()
    assert value == meant and type(value) is type(meant)


def test_a_repeated_filter_key_means_any_of_its_values():
    assert filters_of(["year=2023", "team=a", "year=2024"]) == {"year": [2023, 2024], "team": "a"}


def test_scope_keys_are_texts_and_join_only_if_given():
    assert filters_of(["year=2023"], user_id="7", source=None) == {"year": 2023, "user_id": "7"}


def test_of_repeated_metadata_the_last_counts():
    assert metadata_of(["year=2023", "year=2024"]) == {"year": 2024}


@pytest.mark.parametrize("pair", ["year", "=2023", ""])
def test_a_pair_without_key_or_equals_sign_is_refused(pair):
    with pytest.raises(typer.BadParameter, match="KEY=VALUE"):
        filters_of([pair])


def test_whose_knowledge_it_is_is_never_a_number():
    assert filters_of(["user_id=42", "year=2031"]) == {"user_id": "42", "year": 2031}
    assert metadata_of(["run_id=7"]) == {"run_id": "7"}
