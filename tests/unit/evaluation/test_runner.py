from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from conftest import ROWS
from tiny_parts import CONFIG, tiny_memory

from parametric_memory.config import RoutingConfig
from parametric_memory.errors import ConfigError, UnreadableDocumentError
from parametric_memory.evaluation import SYSTEMS, Prediction, evaluate
from parametric_memory.evaluation.datasets import corpus_documents, read_questions, sample
from parametric_memory.evaluation.report import read_results
from parametric_memory.evaluation.systems import reading
from parametric_memory.evaluation.timings import measure
from parametric_memory.ingest import PassageExtractor, RuleExtractor
from parametric_memory.memory import ParametricMemory
from parametric_memory.routing import SimilarityRouter
from parametric_memory.testing.doubles import TinyBackend


def read_answers(out):
    return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]


@pytest.fixture
def generated(monkeypatch):
    """How many answers the base model wrote, call by call."""
    calls = []
    for name in ("generate", "generate_and_score"):
        made = getattr(TinyBackend, name)

        def counting(self, conversations, *given, made=made, **settings):
            calls.append(len(conversations))
            return made(self, conversations, *given, **settings)

        monkeypatch.setattr(TinyBackend, name, counting)
    return calls


def test_all_systems_answer_all_questions_and_the_folder_tells_it(world, tmp_path, open_with_documents, tiny_reader):
    out = tmp_path / "out"
    results = evaluate([world], list(SYSTEMS), out=out, timed=2, open_memory=open_with_documents)
    assert json.loads((out / "results.json").read_text()) == results
    dataset = results["datasets"]["world.dev"]
    assert (dataset["questions"], dataset["answerable"], dataset["with_gold"]) == (4, 3, 3)
    assert (dataset["documents"], dataset["atoms"]) == (3, 8)
    assert list(dataset["systems"]) == list(SYSTEMS)
    for figures in dataset["systems"].values():
        assert {"f1", "em", "containment", "n", "knowledge_tokens", "p50_ms"} <= set(figures)
        assert figures["n"] == 4
        assert 0.0 < figures["p50_ms"] <= figures["p95_ms"]
    rows = read_answers(out)
    assert len(rows) == 4 * len(SYSTEMS)
    assert {"dataset", "doc_id", "question", "answers", "system", "prediction", "abstained", "atoms"} <= set(rows[0])
    report = (out / "report.md").read_text()
    assert all(f"| `{name}` |" in report for name in SYSTEMS)
    settings = json.loads((out / "settings.json").read_text())
    assert (settings["seed"], settings["compiler"]) == (0, "hypernetwork:untrained")
    assert {"command", "versions", "machine", "files", "base_fingerprint", "prompt"} <= set(settings)


def test_figures_are_those_of_the_answers_on_disk(world, tmp_path, open_memory):
    results = evaluate([world], ["closed_book", "atoms"], out=tmp_path, timed=0, open_memory=open_memory)
    for name, figures in results["datasets"]["world.dev"]["systems"].items():
        rows = [row for row in read_answers(tmp_path) if row["system"] == name]
        assert figures["f1"] == pytest.approx(sum(row["f1"] for row in rows) / 4)
        assert figures["abstained"] == sum(row["abstained"] for row in rows) / 4
    # Abstaining is what makes the fourth answer right.
    assert results["datasets"]["world.dev"]["systems"]["atoms"]["refusal"]["recall"] == 1.0


def test_a_second_run_asks_nothing_again_and_finds_the_same(world, tmp_path, open_memory, generated):
    first = evaluate([world], ["closed_book", "atoms"], out=tmp_path, timed=1, open_memory=open_memory)
    asked = sum(generated)
    assert evaluate([world], ["closed_book", "atoms"], out=tmp_path, timed=1, open_memory=open_memory) == first
    assert sum(generated) == asked
    assert len(read_answers(tmp_path)) == 8


def test_a_killed_run_goes_on_where_it_stopped(world, tmp_path, open_memory, generated):
    whole = evaluate([world], ["closed_book"], out=tmp_path / "a", timed=0, open_memory=open_memory)
    lines = (tmp_path / "a" / "answers.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "answers.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:20])
    generated.clear()
    assert evaluate([world], ["closed_book"], out=tmp_path / "b", timed=0, open_memory=open_memory) == whole
    # The whole batch, so that the last digits are those of the other run.
    assert generated == [4]
    assert len(read_answers(tmp_path / "b")) == 4


def test_interrupting_loses_no_answer(world, tmp_path, open_memory, generated):
    def interrupt(task, done, total):
        if task == "asking" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate([world], ["atoms", "closed_book"], out=tmp_path, timed=0, open_memory=open_memory, progress=interrupt)
    assert [row["system"] for row in read_answers(tmp_path)] == ["atoms"] * 4
    generated.clear()
    evaluate([world], ["atoms", "closed_book"], out=tmp_path, timed=0, open_memory=open_memory)
    assert generated == [4]


