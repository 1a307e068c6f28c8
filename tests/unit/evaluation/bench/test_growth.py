"""Growing, in this process: what a child would do is called where it is."""

from __future__ import annotations

import json

import pytest

from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.bench import growth, peak, stores
from parametric_memory.evaluation.bench.isolation import Isolated
from parametric_memory.evaluation.bench.stores import Grower


def silent(*_):
    pass


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few questions and few compiled atoms: what is checked does not depend on how many."""
    monkeypatch.setattr(growth, "QUESTIONS", 4)
    monkeypatch.setattr(growth, "ADDED", 2)
    monkeypatch.setattr(stores, "COMPILED", 4)


@pytest.fixture
def here(monkeypatch):
    """Run in this process what is meant for a child; return the sizes and indexes that were asked for."""
    calls = []

    def in_place(function, *arguments):
        calls.append(arguments)
        return Isolated(function(*arguments), 1.0, 10**6, None)

    monkeypatch.setattr(growth, "in_child", in_place)
    monkeypatch.setattr(peak, "in_child", in_place)
    return calls


@pytest.fixture
def grower(parts) -> Grower:
    return Grower(parts, seed=0)


def test_a_store_grown_in_two_runs_is_the_store_grown_in_one(grower, tmp_path):
    with grower.open(tmp_path / "one", index="numpy") as one, grower.open(tmp_path / "two", index="numpy") as two:
        grower.grow(one, 300, progress=silent)
        grower.grow(two, 150, progress=silent)
        assert two.stats().atoms == 150
        grower.grow(two, 300, progress=silent)
        atoms = one.atoms()
        assert two.atoms() == atoms and len(atoms) == 300
        assert [c.payload for c in one.codes([a.id for a in atoms])] == [
            c.payload for c in two.codes([a.id for a in atoms])
        ]
        assert not one.verify()


def test_synthetic_codes_have_the_size_of_compiled_ones_and_materialise(grower, parts, tmp_path):
    with grower.open(tmp_path / "store", index="numpy") as store:
        grower.grow(store, 200, progress=silent)
        codes = store.codes([atom.id for atom in store.atoms()[100:110]])
    assert len(parts.compiler.materialise(codes)) == 10
    real = parts.compile(grower.world.article(0).atoms[:4])
    assert {len(code.payload) for code in codes} == {len(code.payload) for code in real}


def test_every_size_and_index_is_measured_and_the_store_keeps_its_size(opener, tmp_path, here):
    found = growth.measure_growth(opener, tmp_path, sizes=(300, 200), indexes=("numpy",), seed=0, progress=silent)
    assert [(row["index"], row["atoms"]) for row in found["rows"]] == [("numpy", 200), ("numpy", 300)]
    row = found["rows"][-1]
    assert list(row["stages"]) == ["search", "route", "load", "materialise", "total"]
    assert row["stages"]["total"]["p50"] > row["stages"]["search"]["p50"] > row["stages"]["load"]["p50"] > 0
    assert row["add_one"]["n"] == growth.ADDED and row["ratio"]["p50"] > 0
    assert row["bytes"]["codes"] > found["rows"][0]["bytes"]["codes"]


def test_a_run_goes_on_with_larger_sizes_and_measures_nothing_twice(opener, tmp_path, here):
    first = growth.measure_growth(opener, tmp_path, sizes=(100,), indexes=("numpy",), seed=0, progress=silent)
    second = growth.measure_growth(opener, tmp_path, sizes=(100, 200), indexes=("numpy",), seed=0, progress=silent)
    assert len(here) == 2
    assert second["rows"][0] == json.loads(json.dumps(first["rows"][0]))


def test_a_size_that_the_store_has_outgrown_is_refused(opener, tmp_path, here):
    growth.measure_growth(opener, tmp_path, sizes=(200,), indexes=("numpy",), seed=0, progress=silent)
    with pytest.raises(ConfigError, match="grown to 200 already"):
        growth.measure_growth(opener, tmp_path, sizes=(100,), indexes=("numpy",), seed=0, progress=silent)


def test_both_key_indexes_search_the_same_grown_store(opener, tmp_path, here):
    found = growth.measure_growth(opener, tmp_path, sizes=(100,), indexes=("chroma", "numpy"), seed=0, progress=silent)
    assert [row["index"] for row in found["rows"]] == ["chroma", "numpy"]
    assert found["rows"][0]["bytes"]["index"] > 0


def test_every_kind_of_work_has_a_peak_and_the_kv_cache_stands_beside(opener, parts, tmp_path, here, monkeypatch):
    monkeypatch.setattr(peak, "MUCH", 30_000)
    found = peak.measure_peaks(opener, tmp_path, ["Who?", "When?"], seed=0, tokens=2, progress=silent)
    assert list(found["work"]) == ["plain", "ask", "ask_much", "rag_much", "add"]
    assert found["extra_bytes"] == 0  # the doubles' peaks are equal
    assert found["kv_cache_bytes"] == 30_000 * 2 * 3 * 2 * 8 * 4
