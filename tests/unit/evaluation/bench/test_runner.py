from __future__ import annotations

import builtins
import json
import sys

import pytest

from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.bench import BenchConfig, bench
from parametric_memory.evaluation.bench.imports import first_ask
from parametric_memory.evaluation.bench.report import aims, aims_table, part_section, render

LITTLE = BenchConfig(limit=2, repeats=1, tokens=3, threads=(1, 2))


def test_a_bench_writes_figures_a_page_and_a_plot(opener, tmp_path):
    pytest.importorskip("matplotlib")
    results = bench(tmp_path, opener=opener, parts=["stages", "bytes", "threads"], config=LITTLE)
    assert json.loads((tmp_path / "bench.json").read_text("utf-8")) == json.loads(json.dumps(results))
    page = (tmp_path / "bench.md").read_text("utf-8")
    assert "## Stages" in page and "| prefill |" in page and "## Growth" not in page
    assert (tmp_path / "latency.png").stat().st_size > 10_000 and not (tmp_path / "growth.png").exists()


def test_every_part_says_what_it_holds_for(opener, tmp_path):
    part = bench(tmp_path, opener=opener, parts=["bytes"], config=LITTLE)["parts"]["bytes"]
    assert part["base_model"].startswith("random:") and part["data"] == "synthetic" and part["seed"] == 0
    assert part["machine"]["device"] == "cpu" and part["machine"]["dtype"] == "torch.float32"
    assert part["machine"]["cores"] >= 1 and {"torch", "python", "parametric-memory"} <= set(part["versions"])


def test_parts_that_were_measured_before_stay(opener, tmp_path):
    first = bench(tmp_path, opener=opener, parts=["bytes"], config=LITTLE)["parts"]
    second = bench(tmp_path, opener=opener, parts=["threads"], config=LITTLE)["parts"]
    assert second["bytes"] == json.loads(json.dumps(first["bytes"])) and "threads" in second


def test_questions_of_a_file_are_asked_of_its_documents(opener, tmp_path, world):
    part = bench(tmp_path / "out", opener=opener, parts=["bytes"], data=[world], config=LITTLE)["parts"]["bytes"]
    assert part["data"] == "world.dev" and 1 <= part["documents"] <= 2


def test_the_bytes_of_rag_are_measured_if_there_is_what_cuts_its_chunks(opener, tmp_path, world, monkeypatch, caplog):
    whole = bench(tmp_path / "whole", opener=opener, parts=["bytes"], data=[world], config=LITTLE)["parts"]["bytes"]
    kept = whole["rag_per_token"]
    assert 0 < kept["rag_bm25"] < kept["rag_dense"] < whole["per_token"]["total"]
    assert "| chunks of rag_bm25, no database |" in (tmp_path / "whole" / "bench.md").read_text("utf-8")
    monkeypatch.setitem(sys.modules, "langchain_text_splitters", None)
    part = bench(tmp_path / "part", opener=opener, parts=["bytes"], data=[world], config=LITTLE)["parts"]["bytes"]
    assert part["rag_per_token"] == {} and "parametric-memory[eval]" in caplog.text


def test_a_page_names_the_token_router_of_a_part_that_has_one(opener, tmp_path):
    results = bench(tmp_path, opener=opener, parts=["bytes"], config=LITTLE)
    assert results["parts"]["bytes"]["token_router"] is None and "token router" not in render(results)
    results["parts"]["bytes"]["token_router"] = "token-router:abc"
    assert ", token router `token-router:abc`, data" in render(results)
    # What a page keeps does not name the machine.
    del results["parts"]["bytes"]["machine"]["platform"]
    assert "torch.float32; " in render(results)


def test_without_matplotlib_there_are_figures_and_no_plots(opener, tmp_path, monkeypatch, caplog):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    bench(tmp_path, opener=opener, parts=["stages"], config=LITTLE)
    assert (tmp_path / "bench.md").is_file() and not (tmp_path / "latency.png").exists()
    assert "parametric-memory[eval]" in caplog.text


def test_every_mistake_is_told_before_a_model_is_loaded(tmp_path):
    def never(_path):
        raise AssertionError

    wrong = BenchConfig(limit=0, sizes=(150,), indexes=("faiss",), threads=())
    with pytest.raises(ConfigError) as told:
        bench(tmp_path, opener=never, parts=["speed"], config=wrong)
    assert len(told.value.problems) == 5
    for word in ("speed", "limit", "150", "faiss", "number of threads"):
        assert word in str(told.value)


def test_an_aim_is_met_or_missed_by_its_figure():
    def part(extra):
        return {"memory": {"extra_bytes": extra}}

    assert [aim["met"] for extra in (49e6, 51e6) for aim in aims(part(extra))] == [True, False]
    assert aims(part(None)) == aims({}) == []


def test_a_cost_below_nothing_was_not_measurable():
    memory = {"work": {}, "extra_bytes": -11e6, "kv_cache_bytes": 5.9e9}
    assert "not measurable (-11) | ≤ 50 | – |" in aims_table(aims({"memory": memory}))
    assert "add nothing measurable (-11 MB) to asking" in part_section("memory", memory)
    shown = aims_table(aims({"memory": memory | {"extra_bytes": 11e6}}))
    assert "two single runs | 11 | ≤ 50 | yes |" in shown


def test_asks_a_second_are_compared_with_the_first_number_of_threads():
    def shown(*counts):
        rates = {str(count): {"p50": 1.0, "p25": 1.0, "p75": 1.0} for count in counts}
        told = {"questions": 1, "rounds": 1, "torch_threads": 1, "different": 0}
        return part_section("threads", told | {"asks_per_second": rates, "speedup": rates})

    assert "| ÷ one thread |" in shown(1, 2)
    assert "| ÷ 2 threads |" in shown(2, 4) and "÷ one" not in shown(2, 4)


def test_the_first_answer_of_a_process_is_timed_step_by_step(opener, tmp_path):
    with opener(tmp_path / "memory") as memory:
        memory.add("The harbour of Lorn opened in 1894.")
    found = first_ask(opener, tmp_path / "memory", "When did the harbour of Lorn open?")
    assert list(found) == ["open", "first ask", "second ask"] and min(found.values()) > 0
