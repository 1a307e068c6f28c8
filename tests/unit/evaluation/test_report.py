from __future__ import annotations

import pytest

from parametric_memory.evaluation.report import figures, render


def row(number, **more):
    base = {
        "doc_id": f"d{number}", "answers": ["x"], "prediction": "y", "abstained": False, "atoms": ["a"], "gold": "a",
        "f1": 0.5, "em": 0.0, "containment": 1.0, "knowledge_tokens": 3, "loglikelihood": -2.0,
    }  # fmt: skip
    return base | more


ROWS = [
    row(1),
    row(2, gold="b", f1=1.0, em=1.0),
    row(3, answers=[], gold=None, abstained=True, atoms=[], f1=1.0, em=1.0, knowledge_tokens=0, loglikelihood=None),
    row(4, answers=[], gold=None, f1=0.0, containment=0.0, loglikelihood=None),
]


def test_figures_are_means_over_what_they_speak_of():
    found = figures({"s": ROWS, "t": ROWS[:4]}, {"s": [10.0, 20.0, 90.0]})
    assert (found["questions"], found["answerable"], found["with_gold"]) == (4, 2, 2)
    one, other = found["systems"]["s"], found["systems"]["t"]
    assert (one["f1"], one["em"], one["containment"], one["n"], one["knowledge_tokens"]) == (0.625, 0.5, 0.75, 4, 2.25)
    assert (one["loglikelihood"], one["recall"], one["abstained"]) == (-2.0, 0.5, 0.25)
    assert one["refusal"] == pytest.approx({"precision": 1.0, "recall": 0.5, "f1": 2 / 3})
    assert (one["p50_ms"], one["p95_ms"], one["timed"]) == (20.0, pytest.approx(83.0), 3)
    assert (other["p50_ms"], other["p95_ms"], other["timed"]) == (None, None, 0)
    low, high = one["intervals"]["f1"]
    assert low < one["f1"] < high


def test_saying_nothing_counts_as_refusing():
    found = figures({"s": [row(1, answers=[], gold=None, prediction="."), row(2)]}, {})
    assert found["systems"]["s"]["refusal"]["f1"] == 1.0


def test_the_page_shows_every_system_and_a_dash_where_nothing_was_measured():
    dataset = {"documents": 4, "atoms": 9, **figures({"s": ROWS, "t": ROWS[:1]}, {"s": [10.0]})}
    settings = {"base_model": "tiny", "compiler": "c", "key_encoder": "k", "seed": 0, "setting": "own"}
    page = render({"settings": settings, "datasets": {"squad": dataset}}, command="pmem eval --data squad.jsonl")
    lines = page.splitlines()
    assert "    pmem eval --data squad.jsonl" in lines
    assert "## squad" in lines
    [s] = [line for line in lines if line.startswith("| `s` |")]
    [t] = [line for line in lines if line.startswith("| `t` |")]
    assert s.startswith("| `s` | 0.625 (")
    assert s.endswith("| 0.500 | 0.750 | -2.00 | 0.500 | 0.250 | 0.667 | 2 | 10 | 10 |")
    assert t == "| `t` | 0.500 | 0.000 | 1.000 | -2.00 | 1.000 | 0.000 | – | 3 | – | – |"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
