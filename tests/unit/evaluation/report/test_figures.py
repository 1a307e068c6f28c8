from __future__ import annotations

import json
import random
from itertools import pairwise

import pytest
from evaluation_rows import CIRCUMSTANCES, SETTINGS, row, rows_of, write_run

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.report import figures, overall, render
from parametric_memory.evaluation.report.results import portable, read_results

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
    refusal = {key: one["refusal"][key] for key in ("precision", "recall", "f1")}
    assert refusal == pytest.approx({"precision": 1.0, "recall": 0.5, "f1": 2 / 3})
    assert (one["p50_ms"], one["p95_ms"], one["timed"]) == (20.0, pytest.approx(83.0), 3)
    assert (other["p50_ms"], other["p95_ms"], other["timed"]) == (None, None, 0)
    low, high = one["intervals"]["f1"]
    assert low < one["f1"] < high


def test_saying_nothing_counts_as_refusing():
    found = figures({"s": [row(1, answers=[], gold=None, prediction="."), row(2)]}, {})
    assert found["systems"]["s"]["refusal"]["f1"] == 1.0


def test_whoever_says_that_it_is_not_known_refuses_as_one_that_abstains():
    said = {"answers": [], "gold": None, "loglikelihood": None, "f1": 0.0, "em": 0.0, "containment": 0.0}
    rows = {
        "atoms": [row(1, **said, prediction="I don't know.", abstained=True), row(2), row(3)],
        "rag_dense": [row(1, **said, prediction="Not mentioned."), row(2), row(3)],
    }
    found = {"one": figures(rows, {})}
    atoms, rag = (found["one"]["systems"][name] for name in rows)
    assert atoms["refusal"] == rag["refusal"] and rag["refusal"]["f1"] == 1.0
    assert atoms["f1"] == rag["f1"] == pytest.approx(2 / 3)
    assert (atoms["abstained"], rag["abstained"]) == (pytest.approx(1 / 3), 0.0)
    both = overall({"one": rows}, found)["systems"]
    assert both["atoms"]["intervals"] == both["rag_dense"]["intervals"]
    assert both["rag_dense"]["intervals"]["f1"][1] == 1.0


def test_what_is_the_right_answer_refuses_nothing():
    right = row(2, answers=["unknown"], prediction="Unknown.", f1=1.0, em=1.0)
    found = figures({"s": [row(1, answers=[], gold=None, prediction="."), right]}, {})
    assert found["systems"]["s"]["refusal"]["precision"] == 1.0


def test_rows_of_earlier_runs_have_no_recall_and_no_curve():
    found = figures({"s": ROWS}, {})["systems"]["s"]
    assert (found["recall_at"], found["refusal_curve"], found["by_length"]) == (None, None, None)


def test_recall_counts_questions_with_a_gold_sentence_of_systems_that_look():
    ranks = [1, 2, 3, None]
    looked = [row(number, looked=16, gold_rank=rank) for number, rank in enumerate(ranks)]
    found = figures({"s": [*looked, row(9, gold=None, looked=16, gold_rank=None)]}, {})["systems"]["s"]["recall_at"]
    assert [found[k]["value"] for k in ("1", "2", "4", "16")] == [0.25, 0.5, 0.75, 0.75]


def test_figures_do_not_depend_on_the_order_of_answers():
    rows = rows_of("one")
    shuffled = {name: random.Random(1).sample(answers, len(answers)) for name, answers in rows.items()}
    assert figures(shuffled, {}) == figures(rows, {})
    both = {"one": rows, "two": rows_of("two")}
    datasets = {name: figures(systems, {}) for name, systems in both.items()}
    assert overall({**both, "one": shuffled}, datasets) == overall(both, datasets)


def test_the_better_rag_arm_is_the_one_that_others_are_compared_with():
    found = figures(rows_of("one"), {"rag_dense": [100.0, 100.0], "atoms": [20.0, 40.0]})
    assert found["rag"] == max(("rag_bm25", "rag_dense"), key=lambda name: found["systems"][name]["f1"])
    against = found["systems"]["atoms"]["against"]
    assert set(against) == {"rag_bm25", "rag_dense"}
    expected = found["systems"]["atoms"]["f1"] - found["systems"]["rag_bm25"]["f1"]
    assert against["rag_bm25"]["f1"]["mean"] == pytest.approx(expected)


def test_times_are_compared_question_by_question():
    rows = {"rag_dense": ROWS, "atoms": ROWS}
    found = figures(rows, {"rag_dense": [100.0, 200.0, 50.0], "atoms": [50.0, 50.0, 50.0]})
    assert found["systems"]["atoms"]["ms_ratio"] == 0.5


def test_a_system_that_was_asked_less_is_compared_on_what_it_was_asked():
    found = figures({"rag_dense": ROWS, "atoms": ROWS[:2]}, {})
    assert found["systems"]["atoms"]["against"]["rag_dense"]["f1"]["n"] == 2
    assert found["systems"]["atoms"]["against"]["rag_dense"]["f1"]["mean"] == 0.0


