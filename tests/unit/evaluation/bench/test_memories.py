from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest
import torch

from parametric_memory.errors import BackendError
from parametric_memory.evaluation.bench.memories import Pretrained, beside, dtype_of


def test_random_weights_have_the_architecture_that_was_asked_for_and_answer(parts, memory, architecture):
    asked = json.loads((architecture / "config.json").read_text("utf-8"))
    model = parts.backend.model
    assert len(model.model.layers) == asked["num_hidden_layers"]
    assert model.model.embed_tokens.weight.shape == (asked["vocab_size"], asked["hidden_size"])
    assert not any(parameter.is_meta or not parameter.isfinite().all() for parameter in model.parameters())
    memory.add("The harbour of Lorn opened in 1894.")
    assert memory.ask("When did the harbour of Lorn open?").citations


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone(opener, parts, tmp_path):
    before = torch.random.get_rng_state()
    with opener(tmp_path / "same") as same, replace(opener, seed=1)(tmp_path / "other") as other:
        assert same.backend.fingerprint == parts.backend.fingerprint != other.backend.fingerprint
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_dtype_holds_for_the_whole_base_model(opener, tmp_path):
    with replace(opener, dtype="bfloat16")(tmp_path / "half") as memory:
        assert {parameter.dtype for parameter in memory.backend.model.parameters()} == {torch.bfloat16}


def test_a_vocabulary_smaller_than_the_tokenizers_is_widened(opener, architecture, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    for path in architecture.iterdir():
        (small / path.name).write_bytes(path.read_bytes())
    config = json.loads((small / "config.json").read_text("utf-8"))
    (small / "config.json").write_text(json.dumps(config | {"vocab_size": 11}), "utf-8")
    with replace(opener, architecture=small / "config.json")(tmp_path / "memory") as memory:
        assert memory.backend.model.config.vocab_size == len(memory.backend.tokenizer)


def test_openers_go_over_to_another_process(opener):
    for one in (opener, Pretrained(base="some-model", device="cpu")):
        copy = pickle.loads(pickle.dumps(one))
        assert type(copy) is type(one) and copy.config == one.config


def test_what_is_no_configuration_is_told(opener, tmp_path):
    with pytest.raises(BackendError, match=r"config\.json"):
        replace(opener, architecture=tmp_path)(tmp_path / "memory")
    for name in ("float7", "int8"):
        with pytest.raises(BackendError, match=name):
            dtype_of(name)


def test_a_memory_beside_never_abstains(memory, parts, tmp_path):
    text, question = "The harbour of Lorn opened in 1894.", "Which zebra sings?"
    memory.add(text)
    with parts.__class__(
        backend=parts.backend, compiler=parts.compiler, key_encoder=parts.key_encoder, path=tmp_path / "strict"
    ) as strict:
        strict.add(text)
        assert strict.explain(question).abstained
    assert not memory.explain(question).abstained


def test_a_memory_beside_has_the_key_index_that_was_asked_for(parts, tmp_path):
    with beside(parts, tmp_path / "other", index="chroma") as memory:
        assert memory.stats().index == "chroma"
