"""`pmem eval`, `pmem probe` and `pmem train`, on a tiny base model."""

from __future__ import annotations

import json

import pytest

from parametric_memory.cli.exits import Exit
from parametric_memory.testing.doubles import tiny_model


def question(number: int, keeper: str) -> dict:
    document = f"Hall {number} was built in {1900 + number}. The keeper of Hall {number} is {keeper}."
    return {
        "doc_id": f"hall-{number}", "title": f"Hall {number}", "document": document,
        "question": f"Who is the keeper of Hall {number}?", "answers": [keeper], "answerable": True,
    }  # fmt: skip


def write(path, count: int) -> None:
    rows = [question(number, f"Keeper{number * 7919 % 1000}") for number in range(count)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.fixture
def questions(world):
    for name in ("north", "south"):
        write(world.path / f"{name}.jsonl", 4)
    return world


def test_eval_writes_its_results_and_prints_a_row_per_system(questions):
    result = questions.pmem(
        "eval", "--data", "north.jsonl", "--systems", "closed_book,atoms", "--limit", 2, "--time", 1, "--out", "out"
    )
    assert result.exit_code == 0, result.output
    assert "closed_book" in result.stdout and "north: 2 questions" in result.stdout
    found = json.loads((questions.path / "out" / "results.json").read_text(encoding="utf-8"))["datasets"]["north"]
    assert set(found["systems"]) == {"closed_book", "atoms"}
    assert found["systems"]["atoms"]["n"] == 2


def test_eval_takes_several_files_and_prints_json(questions):
    words = ["--systems", "closed_book", "--time", 0, "--setting", "corpus", "--seed", 3, "--out", "out", "--json"]
    result = questions.pmem("eval", "--data", "north.jsonl", "south.jsonl", *words)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert set(printed["datasets"]) == {"north", "south"}
    assert (printed["settings"]["setting"], printed["settings"]["seed"]) == ("corpus", 3)


def test_every_mistake_of_an_eval_is_told_before_a_model_is_loaded(questions, monkeypatch):
    monkeypatch.setattr("parametric_memory.cli.evaluating.open_memory", lambda *_, **__: pytest.fail("it was opened"))
    result = questions.pmem("eval", "--data", "north.jsonl", "--systems", "magic,fairy", "--out", "out")
    assert result.exit_code == Exit.FAILED
    assert "magic" in result.stderr and "fairy" in result.stderr


def test_probe_prints_a_table_and_writes_a_page(questions):
    words = ["probe", "disagreement", "paraphrase", "--data", ".", "--limit", 2, "--out", "out"]
    result = questions.pmem(*words)
    assert result.exit_code == 0, result.output
    assert "disagreement: 2 invented facts" in result.stdout and "wrote out: probes.md" in result.stdout
    assert "## paraphrase" in (questions.path / "out" / "probes.md").read_text(encoding="utf-8")
    printed = json.loads(questions.pmem(*words, "--json").stdout)
    assert printed["paraphrase"]["settings"]["limit"] == 2


def test_a_mistake_of_a_probe_is_told_before_a_model_is_loaded(questions, monkeypatch):
    monkeypatch.setattr("parametric_memory.cli.probing.open_memory", None)
    result = questions.pmem("probe", "of_topic", "--data", ".", "--out", "out")
    assert result.exit_code == Exit.FAILED and "unknown probe 'of_topic'" in result.stderr
    result = questions.pmem("probe", "--data", ".", "--out", "out", "--stored", "many")
    assert result.exit_code == Exit.USAGE and "'many' is not a list of numbers" in result.stderr


@pytest.fixture
def base(world):
    model, tokenizer = tiny_model()
    model.save_pretrained(world.path / "base")
    tokenizer.save_pretrained(world.path / "base")
    (world.path / "data").mkdir()
    write(world.path / "data" / "halls.jsonl", 400)
    return "base"


def test_train_writes_a_checkpoint_of_the_settings_that_were_given(world, base):
    given = {"steps": 2, "batch_size": 4, "examples": 16, "synthetic": 0, "layers": 1, "width": 16}
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    words = ["train", "hypernetwork", "--data", "data", "--base", base, "--out", "trained", *options]
    result = world.pmem(*words)
    assert result.exit_code == 0, result.output
    [folder] = {path.parent for path in (world.path / "trained").rglob("model.safetensors")}
    assert f"wrote {folder.relative_to(world.path)}" in result.stdout
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["training"]["config"]
    assert {name: config[name] for name in given} == given

    other = world.pmem(*words, "--seed", 7)
    assert other.exit_code == Exit.FAILED and "other settings" in other.stderr
    assert world.pmem(*words, "--seed", 7, "--no-resume").exit_code == 0


RECIPE = """
steps = 5
synthetic = 40
batch_size = 4
layers = 1
width = 16
[[stages]]
name = "gates"
steps = 2
weights = { span = 1.0 }
[[stages]]
name = "answers"
steps = 3
weights = { nll = 1.0 }
"""


def test_a_dry_run_says_what_a_recipe_will_take_and_trains_nothing(world, base):
    (world.path / "recipe.toml").write_text(RECIPE)
    made = world.pmem("train", "corpus", "--data", "data", "--out", "corpus.json.gz", "--synthetic", 40)
    assert made.exit_code == 0 and "wrote corpus.json.gz: " in made.stdout
    words = ["--data", "corpus.json.gz", "--base", base, "--out", "trained", "--recipe", "recipe.toml", "--dry-run"]
    result = world.pmem("train", "hypernetwork", *words)
    assert result.exit_code == 0, result.output
    assert "gates" in result.stdout and "answers" in result.stdout and "hours to finish" in result.stdout
    assert not list((world.path / "trained").rglob("model.safetensors"))


def test_train_reader_writes_a_reader_of_the_settings_that_were_given(world, base):
    given = {"steps": 2, "batch_size": 2, "examples": 3, "layers": 1, "rank": 2, "learning_rate": 0.01}
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    result = world.pmem("train", "reader", "--data", "data", "--base", base, "--out", "tuned", *options)
    assert result.exit_code == 0, result.output
    assert "wrote tuned/reader" in result.stdout
    training = json.loads((world.path / "tuned" / "reader" / "atom.json").read_text())["provenance"]["training"]
    assert {name: training["config"][name] for name in given} == given and training["questions"] == 3
    assert all(isinstance(one["score"], float) for one in training["validation"])


@pytest.mark.parametrize("what", ["hypernetwork", "reader"])
def test_train_without_data_says_what_it_looked_for(world, what):
    result = world.pmem("train", what, "--data", "nowhere", "--out", "trained")
    assert result.exit_code == Exit.FAILED and "nowhere" in result.stderr


def test_train_makes_a_document_compiler_that_eval_compares_with(questions, base):
    given = {"steps": 2, "batch_size": 4, "examples": 16, "synthetic": 0, "layers": 1, "width": 20, "rank": 2}
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    words = ["train", "hypernetwork", "--compiler", "document", "--data", "data", "--base", base, "--out", "trained"]
    result = questions.pmem(*words, *options)
    assert result.exit_code == 0, result.output
    folder = questions.path / "trained" / "checkpoint"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["compiler"], config["hypernetwork"]["rank"], config["training"]["config"]["rank"]) == (
        "document",
        2,
        2,
    )

    words = ["eval", "--data", "north.jsonl", "--systems", "document", "--limit", 2, "--time", 0, "--out", "out"]
    missing = questions.pmem(*words)
    assert missing.exit_code == Exit.FAILED and "pmem train hypernetwork --compiler document" in missing.stderr
    found = questions.pmem(*words, "--document-checkpoint", "trained/checkpoint")
    assert found.exit_code == 0 and "north: 2 questions" in found.stdout, found.output


def test_needles_need_no_data_and_other_probes_say_that_they_do(world):
    result = world.pmem("probe", "niah", "--lengths", "60", "--limit", 2, "--out", "out")
    assert result.exit_code == 0, result.output
    assert "niah: 2 haystacks of each length" in result.stdout
    assert "![niah](niah.svg)" in (world.path / "out" / "probes.md").read_text(encoding="utf-8")
    result = world.pmem("probe", "length", "--out", "out")
    assert result.exit_code == Exit.FAILED and "length need a folder of files of questions (--data)" in result.stderr
