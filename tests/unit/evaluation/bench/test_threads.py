from __future__ import annotations

from parametric_memory.evaluation.bench.clock import Clock
from parametric_memory.evaluation.bench.threads import measure_threads
from parametric_memory.evaluation.bench.workload import workload


def measure(memory, load, **options):
    return measure_threads(
        memory, load.questions, clock=Clock(), tokens=4, rounds=2, progress=lambda *_: None, counts=(1, 3), **options
    )


def test_threads_get_the_answers_that_one_thread_gets(memory):
    load = workload([], limit=6, seed=0)
    for document in load.documents:
        memory.add(document)
    found = measure(memory, load)
    assert found["different"] == 0
    assert found["asks_per_second"]["3"]["n"] == 2 and found["asks_per_second"]["1"]["p50"] > 0
    assert found["speedup"]["1"]["p50"] == 1.0


def test_answers_that_differ_are_counted(memory, monkeypatch):
    load = workload([], limit=2, seed=0)
    memory.add(load.documents[0])
    real, calls = memory.ask, []

    def forgetful(question, **options):
        calls.append(question)
        answer = real(question, **options)
        return answer.__class__("changed", answer.route, answer.usage) if len(calls) == 4 else answer

    monkeypatch.setattr(memory, "ask", forgetful)
    assert measure(memory, load)["different"] == 1