def test_other_settings_ask_everything_anew(world, tmp_path, open_memory, generated):
    evaluate([world], ["rag_dense"], out=tmp_path, timed=0, open_memory=open_memory)
    evaluate([world], ["rag_dense"], out=tmp_path, timed=0, open_memory=open_memory, setting="corpus")
    assert generated == [4, 4]
    assert len((tmp_path / "answers.earlier.jsonl").read_text().splitlines()) == len(read_answers(tmp_path)) == 4


def test_a_larger_sample_goes_on_from_a_smaller_one_where_other_documents_do_not_matter(
    world, tmp_path, open_memory, generated, monkeypatch
):
    monkeypatch.setattr("parametric_memory.evaluation.runner.TOGETHER", 2)
    systems = ["closed_book", "atoms_oracle", "rag_bm25"]
    evaluate([world], systems, out=tmp_path / "more", limit=2, timed=0, open_memory=open_memory)
    few, _ = len(generated), generated.clear()
    evaluate([world], systems, out=tmp_path / "more", limit=4, timed=0, open_memory=open_memory)
    assert (few, len(generated)) == (3, 4)
    evaluate([world], systems, out=tmp_path / "anew", limit=4, timed=0, open_memory=open_memory)
    assert sorted(read_answers(tmp_path / "more"), key=str) == sorted(read_answers(tmp_path / "anew"), key=str)


def test_another_compiler_asks_anew_only_those_that_depend_on_it(world, tmp_path, generated):
    systems = ["closed_book", "in_context", "rag_dense", "atoms", "hybrid"]
    evaluate([world], systems, out=tmp_path, timed=0, open_memory=tiny_memory)
    generated.clear()
    first = {row["system"]: row["settings"] for row in read_answers(tmp_path)}
    evaluate([world], systems, out=tmp_path, timed=0, open_memory=partial(tiny_memory, digest="trained"))
    second = {row["system"]: row["settings"] for row in read_answers(tmp_path)}
    assert [name for name in systems if first[name] != second[name]] == ["atoms", "hybrid"]
    assert len(generated) == 2


@pytest.mark.parametrize(
    ("part", "anew"),
    [
        ({"extractor": PassageExtractor()}, ["closed_book", "rag_dense", "atoms"]),
        ({"extractor": RuleExtractor(max_chars=40)}, ["closed_book", "rag_dense", "atoms"]),
        ({"router": SimilarityRouter(RoutingConfig(max_atoms=1))}, ["atoms"]),
        ({"config": replace(CONFIG, fallback="base")}, ["atoms"]),
    ],
    ids=["extractor", "its setting", "router", "fallback"],
)  # fmt: skip
def test_another_part_asks_anew_all_that_depend_on_it(world, tmp_path, open_memory, parts, part, anew):
    systems = ["closed_book", "rag_dense", "atoms"]
    evaluate([world], systems, out=tmp_path / "a", timed=0, open_memory=open_memory)
    before = {row["system"]: row["settings"] for row in read_answers(tmp_path / "a")}

    def other(path):
        return ParametricMemory(path=path, **{"config": CONFIG} | parts | part)

    again = evaluate([world], systems, out=tmp_path / "a", timed=0, open_memory=other)
    after = {row["system"]: row["settings"] for row in read_answers(tmp_path / "a")}
    assert [name for name in systems if before[name] != after[name]] == anew
    memories = list((tmp_path / "a" / "memories").iterdir())
    assert len(memories) == (2 if "extractor" in part else 1), "what only asks is not compiled anew"
    assert again == evaluate([world], systems, out=tmp_path / "b", timed=0, open_memory=other)


def test_times_are_measured_anew_where_answers_are_asked_anew(world, tmp_path, open_memory, library, monkeypatch):
    def times():
        evaluate([world], ["closed_book", "rag_dense"], out=tmp_path, timed=2, open_memory=open_memory)
        [measured] = json.loads((tmp_path / "timings.json").read_text()).values()
        return measured

    before = times()
    assert times() == before
    other = replace(library.reading, dense=replace(library.reading.dense, passages=1))
    monkeypatch.setattr(reading, "reading_choice", lambda *_: other)
    monkeypatch.setattr("parametric_memory.evaluation.systems.library.reading_choice", lambda *_: other)
    assert [name for name, one in times().items() if one["ms"] == before[name]["ms"]] == []


