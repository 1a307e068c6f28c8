"""What every `KeyIndex` must do, as tests to inherit.

For example::

    class TestMyIndex(KeyIndexConformance):
        @pytest.fixture
        def index(self, tmp_path):
            index = MyIndex(tmp_path)
            yield index
            index.close()

Approximate indexes pass: where all keys are asked for the sets are small, and large sets are asked for exact matches.
"""

# ruff: noqa: D102 - a test's name is its sentence
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from parametric_memory.protocols import KeyIndex
from parametric_memory.types import AtomKey


def unit_keys(number: int, *, dim: int = 16, seed: int = 0) -> list[AtomKey]:
    """Return keys in random directions, named ``atom-0``, ``atom-1`` and so on."""
    vectors = np.random.default_rng(seed).standard_normal((number, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [AtomKey(f"atom-{i}", vector) for i, vector in enumerate(vectors)]


def nearest(keys: Sequence[AtomKey], vector: NDArray[np.float32]) -> list[tuple[str, float]]:
    """Return all (id, cosine) pairs, best first: the reference."""
    return sorted(((key.atom_id, float(key.vector @ vector)) for key in keys), key=lambda pair: -pair[1])


class KeyIndexConformance:
    """Inherit, and give an empty index."""

    @pytest.fixture
    def index(self) -> KeyIndex:
        """Return an empty index; close it after the test."""
        raise NotImplementedError("a conformance test gives its own `index` fixture")

    def test_it_is_a_key_index(self, index: KeyIndex) -> None:
        assert isinstance(index, KeyIndex)

    @pytest.mark.parametrize("seed", range(5))
    def test_search_returns_the_exact_order_and_cosines(self, index: KeyIndex, seed: int) -> None:
        keys = unit_keys(40, seed=seed)
        index.upsert(keys)
        query = unit_keys(1, seed=seed + 100)[0].vector
        found, expected = index.search(query, 10), nearest(keys, query)[:10]
        assert [id_ for id_, _ in found] == [id_ for id_, _ in expected]
        np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1e-5)

    def test_every_key_finds_itself_with_a_cosine_of_at_most_one(self, index: KeyIndex) -> None:
        keys = unit_keys(200)
        index.upsert(keys)
        for key in keys:
            [(id_, score)] = index.search(key.vector, 1)
            assert id_ == key.atom_id
            assert 1 - 1e-5 < score <= 1

    def test_an_empty_index_finds_nothing(self, index: KeyIndex) -> None:
        query = unit_keys(1)[0].vector
        assert index.search(query, 3) == []
        assert index.search(query, 3, within=["atom-0"]) == []
        assert index.ids() == set()

    def test_more_are_asked_for_than_there_are(self, index: KeyIndex) -> None:
        index.upsert(unit_keys(3))
        assert len(index.search(unit_keys(1)[0].vector, 10)) == 3

    def test_none_are_asked_for(self, index: KeyIndex) -> None:
        index.upsert(unit_keys(3))
        assert index.search(unit_keys(1)[0].vector, 0) == []

    def test_within_leaves_everything_else_out(self, index: KeyIndex) -> None:
        keys = unit_keys(200)
        index.upsert(keys)
        allowed = keys[50:60]
        found = index.search(keys[0].vector, 5, within=[key.atom_id for key in allowed])
        assert [id_ for id_, _ in found] == [id_ for id_, _ in nearest(allowed, keys[0].vector)[:5]]

    def test_within_the_farthest_of_many_keys_still_finds_as_many_as_asked_for(self, index: KeyIndex) -> None:
        keys, query = unit_keys(3000), unit_keys(1, seed=1)[0].vector
        index.upsert(keys)
        farthest = [id_ for id_, _ in nearest(keys, query)[-20:]]
        assert [id_ for id_, _ in index.search(query, 16, within=farthest)] == farthest[:16]

    def test_within_ignores_unknown_and_repeated_ids(self, index: KeyIndex) -> None:
        keys = unit_keys(5)
        index.upsert(keys)
        found = index.search(keys[0].vector, 5, within=["nobody", "atom-1", "atom-1"])
        assert [id_ for id_, _ in found] == ["atom-1"]
        assert index.search(keys[0].vector, 5, within=["nobody"]) == []

    def test_within_nothing_finds_nothing(self, index: KeyIndex) -> None:
        index.upsert(unit_keys(5))
        assert index.search(unit_keys(1)[0].vector, 5, within=[]) == []

    def test_upsert_replaces_a_key(self, index: KeyIndex) -> None:
        first, second = unit_keys(2)
        index.upsert([AtomKey("it", first.vector)])
        index.upsert([AtomKey("it", second.vector)])
        [(id_, score)] = index.search(second.vector, 5)
        assert id_ == "it"
        assert score == pytest.approx(1, abs=1e-5)

    def test_the_last_of_two_keys_of_one_id_counts(self, index: KeyIndex) -> None:
        first, second = unit_keys(2)
        index.upsert([AtomKey("it", first.vector), AtomKey("it", second.vector)])
        assert index.search(second.vector, 5)[0][1] == pytest.approx(1, abs=1e-5)
        assert index.ids() == {"it"}

    def test_adding_nothing_and_deleting_nothing_do_nothing(self, index: KeyIndex) -> None:
        index.upsert([])
        index.delete([])
        assert index.ids() == set()

    def test_a_deleted_key_is_not_found_and_the_others_are(self, index: KeyIndex) -> None:
        keys = unit_keys(30)
        index.upsert(keys)
        index.delete({key.atom_id for key in keys[::2]})
        assert index.ids() == {key.atom_id for key in keys[1::2]}
        for key in keys[1::2]:
            assert index.search(key.vector, 1)[0][0] == key.atom_id
        for key in keys[::2]:
            assert index.search(key.vector, 1)[0][0] != key.atom_id

    def test_deleting_what_is_not_there_does_nothing(self, index: KeyIndex) -> None:
        index.upsert(unit_keys(2))
        index.delete(["nobody"])
        assert index.ids() == {"atom-0", "atom-1"}

    def test_a_deleted_key_can_come_back(self, index: KeyIndex) -> None:
        keys = unit_keys(3)
        index.upsert(keys)
        index.delete(["atom-1"])
        index.upsert([keys[1]])
        assert index.search(keys[1].vector, 1)[0][0] == "atom-1"

    def test_a_cleared_index_is_empty_and_usable(self, index: KeyIndex) -> None:
        index.upsert(unit_keys(5))
        index.clear()
        assert index.ids() == set()
        index.upsert(unit_keys(2, seed=1))
        assert index.ids() == {"atom-0", "atom-1"}

    def test_more_keys_than_one_batch_of_any_library(self, index: KeyIndex) -> None:
        keys = unit_keys(6000)
        index.upsert(keys)
        assert len(index.ids()) == 6000
        assert index.search(keys[-1].vector, 1)[0][0] == "atom-5999"
        index.delete([key.atom_id for key in keys[:5900]])
        assert len(index.ids()) == 100

    def test_a_closed_index_refuses_to_work(self, index: KeyIndex) -> None:
        index.upsert(unit_keys(1))
        index.close()
        with pytest.raises(Exception, match="closed"):
            index.search(unit_keys(1)[0].vector, 1)
        with pytest.raises(Exception, match="closed"):
            index.ids()
