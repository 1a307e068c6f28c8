"""`pmem report`, on a run of the tiny base model."""

from __future__ import annotations

import json

from parametric_memory.cli.exits import Exit

ROW = {"doc_id": "a", "document": "The ferry Tern is green.", "question": "Which colour is the Tern?"}


def test_report_makes_a_run_anew_as_it_was(world):
    (world.path / "north.jsonl").write_text(json.dumps({**ROW, "answers": ["green"]}), encoding="utf-8")
    words = ("--systems", "closed_book,rag_dense,atoms", "--time", 1, "--out", "out")
    assert world.pmem("eval", "--data", "north.jsonl", *words).exit_code == 0
    result = world.pmem("report", "out", "--out", "anew")
    assert result.exit_code == 0, result.output
    assert "wrote anew/report.md" in result.stdout
    before, after = (json.loads((world.path / name / "results.json").read_text()) for name in ("out", "anew"))
    assert after["datasets"] == before["datasets"]


def test_report_wants_to_know_where_to_write(world):
    result = world.pmem("report", "out")
    assert result.exit_code == Exit.USAGE
    assert "--out DIR, --docs DIR" in result.output


def test_report_of_a_folder_that_is_no_run_says_what_is_missing(world):
    result = world.pmem("report", "docs", "--out", "anew")
    assert result.exit_code == Exit.FAILED
    assert "settings.json" in result.stderr