def test_a_folder_is_reported_as_its_last_run_was_whatever_was_asked_before(world, tmp_path):
    systems = ["closed_book", "atoms"]
    evaluate([world], systems, out=tmp_path, timed=1, open_memory=partial(tiny_memory, digest="first"))
    last = evaluate([world], systems, out=tmp_path, limit=2, timed=1, open_memory=partial(tiny_memory, digest="second"))
    assert len(read_answers(tmp_path)) > 4, "those of the first run that the second did not ask for stay"
    [told] = json.loads(json.dumps(read_results([tmp_path])))
    assert told["settings"] == last["settings"] and told["settings"]["compiler"] == "hypernetwork:second"
    assert told["datasets"] == last["datasets"]
    assert told["datasets"]["world.dev"]["systems"]["atoms"]["n"] == 2


def test_a_folder_of_an_earlier_version_is_refused_and_its_results_are_read(world, tmp_path, open_memory):
    results = evaluate([world], ["closed_book"], out=tmp_path, timed=0, open_memory=open_memory)
    settings = json.loads((tmp_path / "settings.json").read_text())
    del settings["signatures"]
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(UnreadableDocumentError, match=r"name the folder's results\.json"):
        read_results([tmp_path])
    assert read_results([tmp_path / "results.json"]) == [results]


def test_datasets_do_not_meet(write_rows, tmp_path, open_memory):
    port = {
        "doc_id": "d",
        "document": "The harbour is red.",
        "question": "Which colour is the harbour?",
        "answers": ["red"],
    }
    bakery = {
        "doc_id": "d",
        "document": "The bakery is blue.",
        "question": "Which colour is the bakery?",
        "answers": ["blue"],
    }
    files = [write_rows([port], "one.jsonl"), write_rows([bakery], "two.jsonl")]
    results = evaluate(files, ["rag_dense"], out=tmp_path / "out", setting="corpus", timed=0, open_memory=open_memory)
    assert [dataset["documents"] for dataset in results["datasets"].values()] == [1, 1]
    assert [row["looked"] for row in read_answers(tmp_path / "out")] == [1, 1]


def test_the_set_with_most_to_read_is_begun_first_and_reported_in_its_place(world, write_rows, tmp_path, open_memory):
    row = {"doc_id": "d", "document": "Red.", "question": "Which colour?", "answers": ["red"]}
    small = write_rows([row], "small.jsonl")
    results = evaluate([small, world], ["closed_book"], out=tmp_path / "out", timed=0, open_memory=open_memory)
    assert [row["dataset"] for row in read_answers(tmp_path / "out")] == [*["world.dev"] * 4, "small"]
    assert list(results["datasets"]) == ["small", "world.dev"]


def test_limit_and_seed_choose_the_questions(world, tmp_path, open_memory):
    asked = {}
    for seed in range(6):
        evaluate(
            [world], ["closed_book"], out=tmp_path / str(seed), limit=2, seed=seed, timed=0, open_memory=open_memory
        )
        asked[seed] = tuple(row["question"] for row in read_answers(tmp_path / str(seed)))
    assert all(len(questions) == 2 for questions in asked.values())
    assert len(set(asked.values())) > 1