def test_overall_is_the_mean_of_the_sets_however_large_they_are():
    rows = {"one": rows_of("one", count=40), "two": rows_of("two", count=8)}
    datasets = {name: figures(systems, {}) for name, systems in rows.items()}
    found = overall(rows, datasets)
    expected = sum(dataset["systems"]["atoms"]["f1"] for dataset in datasets.values()) / 2
    atoms = found["systems"]["atoms"]
    assert atoms["f1"] == pytest.approx(expected)
    assert atoms["intervals"]["f1"][0] < expected < atoms["intervals"]["f1"][1]
    assert atoms["against"]["rag"]["f1"]["sets"] == found["sets"] == 2
    assert sum(one["wins"] or 0 for one in found["systems"].values()) >= 2
    assert found["systems"]["atoms_oracle"]["wins"] is None


def test_a_system_that_is_handed_the_gold_sentence_is_no_rival():
    rows = {"one": rows_of("one", strengths={"closed_book": 0.0, "atoms": 0.4, "atoms_among": 0.9})}
    found = overall(rows, {"one": figures(rows["one"], {})})["systems"]
    assert found["atoms_among"]["f1"] > found["atoms"]["f1"]
    assert (found["closed_book"]["wins"], found["atoms"]["wins"], found["atoms_among"]["wins"]) == (0, 1, None)


def test_the_page_shows_every_system_and_no_column_that_says_nothing():
    dataset = {"documents": 4, "atoms": 9, **figures({"s": ROWS, "t": ROWS[:1]}, {"s": [10.0]})}
    page = render({"settings": SETTINGS, "datasets": {"squad": dataset}}, command="pmem eval --data squad.jsonl")
    lines = page.splitlines()
    assert "    pmem eval --data squad.jsonl" in lines
    assert "## squad" in lines
    [s] = [line for line in lines if line.startswith("| `s` |")]
    [t] = [line for line in lines if line.startswith("| `t` |")]
    assert s.startswith("| `s` | 4 | 0.62 [")
    assert s.endswith("| −2.00 | 0.67 | 2 | 10 | 10 |")
    assert t == "| `t` | 1 | 0.50 | 1.00 | 0.00 | −2.00 | – | 3 | – | – |"
    for one, other in pairwise(lines):
        assert one[:1] != "|" or other[:1] != "|" or one.count("|") == other.count("|")


# ---------------------------------------------------------------- made anew from files


def test_a_report_is_made_anew_from_the_files_of_a_run(tmp_path):
    sets = {"one": rows_of("one"), "two": rows_of("two", count=20)}
    [results] = read_results([write_run(tmp_path / "run", sets)])
    ms = {name: [10.0, 20.0, 90.0] for name in sets["one"]}
    for name, systems in sets.items():
        found = {key: results["datasets"][name][key] for key in figures(systems, ms)}
        assert json.dumps(found) == json.dumps(figures(systems, ms))
    assert set(results["overall"]["systems"]) == set(sets["one"])
    assert results["datasets"]["one"]["documents"] == 20
    assert "`mystery`" in render(results, command="x")


def test_runs_of_one_setting_become_one_result_and_others_stay_apart(tmp_path):
    rows = rows_of("one")
    weights = {name: rows[name] for name in ("atoms", "atoms_oracle")}
    text = {name: rows[name] for name in rows if name not in weights}
    folders = [
        write_run(tmp_path / "text", {"one": text}),
        write_run(tmp_path / "corpus", {"one": rows}, setting="corpus"),
        write_run(tmp_path / "weights", {"one": weights, "two": rows_of("two")}, limit=20),
    ]
    own, corpus = read_results(folders)
    assert (own["settings"]["setting"], corpus["settings"]["setting"]) == ("own", "corpus")
    assert set(own["datasets"]) == {"one", "two"}
    whole = figures(rows, {})["systems"]["atoms"]["against"]
    assert own["datasets"]["one"]["systems"]["atoms"]["against"] == whole


def test_answers_of_other_settings_and_a_torn_line_do_not_count(tmp_path):
    folder = write_run(tmp_path / "run", {"one": {"s": ROWS}})
    answers = folder / "answers.jsonl"
    stale = json.dumps({**row(7), "settings": "of another day"})
    answers.write_text(f'{stale}\n{answers.read_text()}{{"dataset": "on', encoding="utf-8")
    [results] = read_results([folder])
    assert results["datasets"]["one"]["systems"]["s"]["n"] == len(ROWS)


@pytest.mark.parametrize("missing", ["settings.json", "answers.jsonl"])
def test_a_folder_that_is_no_run_says_what_is_missing(tmp_path, missing):
    folder = write_run(tmp_path / "run", {"one": {"s": ROWS}})
    (folder / missing).unlink()
    with pytest.raises(UnreadableDocumentError, match=missing):
        read_results([folder])


def test_nothing_of_the_machine_is_told_but_what_times_depend_on(tmp_path):
    [results] = read_results([write_run(tmp_path / "run", {"one": {"s": ROWS}})])
    told = json.dumps(results)
    assert "someone" not in told and "somebox" not in told
    assert results["circumstances"]["command"] == "pmem eval --data DATA/one.jsonl --out out"
    assert portable(CIRCUMSTANCES["command"]) == portable(portable(CIRCUMSTANCES["command"]))
