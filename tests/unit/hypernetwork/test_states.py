from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from parametric_memory.errors import UnsupportedModelError
from parametric_memory.hypernetwork.states import continue_from, layers_of, module_inputs, states_at
from parametric_memory.testing import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model(layers=4)[0].eval()


@pytest.fixture
def padded():
    ids = torch.arange(3, 21).reshape(2, 9)
    mask = torch.arange(9)[None] < torch.tensor([[9], [6]])
    return ids, mask


def test_states_are_what_transformers_calls_hidden_states(model, padded):
    ids, mask = padded
    expected = model(ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
    found = states_at(model, ids, mask, [0, 1, 3])
    for layer, states in found.items():
        torch.testing.assert_close(states[mask], expected[layer][mask])


def test_continuing_from_any_layer_gives_the_models_own_logits(model, padded):
    ids, mask = padded
    expected = model(ids, attention_mask=mask.long()).logits
    for layer in (0, 2, 3):
        states = states_at(model, ids, mask, [layer])[layer]
        logits = model.lm_head(continue_from(model, states, mask, layer))
        torch.testing.assert_close(logits[mask], expected[mask], rtol=1e-4, atol=1e-4)


def test_reading_stops_below_the_layers_that_are_not_needed(model, padded):
    reached = []
    handle = layers_of(model)[3].register_forward_hook(lambda *_: reached.append(3))
    states_at(model, *padded, [0, 2])
    handle.remove()
    assert reached == []


def test_reading_in_one_thread_neither_stops_nor_reads_another(model, padded):
    ids, mask = padded
    expected = model(ids, attention_mask=mask.long()).logits
    states = states_at(model, ids, mask, [1])[1]

    def run(number):
        if number % 2:
            return torch.equal(states_at(model, ids, mask, [1])[1], states)
        return torch.equal(model(ids, attention_mask=mask.long()).logits, expected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(200)))


def test_after_reading_the_model_runs_to_its_end_again(model, padded):
    before = model(padded[0]).logits
    states_at(model, *padded, [0, 2])
    assert torch.equal(model(padded[0]).logits, before)


def test_module_inputs_are_what_the_module_multiplies(model):
    target, ids = "model.layers.2.mlp.down_proj", torch.arange(3, 12)[None]
    outputs = []
    handle = model.get_submodule(target).register_forward_hook(lambda _m, _a, out: outputs.append(out))
    x = module_inputs(model, ids, [target])[target]
    handle.remove()
    torch.testing.assert_close(x @ model.get_submodule(target).weight.T, outputs[0][0])


def test_a_model_without_layers_is_refused_by_name():
    with pytest.raises(UnsupportedModelError, match="Linear"):
        layers_of(torch.nn.Linear(2, 2))
