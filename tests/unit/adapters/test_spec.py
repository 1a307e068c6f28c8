from __future__ import annotations

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from parametric_memory.adapters import fingerprint, inject, spec_for
from parametric_memory.errors import UnsupportedModelError


@torch.no_grad()
def changed(model, change):
    twin = copy.deepcopy(model)
    change(twin)
    return twin


def test_the_spec_names_the_last_layers_in_their_order(model):
    spec = spec_for(model, "tiny-llama", last=2)
    assert spec.base_model == "tiny-llama"
    assert spec.base_fingerprint == fingerprint(model)
    assert spec.targets == ("model.layers.1.mlp.down_proj", "model.layers.2.mlp.down_proj")


def test_layers_are_counted_not_sorted_as_text():
    layers = torch.nn.ModuleList(torch.nn.ModuleDict({"down": torch.nn.Linear(1, 1)}) for _ in range(11))
    spec = spec_for(torch.nn.ModuleDict({"layers": layers}), "eleven", module="down", last=2)
    assert spec.targets == ("layers.9.down", "layers.10.down")


@pytest.mark.parametrize(
    ("make", "module", "target"),
    [
        (
            lambda: GPTNeoXForCausalLM(
                GPTNeoXConfig(
                    hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=8
                )
            ),
            "mlp.dense_4h_to_h",
            "gpt_neox.layers.1.mlp.dense_4h_to_h",
        ),
        (
            lambda: GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=8)),
            "mlp.c_proj",
            "transformer.h.1.mlp.c_proj",
        ),
    ],
)
def test_modules_of_other_families_are_found_by_their_names(make, module, target):
    assert spec_for(make(), "tiny", module=module, last=1).targets == (target,)


def test_a_module_that_no_layer_has_is_reported_with_those_there_are(model):
    with pytest.raises(UnsupportedModelError, match=r"mlp\.fc2.*mlp\.down_proj"):
        spec_for(model, "tiny-llama", module="mlp.fc2", last=2)


def test_more_layers_than_there_are_is_an_error(model):
    with pytest.raises(UnsupportedModelError, match=r"found 3 in the stacks.*expected 4"):
        spec_for(model, "tiny-llama", last=4)


def test_two_stacks_of_layers_are_ambiguous(model):
    both = torch.nn.ModuleDict({"text": model, "vision": copy.deepcopy(model)})
    with pytest.raises(UnsupportedModelError, match=r"text\.model\.layers.*vision\.model\.layers"):
        spec_for(both, "two", last=1)


def test_at_least_one_layer_is_needed(model):
    with pytest.raises(ValueError, match="last=0"):
        spec_for(model, "tiny-llama", last=0)


def test_the_fingerprint_does_not_depend_on_the_dtype_of_the_load(model):
    assert fingerprint(changed(model, lambda twin: twin.bfloat16())) == fingerprint(model)
    assert fingerprint(changed(model, lambda twin: twin.double())) == fingerprint(model)


def test_the_fingerprint_does_not_depend_on_injection(model, atom, tokens):
    before = fingerprint(model)
    with inject(model, atom()):
        model(tokens)
        assert fingerprint(model) == before
    assert fingerprint(model) == before


def change_one_weight(model):
    model.model.layers[0].mlp.down_proj.weight[3, 5] += 0.01


def swap_two_embeddings(model):
    weight = model.get_input_embeddings().weight
    weight[[2, 3]] = weight[[3, 2]]


def scale_the_norm(model):
    model.model.norm.weight *= 1.01


def add_a_parameter(model):
    model.model.layers[0].mlp.down_proj.bias = torch.nn.Parameter(torch.zeros(32))


@pytest.mark.parametrize("change", [change_one_weight, swap_two_embeddings, scale_the_norm, add_a_parameter])
def test_the_fingerprint_sees_every_change(model, change):
    assert fingerprint(changed(model, change)) != fingerprint(model)


def test_offloaded_weights_have_the_same_fingerprint(model, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    offloaded = accelerate.disk_offload(copy.deepcopy(model), tmp_path, execution_device="cpu")
    assert next(offloaded.parameters()).is_meta
    assert fingerprint(offloaded) == fingerprint(model)


def test_a_model_without_values_has_no_fingerprint(model):
    with pytest.raises(UnsupportedModelError, match="meta"):
        fingerprint(model.to("meta"))
