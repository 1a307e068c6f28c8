from __future__ import annotations

import random

import pytest
from evaluation_rows import row, rows_of, write_run

from parametric_memory.evaluation.report import read_results, render, stated


def sure(dataset, *, shift=0.0, count=400, seed=0):
    """Return answers of a system that is surer of answerable questions, on a set where it is surer by `shift`."""
    rng = random.Random(f"{dataset} {seed}")
    made = []
    for number in range(count):
        can = number % 2 == 0
        confidence = rng.betavariate(4, 2) if can else rng.betavariate(2, 4)
        answers = ["x"] if can else []
        made.append(row(number, dataset=dataset, answers=answers, confidence=confidence + shift))
    return {"closed_book": [row(number, dataset=dataset) for number in range(count)], "atoms": made}


def test_on_a_set_drawn_alike_the_measured_error_is_the_stated_one():
    found = stated({"one": sure("one"), "two": sure("two")})
    assert [(r["calibrated_on"], r["measured_on"], r["rate"]) for r in found[:4]] == [
        ("one", "one", 0.05), ("one", "one", 0.1), ("one", "one", 0.2), ("one", "two", 0.05),
    ]  # fmt: skip
    for record in found:
        assert record["error"] == pytest.approx(record["rate"], abs=0.06) and record["unanswerable"] == 200
        low, high = record["error_interval"]
        assert low <= record["error"] <= high
        assert (record["threshold"] is None) == (record["calibrated_on"] == record["measured_on"])
    assert {record["system"] for record in found} == {"atoms"}


def test_where_a_system_is_surer_of_everything_the_statement_does_not_hold():
    found = stated({"one": sure("one"), "two": sure("two", shift=0.3)}, rates=(0.1,))
    errors = {(record["calibrated_on"], record["measured_on"]): record["error"] for record in found}
    assert errors["one", "two"] > 0.3 and errors["two", "one"] < 0.05


def test_a_higher_rate_covers_no_less():
    found = stated({"one": sure("one"), "two": sure("two")})
    for pair in [("one", "two"), ("two", "one")]:
        covered = [r["coverage"] for r in found if (r["calibrated_on"], r["measured_on"]) == pair]
        assert covered == sorted(covered)


def test_too_few_unanswerable_questions_state_nothing_and_can_still_be_measured():
    answerable = {"atoms": [row(n, dataset="two", confidence=0.5) for n in range(50)]}
    found = stated({"one": sure("one", count=60), "two": answerable}, rates=(0.05,))
    assert [(r["calibrated_on"], r["measured_on"], r["error"]) for r in found] == [("one", "two", None)]


def test_systems_that_do_not_say_how_sure_they_are_state_nothing():
    assert stated({"one": {"closed_book": [row(n) for n in range(50)]}}) == []
    assert stated({}) == []


def test_pages_show_what_was_stated_and_what_was_measured(tmp_path):
    write_run(tmp_path / "run", {"one": rows_of("one", count=200), "two": rows_of("two", count=200)})
    [results] = read_results([tmp_path / "run"])
    page = render(results, command="pmem eval")
    assert "## Abstaining: stated and measured" in page and "its other half" in page
