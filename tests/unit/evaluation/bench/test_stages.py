from __future__ import annotations

from dataclasses import replace

import pytest

from parametric_memory.backends.text import TextStream
from parametric_memory.config import GenerationConfig
from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.bench import stages
from parametric_memory.evaluation.bench.clock import Clock
from parametric_memory.evaluation.bench.stages import SYSTEMS, Bench, ask, measure_stages, plain, rag
from parametric_memory.evaluation.bench.workload import workload
from parametric_memory.memory.answers import MODES

TOKENS = 5


@pytest.fixture
def load():
    return workload([], limit=3, seed=0)


@pytest.fixture
def bench(memory) -> Bench:
    return Bench(memory, Clock(), TOKENS)


@pytest.fixture
def filled(bench, load) -> Bench:
    for document in load.documents:
        bench.memory.add(document)
    return bench


@pytest.mark.parametrize(("system", "mode"), [(ask, "atoms"), (plain, "closed_book"), (rag, "in_context")])
def test_a_walk_through_the_stages_makes_the_tokens_that_the_memory_makes(filled, load, system, mode):
    assert mode in MODES
    for question in load.questions:
        walk = system(filled, question)
        answer = filled.memory.ask(question, mode=mode, generation=GenerationConfig(max_new_tokens=TOKENS))
        # The walk goes on after an end token; the memory does not.
        text = TextStream(filled.memory.backend.tokenizer)
        made = "".join(map(text.push, walk.tokens[: answer.usage.completion_tokens])) + text.close()
        assert made.strip() == answer.text
        assert walk.prompt_tokens == answer.usage.prompt_tokens


def test_every_system_makes_the_same_number_of_tokens(filled, load):
    assert {len(system(filled, question).tokens) for system in SYSTEMS.values() for question in load.questions} == {5}


def test_passages_make_longer_prompts_than_sentences_and_weights_none(filled, load):
    length = {name: system(filled, load.questions[0]).prompt_tokens for name, system in SYSTEMS.items()}
    assert length["plain"] == length["ask"] < length["rag"] < length["rag_passages"]


def test_all_stages_are_measured_and_their_sum_is_the_total(bench, load):
    found = measure_stages(bench, load, repeats=2, progress=lambda *_: None)
    asked = found["systems"]["ask"]["stages"]
    own = ["encode", "search", "route", "gate", "load", "materialise", "compose", "cite"]
    every = ["prompt", "inject", "prefill", "decode", "total"]
    assert list(asked) == [*own, *every]
    assert list(found["systems"]["plain"]["stages"]) == every
    assert {stage["n"] for system in found["systems"].values() for stage in system["stages"].values()} == {6}
    assert asked["total"]["p50"] > asked["prefill"]["p50"] + asked["gate"]["p50"] > 0
    assert list(found["add"]["stages"]) == ["extract", "keys", "compile", "put", "total"]
    tokens = sum(map(bench.memory.backend.count_tokens, [document.text for document in load.documents]))
    assert found["add"]["source_tokens"] == tokens
    assert set(found["ratios"]) == {"ask/rag", "ask/rag_passages", "ask/plain"}


def test_a_text_longer_than_the_window_is_read_in_pieces(bench, load, monkeypatch):
    [first, *_] = load.documents
    assert bench.memory.backend.count_tokens(first.text) > 600
    monkeypatch.setattr(bench.memory.backend.model.config, "max_position_embeddings", 600)
    little = replace(load, documents=(first,), questions=())
    lengths = []
    monkeypatch.setattr(stages, "forward", lambda _model, ids, *_, **__: lengths.append(ids.shape[1]))
    stages._add_all(bench, little.documents, lambda *_: None)
    assert max(lengths) == 600 and sum(lengths) == 2 * bench.memory.backend.count_tokens(first.text)


def test_another_backend_is_refused_in_words(memory, monkeypatch):
    monkeypatch.setattr(memory, "backend", object())
    with pytest.raises(ConfigError, match="HuggingFaceBackend"):
        plain(Bench(memory, Clock(), 1), "Who?")
