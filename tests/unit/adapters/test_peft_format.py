from __future__ import annotations

import copy
import json
import logging
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch.testing import assert_close

from parametric_memory.adapters import compose, export_peft, import_peft, inject, spec_for
from parametric_memory.errors import AdapterError, AdapterMismatchError
from parametric_memory.types import AtomAdapter, LoraFactors


@torch.no_grad()
def logits_under(model, adapter, tokens):
    with inject(model, adapter):
        return model(tokens).logits


@torch.no_grad()
def logits(model, tokens):
    return model(tokens).logits


def equal(one, other):
    return (
        (one.spec, one.atom_ids, one.truncated, list(one.factors))
        == (other.spec, other.atom_ids, other.truncated, list(other.factors))
    ) and all(
        torch.equal(factors.A, other.factors[target].A) and torch.equal(factors.B, other.factors[target].B)
        for target, factors in one.factors.items()
    )


@pytest.fixture
def composed(atom, spec):
    """An adapter whose targets have different ranks."""
    a, b = atom(5, atom_id="a"), atom(3, atom_id="b")
    return compose(
        [replace(a, factors={spec.targets[0]: a.factors[spec.targets[0]]}), b], weights=[0.5, 2.0], max_rank=6
    )


@pytest.fixture
def peft_folder(model, spec, tmp_path):
    """Return a maker of folders written by PEFT with random matrices, and the logits PEFT computes with them."""
    peft = pytest.importorskip("peft")

    def make(tokens, **options):
        targets = options.pop("target_modules", list(spec.targets))
        config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=targets, **options)
        wrapped = peft.get_peft_model(copy.deepcopy(model), config).eval()
        torch.manual_seed(1)
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter)
        wrapped.save_pretrained(tmp_path)
        return tmp_path, logits(wrapped, tokens)

    return make


def test_what_was_exported_comes_back(composed, spec, tmp_path):
    export_peft(composed, tmp_path)
    assert equal(import_peft(tmp_path, spec=spec), composed)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_is_kept(composed, spec, tmp_path, dtype):
    factors = {target: LoraFactors(f.A.to(dtype), f.B.to(dtype)) for target, f in composed.factors.items()}
    export_peft(replace(composed, factors=factors), tmp_path)
    assert equal(import_peft(tmp_path, spec=spec), replace(composed, factors=factors))


def test_the_adapter_of_one_atom_can_be_exported(atom, spec, tmp_path):
    export_peft(atom(atom_id="only"), tmp_path / "new" / "folder")
    assert import_peft(tmp_path / "new" / "folder", spec=spec).atom_ids == ("only",)


def test_peft_loads_our_folder_and_computes_the_same_logits(composed, model, tokens, tmp_path):
    peft = pytest.importorskip("peft")
    expected = logits_under(model, composed, tokens)
    export_peft(composed, tmp_path)
    loaded = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path)
    assert_close(logits(loaded, tokens), expected, rtol=0, atol=1e-5)


def test_transformers_loads_our_folder_and_computes_the_same_logits(composed, model, tokens, tmp_path):
    pytest.importorskip("peft")
    expected = logits_under(model, composed, tokens)
    export_peft(composed, tmp_path)
    model.load_adapter(tmp_path)
    assert_close(logits(model, tokens), expected, rtol=0, atol=1e-5)


def test_the_files_hold_what_other_servers_read(composed, spec, tmp_path):
    export_peft(composed, tmp_path, provenance={"statements": ["Ada joined in 2022."]})
    config, sidecar = (json.loads((tmp_path / name).read_text()) for name in ("adapter_config.json", "atom.json"))
    assert config["r"] == config["lora_alpha"] == 6
    assert (config["target_modules"], config["base_model_name_or_path"]) == (list(spec.targets), "tiny-llama")
    state = safetensors.torch.load_file(tmp_path / "adapter_model.safetensors")
    assert {tuple(tensor.shape) for tensor in state.values()} == {(6, 48), (32, 6)}
    assert sidecar["vllm_max_lora_rank"] == 8
    assert sidecar["provenance"] == {"statements": ["Ada joined in 2022."]}


