"""`pmem bench`, on a tiny base model."""

from __future__ import annotations

import json

import pytest

from parametric_memory.cli.exits import Exit
from parametric_memory.testing.doubles import tiny_model

ROW = {"doc_id": "port", "document": "The harbour of Lorn opened in 1894.", "question": "When did it open?"}


def test_bench_writes_its_results_and_prints_what_there_are_aims_for(world):
    (world.path / "port.jsonl").write_text(json.dumps(ROW | {"answers": ["1894"]}) + "\n", encoding="utf-8")
    result = world.pmem("bench", "--out", "cost", "--parts", "bytes", "--data", "port.jsonl", "--limit", 1)
    assert result.exit_code == 0, result.output
    assert "bytes on disk per source token" in result.stdout and "wrote cost" in result.stdout
    measured = json.loads((world.path / "cost" / "bench.json").read_text("utf-8"))["parts"]["bytes"]
    assert (measured["documents"], measured["index_kind"], measured["data"]) == (1, "numpy", "port")


def test_bench_prints_json_and_nothing_else(world):
    words = ["--parts", "threads", "--threads", "1,2", "--tokens", 2, "--limit", 1, "--repeats", 1, "--json"]
    result = world.pmem("bench", "--out", "cost", *words)
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)["parts"]["threads"]["asks_per_second"]) == ["1", "2"]


@pytest.mark.model
def test_an_architecture_is_benched_without_its_weights(world):
    model, tokenizer = tiny_model()
    model.config.max_position_embeddings = 4096
    model.config.save_pretrained(world.path / "architecture")
    tokenizer.save_pretrained(world.path / "architecture")
    words = ["--random-weights", "architecture", "--device", "cpu", "--dtype", "bfloat16"]
    result = world.pmem(
        "bench", "--out", "cost", "--parts", "stages", "--limit", 1, "--tokens", 2, "--repeats", 1, *words, "--json"
    )
    assert result.exit_code == 0, result.output
    part = json.loads(result.stdout)["parts"]["stages"]
    assert part["base_model"] == "random:architecture" and part["machine"]["dtype"] == "torch.bfloat16"


def test_every_mistake_of_a_bench_is_told_before_a_model_is_loaded(world, monkeypatch):
    monkeypatch.setattr("parametric_memory.ParametricMemory.from_pretrained", None)
    result = world.pmem("bench", "--out", "cost", "--parts", "speed", "--sizes", "7")
    assert result.exit_code == Exit.FAILED
    assert "'speed'" in result.stderr and "size 7" in result.stderr
    assert not (world.path / "cost").exists()


@pytest.mark.parametrize(
    "words", [["--sizes", "many"], ["--threads", "1;2"], ["--random-weights", "x", "--base", "y"]], ids=" ".join
)
def test_numbers_and_options_that_make_no_sense_are_usage_errors(world, words):
    assert world.pmem("bench", "--out", "cost", *words).exit_code == Exit.USAGE
