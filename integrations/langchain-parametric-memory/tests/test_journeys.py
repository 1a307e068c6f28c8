"""The journeys of journeys.md run as they are printed there, with the built-in base model for the one that is named.

What is checked is what this package has a say in: that an answer is the memory's own and stands on the right sentence.
Whether it is right is the base model's matter, and the small one often gets a digit of a year wrong.
"""

from __future__ import annotations

import ast
import gc
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from parametric_memory.backends import BUILTIN_BASE

PAGE = Path(__file__).with_name("journeys.md").read_text(encoding="utf-8")
JOURNEYS = dict(re.findall(r"^## (.+?)\n\n```python\n(.+?)^```$", PAGE, re.DOTALL | re.MULTILINE))
NAMED = "Qwen/Qwen3-0.6B"
#: Names of LlamaIndex's package that two journeys use.
FOREIGN = re.compile(r"llama_index|ParametricMemoryLLM|ParametricQueryEngine")

LCEL, AGENT, COMPARISON, STREAMING, ASYNC, ERASURE, INDEXING, MIDDLEWARE = JOURNEYS


def llama_index_is_there() -> bool:
    try:
        return find_spec("llama_index.memory.parametric") is not None
    except ModuleNotFoundError:  # of what it would be in
        return False


def run(title: str) -> dict[str, object]:
    code = JOURNEYS[title].replace(NAMED, BUILTIN_BASE)
    if not llama_index_is_there():
        code = "".join(line for line in code.splitlines(keepends=True) if not FOREIGN.search(line))
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(compile(code, title, "exec"), namespace)
    return namespace


@pytest.fixture
def there(monkeypatch, tmp_path):
    """Run in an empty folder, and let go of the memory there afterwards."""
    monkeypatch.chdir(tmp_path)
    yield
    gc.collect()


@pytest.fixture
def tiny(there, make_memory, monkeypatch):
    """Let journeys open memories of the tiny base model."""
    from parametric_memory import ParametricMemory

    monkeypatch.setattr(ParametricMemory, "from_pretrained", staticmethod(make_memory))


def test_every_journey_names_a_base_model_once():
    assert len(JOURNEYS) == PAGE.count("```python") == PAGE.count(NAMED)


@pytest.mark.parametrize("title", JOURNEYS)
def test_a_journey_runs_on_the_tiny_base(title, tiny, capsys):
    run(title)
    assert capsys.readouterr().out.strip()


def last_dicts(said: str) -> list[Mapping[str, object]]:
    return [ast.literal_eval(line) for line in said.splitlines() if line.startswith("{")]


@pytest.mark.model
def test_a_chain_without_a_context_answers(there, capsys):
    mem = run(LCEL)["mem"]
    assert capsys.readouterr().out.strip() == mem.ask("When did Ada join?").text != mem.config.unknown


@pytest.mark.model
def test_an_agent_with_memory_tools_answers(there):
    state = run(AGENT)["out"]
    assert state["messages"][-1].type == "ai" and state["messages"][-1].text.strip()


@pytest.mark.model
def test_both_arms_of_the_comparison_answer_and_rag_reads_more(there, capsys):
    run(COMPARISON)
    arms = [re.match(r"(parametric|rag) (\d+) (.+)", line) for line in capsys.readouterr().out.splitlines()[:2]]
    (first, few, _), (second, many, _) = (arm.groups() for arm in arms)
    assert (first, second) == ("parametric", "rag") and int(few) < int(many)


@pytest.mark.model
def test_a_stream_ends_in_its_usage_and_its_route(there, capsys):
    journey = run(STREAMING)
    full, said = journey["full"], capsys.readouterr().out
    assert full.text == journey["mem"].ask("When did Ada join?").text and said.startswith(full.text)
    assert "Ada joined in 2021." in said and full.usage_metadata["total_tokens"] > 0


@pytest.mark.model
def test_coroutines_answer_batch_and_stream(there, capsys):
    run(ASYNC)
    answered, rows, streamed = capsys.readouterr().out.splitlines()[:3]
    assert re.fullmatch(r"\d{4}", answered) and rows == "2" and streamed.startswith(answered)


@pytest.mark.model
def test_what_was_erased_is_nowhere_not_even_in_the_history(there, capsys):
    run(ERASURE)  # it asserts that nothing is found and nothing is left
    assert "X123" not in capsys.readouterr().out


@pytest.mark.model
def test_indexing_adds_then_skips_then_replaces(there, capsys):
    run(INDEXING)
    said = capsys.readouterr().out
    added, skipped, replaced = last_dicts(said)
    assert (added["num_added"], skipped["num_skipped"]) == (1, 1)
    assert (replaced["num_added"], replaced["num_deleted"]) == (1, 1)
    assert "2022" in said.splitlines()[-1] and "2021" not in said.splitlines()[-1]


@pytest.mark.model
def test_a_middleware_of_one_s_own_remembers_for_its_user(there, capsys):
    run(MIDDLEWARE)
    [record] = last_dicts(capsys.readouterr().out)[0]["results"]
    assert record["memory"] == "I like tea" and record["metadata"]["user_id"] == "alice"
