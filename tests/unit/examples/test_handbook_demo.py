"""The demo, run on a tiny base model: what it prints of compiling, reusing, asking and scoring."""

from __future__ import annotations

import json
import re
import runpy
import sqlite3
import sys
from pathlib import Path

import pytest

from parametric_memory import ParametricMemory
from parametric_memory.config import GenerationConfig, MemoryConfig, RoutingConfig

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "examples" / "handbook_demo.py"
QUESTIONS = ROOT / "examples" / "handbook" / "questions.jsonl"
TINY_PMEM = ROOT / "tests" / "unit" / "cli" / "tiny_pmem.py"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def demo(cache, monkeypatch, capsys):
    """Run the demo with some options; return what it printed."""
    tiny = runpy.run_path(str(TINY_PMEM))["tiny_memory"]
    # The tiny model reads bytes and has a short window: one passage, answers of a few letters.
    config = MemoryConfig(routing=RoutingConfig(max_atoms=1), generation=GenerationConfig(max_new_tokens=4))
    opened = staticmethod(lambda *, path, checkpoint: tiny(path=path, config=config))
    monkeypatch.setattr(ParametricMemory, "from_pretrained", opened)
    monkeypatch.setenv("PARAMETRIC_MEMORY_CACHE", str(cache))
    monkeypatch.chdir(ROOT)  # the demo goes elsewhere; this comes back

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", [str(DEMO), *words])
        runpy.run_path(str(DEMO), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_the_first_run_compiles_and_the_second_reuses_the_memory(demo, cache):
    first, second = demo("--fresh"), demo()
    assert re.search(r"Compiled \d{3} atoms of 18 files", first)
    assert "Nothing recompiled: all" in second
    assert str(cache / "handbook-demo") in second


def test_every_shown_question_has_answers_of_three_systems_and_its_grounds(demo):
    printed = demo()
    asked = re.split(r"^\d\. ", printed.partition("Scores ───")[0], flags=re.MULTILINE)[1:]
    assert len(asked) == 8
    for part in asked:
        assert all(name in part for name in ("Expected: ", "from weights", "closed-book", "RAG"))
        assert ("Cited: " in part and "characters" in part) != ("Abstained: " in part)
    assert max(map(len, printed.splitlines()[2:])) <= 100


def test_all_questions_are_scored_on_demand(demo):
    rows = {
        name: row.split()
        for row in demo("--all").partition("Scores ───")[2].splitlines()
        for name in ("from weights", "closed-book", "RAG")
        if row.strip().startswith(name)
    }
    assert len(rows) == 3
    questions = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    answerable = sum(bool(question["answers"]) for question in questions)
    never = [f"0/{len(questions) - answerable}", f"0/{answerable}"]
    assert rows["closed-book"][4:6] == never  # it does not know when not to answer
    assert (rows["from weights"][-2], rows["closed-book"][-2]) == ("0", "0")
    assert int(rows["RAG"][-2]) > 0


def test_a_memory_of_another_compiler_is_made_anew(demo, cache, monkeypatch):
    demo()
    with sqlite3.connect(cache / "handbook-demo" / "store.db") as connection:
        connection.execute("UPDATE manifest SET value = 'another' WHERE key = 'compiler'")
    assert "beginning anew" in (printed := demo()) and "Compiled" in printed
