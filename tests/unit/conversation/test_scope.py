from concurrent.futures import ThreadPoolExecutor

import pytest

from parametric_memory.conversation import current_scope, memory_scope, narrowed, owner_of


def test_scopes_nest_and_end_with_their_block():
    with memory_scope(user_id="anna"):
        with memory_scope(agent_id="clerk", filters={"year": [2023, 2024]}):
            assert current_scope() == {"user_id": "anna", "agent_id": "clerk", "year": [2023, 2024]}
        assert current_scope() == {"user_id": "anna"}
    assert current_scope() == {}


def test_a_scope_is_not_left_from_inside_and_never_empty():
    with (
        memory_scope(user_id="anna"),
        pytest.raises(ValueError, match="cannot leave the scope"),
        memory_scope(user_id="b"),
    ):
        pass
    with pytest.raises(ValueError, match="an empty scope hides nothing"), memory_scope():
        pass


def test_a_thread_of_somebody_else_is_not_in_the_scope():
    with memory_scope(user_id="anna"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(current_scope).result() == {}


def test_filters_narrow_to_what_satisfies_all_of_them():
    assert narrowed({"year": [2022, 2023]}, {"year": [2023, 2024]}, {"a": 1}) == {"year": 2023, "a": 1}
    with pytest.raises(ValueError, match="year must be"):
        narrowed({"year": 2022}, {"year": []})


def test_an_owner_is_the_part_that_says_whose_it_is():
    assert owner_of({"user_id": "anna", "year": 2023}) == {"user_id": "anna"}