def test_every_mistake_is_named_before_anything_is_loaded(world, tmp_path):
    with pytest.raises(ConfigError) as caught:
        evaluate(
            [world, world],
            ["atoms", "attoms", "atoms"],
            out=tmp_path / "out",
            limit=0,
            setting="mine",
            timed=-1,
            workers=0,
        )
    message = str(caught.value)
    assert f"unknown system 'attoms'; known are {', '.join(SYSTEMS)}" in message
    for part in (
        "'atoms' is named twice",
        "two files are called 'world.dev'",
        "limit is 0",
        "setting is 'mine'",
        "timed is -1",
        "workers is 0",
    ):
        assert part in message
    with pytest.raises(ConfigError, match="no file of questions") as caught:
        evaluate([], [], out=tmp_path / "out")
    assert "no system is named" in str(caught.value)
    with pytest.raises(UnreadableDocumentError, match="No such file"):
        evaluate([tmp_path / "none.jsonl"], ["atoms"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Clock:
    """A system that notes when it was asked."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def answer(self, questions, *, score=True):
        assert not score
        self.log.append((self.name, *(question.question for question in questions)))
        return [Prediction("", False, (), 0, float(len(self.log))) for _ in questions]


def test_times_are_of_single_questions_with_the_systems_in_turn(questions):
    log = []
    ms = measure([Clock("a", log), Clock("b", log)], questions[:2], lambda *_: None)
    first, second = (question.question for question in questions[:2])
    warm, measured = log[:2], log[2:]
    assert warm == [("a", first), ("b", first)]
    assert measured == [("a", first), ("b", first), ("b", second), ("a", second)]
    assert ms == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


def test_several_workers_answer_as_one_does(world, write_rows, tmp_path):
    more = write_rows([{"document": "The harbour is red.", "question": "Which?", "answers": ["red"]}], "more.jsonl")
    results = {}
    for workers in (1, 2):
        out = tmp_path / str(workers)
        before = torch.get_num_threads()
        torch.set_num_threads(workers)  # so that each has one
        try:
            results[workers] = evaluate(
                [world, more], ["closed_book", "atoms"], out=out, timed=0, workers=workers, open_memory=tiny_memory
            )
        finally:
            torch.set_num_threads(before)
    assert results[1] == results[2]
    assert sorted(map(str, read_answers(tmp_path / "1"))) == sorted(map(str, read_answers(tmp_path / "2")))


def test_the_corpus_holds_the_documents_of_all_questions_also_those_not_asked(world, tmp_path, open_memory):
    for setting, documents in (("own", 1), ("corpus", 3)):
        results = evaluate(
            [world], ["rag_dense"], out=tmp_path / setting, limit=1, setting=setting, timed=0, open_memory=open_memory
        )
        assert results["datasets"]["world.dev"]["documents"] == documents


@pytest.fixture
def table(tmp_path):
    """A table of one question beside a folder of three documents."""
    folder = tmp_path / "table" / "documents"
    folder.mkdir(parents=True)
    for row in ROWS:
        (folder / f"{row['doc_id']}.txt").write_text(row["document"])
    path = folder.with_name("mine.csv")
    path.write_text("question,answer,document\nWhich colour is the lighthouse?,green,port.txt\n")
    return path


def test_the_corpus_of_a_folder_is_all_of_it_and_counts_for_all_who_search_it(table, tmp_path, open_memory):
    def asked():
        systems = ["closed_book", "atoms_oracle", "rag_bm25", "atoms"]
        results = evaluate([table], systems, out=tmp_path, setting="corpus", timed=0, open_memory=open_memory)
        signed = {row["system"]: row["settings"] for row in read_answers(tmp_path)}
        return results["datasets"]["mine"]["documents"], signed

    documents, before = asked()
    assert documents == 3
    (table.with_name("documents") / "river.txt").write_text("The river Ebble is blue.")
    documents, after = asked()
    assert documents == 3 and [name for name in after if before[name] != after[name]] == ["rag_bm25", "atoms"]
    (table.with_name("documents") / "river.txt").unlink()
    assert asked()[0] == 2


def test_a_larger_sample_of_a_corpus_goes_on_from_a_smaller_one(world, tmp_path, open_memory, generated, monkeypatch):
    monkeypatch.setattr("parametric_memory.evaluation.runner.TOGETHER", 2)
    for limit in (2, 4):
        evaluate([world], ["rag_bm25"], out=tmp_path, limit=limit, setting="corpus", timed=0, open_memory=open_memory)
    assert generated == [2, 2]


def test_questions_that_name_no_document_are_asked_of_all_and_stand_for_themselves(table, tmp_path, open_memory):
    table.write_text(
        "question,answer\nWhich colour is the lighthouse?,green\nWhen did the harbour open?,1894\n"
        "Who is the owner of the bakery?,Maud Ferris\n"
    )
    results = evaluate([table], ["rag_bm25", "atoms"], out=tmp_path, timed=0, open_memory=open_memory)
    dataset = results["datasets"]["mine"]
    assert (dataset["documents"], dataset["with_gold"]) == (3, 3)
    assert dataset["systems"]["atoms"]["intervals"]["f1"] is not None
    assert dataset["systems"]["atoms"]["against"]["rag_bm25"]["f1"]["p"] is not None
    rows = read_answers(tmp_path)
    assert len({row["doc_id"] for row in rows}) == 3
    # All documents are searched, one chunk each, and the right one is known.
    assert {row["looked"] for row in rows if row["system"] == "rag_bm25"} == {3}
    assert all(row["gold_rank"] for row in rows)


def test_progress_counts_characters_questions_and_times(world, tmp_path, open_memory, monkeypatch):
    monkeypatch.setattr("parametric_memory.evaluation.runner.FILLED", 2)
    seen = {}

    def note(task, done, total):
        seen.setdefault(task, []).append((done, total))

    evaluate([world], ["closed_book"], out=tmp_path, timed=2, open_memory=open_memory, progress=note)
    first, second, third = (
        len(document.document) for document in corpus_documents(sample(read_questions(world), limit=None, seed=0))
    )
    assert seen == {
        "reading characters": [(first + second, first + second + third), (first + second + third,) * 2],
        "asking": [(4, 4)],
        "world.dev: times": [(0, 2), (1, 2), (2, 2)],
    }
