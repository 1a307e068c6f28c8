"""The demo, run on a tiny base model: what it prints of compiling, reusing, asking and scoring."""

from __future__ import annotations

import json
import re
import runpy
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from parametric_memory import ParametricMemory
from parametric_memory.config import MemoryConfig, RoutingConfig
from parametric_memory.evaluation.prompts import RagChoice, Wording
from parametric_memory.evaluation.systems import GENERATION
from parametric_memory.testing.doubles import TinyBackend

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
    config = MemoryConfig(routing=RoutingConfig(max_atoms=1))

    def opened(*, path, checkpoint):
        memory = tiny(path=path, config=config)
        # Its tokens are bytes: prompts with text in them are longer than its usual window.
        memory.backend.model.config.max_position_embeddings = memory.backend._window = 4096
        return memory

    monkeypatch.setattr(ParametricMemory, "from_pretrained", staticmethod(opened))
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


def test_everybody_is_asked_as_the_evaluation_asks_and_rag_in_the_wording_that_was_chosen(demo, monkeypatch):
    tuned = RagChoice(Wording(name="tuned", system="Read the pieces."), passages=2, chunk_chars=100)
    reading_choice = "parametric_memory.evaluation.systems.library.reading_choice"
    monkeypatch.setattr(reading_choice, lambda *_: SimpleNamespace(dense=tuned))
    generate, asked = TinyBackend.generate, []

    def heard(self, conversations, *, adapters, config):
        asked.extend((turns, adapter, config) for turns, adapter in zip(conversations, adapters, strict=True))
        return generate(self, conversations, adapters=adapters, config=config)

    monkeypatch.setattr(TinyBackend, "generate", heard)
    demo()
    assert {config for _, _, config in asked} == {GENERATION}
    read = [turns for turns, _, _ in asked if turns[0]["content"] == "Read the pieces."]
    bare = [turns for turns, adapter, _ in asked if adapter is None and turns not in read]
    assert len(read) == len(bare) == 24
    assert all(len(turns[1]["content"]) > 100 for turns in read)


def test_a_memory_of_another_compiler_is_made_anew(demo, cache, monkeypatch):
    demo()
    with sqlite3.connect(cache / "handbook-demo" / "store.db") as connection:
        connection.execute("UPDATE manifest SET value = 'another' WHERE key = 'compiler'")
    assert "beginning anew" in (printed := demo()) and "Compiled" in printed