def test_a_rank_that_vllm_does_not_serve_is_warned_of(atom, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        export_peft(atom(513), tmp_path)
    assert "513" in caplog.text
    assert json.loads((tmp_path / "atom.json").read_text())["vllm_max_lora_rank"] is None


def test_an_adapter_without_factors_or_with_one_per_row_cannot_be_exported(spec, tmp_path):
    rows = {spec.targets[0]: LoraFactors(torch.zeros(4, 2, 48), torch.zeros(4, 32, 2))}
    for factors in ({}, rows):
        with pytest.raises(AdapterError, match="2-D"):
            export_peft(AtomAdapter("a", spec, factors), tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"r": 4, "lora_alpha": 4},
        {"r": 4, "lora_alpha": 10},
        {"r": 4, "lora_alpha": 10, "use_rslora": True},
        {"r": 4, "lora_alpha": 3, "rank_pattern": {"layers.1.mlp.down_proj": 2}, "alpha_pattern": {"down_proj": 7}},
        {"r": 2, "lora_alpha": 8, "init_lora_weights": "gaussian", "lora_dropout": 0.1},
    ],
    ids=["plain", "alpha", "rslora", "patterns", "gaussian"],
)
def test_an_adapter_that_peft_wrote_gives_the_logits_of_peft(model, spec, tokens, peft_folder, options):
    folder, expected = peft_folder(tokens, **options)
    assert_close(logits_under(model, import_peft(folder, spec=spec), tokens), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"init_lora_weights": "pissa"},
        {"trainable_token_indices": [1, 2]},
        {"layer_replication": [(0, 2), (1, 3)], "target_modules": ["down_proj"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_plain_factors_cannot_express_is_refused_by_name(spec, tokens, peft_folder, options):
    folder, _ = peft_folder(tokens, r=2, **options)
    with pytest.raises(AdapterError, match=next(iter(options))):
        import_peft(folder, spec=spec)


def test_ranks_that_peft_trained_after_our_export_are_kept(composed, model, spec, tokens, tmp_path):
    peft = pytest.importorskip("peft")
    export_peft(composed, tmp_path)
    trained = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path, is_trainable=True)
    for name, parameter in trained.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    trained.save_pretrained(tmp_path, save_embedding_layers=False)  # "auto" asks the network
    found = import_peft(tmp_path, spec=spec)
    assert_close(logits_under(model, found, tokens), logits(trained.eval(), tokens), rtol=1e-4, atol=1e-5)


def test_a_folder_for_another_base_model_is_refused(composed, spec, tmp_path):
    export_peft(composed, tmp_path)
    with pytest.raises(AdapterMismatchError, match="another"):
        import_peft(tmp_path, spec=replace(spec, base_fingerprint="another"))


def test_modules_outside_the_spec_are_refused(composed, model, tmp_path):
    export_peft(composed, tmp_path)
    with pytest.raises(AdapterMismatchError, match=r"layers\.1"):
        import_peft(tmp_path, spec=spec_for(model, "tiny-llama", last=1))


def test_a_missing_or_broken_folder_is_an_adapter_error(composed, spec, tmp_path):
    with pytest.raises(AdapterError, match="nowhere"):
        import_peft(tmp_path / "nowhere", spec=spec)
    export_peft(composed, tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(AdapterError, match="export it again"):
        import_peft(tmp_path, spec=spec)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("adapter_config.json", []),
        ("adapter_config.json", {"lora_alpha": None}),
        ("adapter_config.json", {"lora_alpha": "much"}),
        ("adapter_config.json", {"alpha_pattern": {"(": 3}}),
        ("adapter_config.json", {"alpha_pattern": ["down_proj"]}),
        ("adapter_config.json", {"alpha_pattern": {"down_proj": None}}),
        ("atom.json", []),
        ("atom.json", {"ranks": None}),
        ("atom.json", {"ranks": {"model.layers.1.mlp.down_proj": "2"}}),
        ("atom.json", {"atom_ids": None}),
        ("atom.json", {"truncated": None}),
    ],
    ids=str,
)
def test_a_file_that_says_something_senseless_is_an_adapter_error(composed, spec, tmp_path, name, content):
    export_peft(composed, tmp_path)
    written = json.loads((tmp_path / name).read_text())
    (tmp_path / name).write_text(json.dumps({**written, **content} if content else content))
    with pytest.raises(AdapterError, match=name.replace(".", r"\.")):
        import_peft(tmp_path, spec=spec)


@pytest.mark.parametrize(
    "state",
    [
        {"base_model.model.model.layers.1.mlp.down_proj.lora_A.weight": torch.zeros(2, 48)},
        {"base_model.model.model.embed_tokens.lora_embedding_A": torch.zeros(2, 64)},
        {
            "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight": torch.zeros(2, 48),
            "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight": torch.zeros(32, 3),
        },
    ],
    ids=["one side", "embedding", "ranks differ"],
)
def test_weights_that_are_not_pairs_of_matrices_are_refused(composed, spec, tmp_path, state):
    export_peft(composed, tmp_path)
    safetensors.torch.save_file(state, tmp_path / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match=r"lora_A.*lora_B"):
        import_peft(tmp_path, spec=spec)
