"""The document hypernetwork against what it must be whatever its weights: properties on a tiny base model."""

import pytest
import torch

from parametric_memory.hypernetwork.document import ALPHA, DocumentHypernetwork, document_config_for
from parametric_memory.hypernetwork.network import measure_inputs
from parametric_memory.hypernetwork.states import module_inputs, pad, states_at
from parametric_memory.testing import tiny_model

LAYERS = 3
TARGETS = [f"model.layers.{n}.mlp.down_proj" for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def model():
    return tiny_model(layers=4)[0].eval().requires_grad_(False)


@pytest.fixture
def network(model):
    """A hypernetwork that speaks: its scales are not those it begins with."""
    torch.manual_seed(0)
    network = DocumentHypernetwork(document_config_for(model, layers=LAYERS, rank=4, width=20, blocks=3)).eval()
    measure_inputs(network, model, TARGETS, [torch.randint(3, 60, (12,)) for _ in range(8)])
    with torch.no_grad():
        network.scale_b.normal_()
        network.bias_b.normal_()
    return network


def encoded(network, model, texts, **options):
    ids, mask = pad(texts)
    return network.encode(states_at(model, ids, mask, network.config.read_layers), mask, **options)


def texts():
    torch.manual_seed(1)
    return [torch.randint(3, 60, (length,)) for length in (9, 4, 13)]


def test_a_new_network_changes_nothing(model):
    network = DocumentHypernetwork(document_config_for(model, layers=LAYERS, rank=4, width=20))
    made = network.factors(encoded(network, model, texts()))
    assert all(torch.equal(f.B @ f.A, torch.zeros(3, 32, 96)) for f in made)
    assert all(torch.equal(f.B @ f.A, torch.zeros(32, 96)) for f in network.bias())


def test_a_chunk_has_one_rank_per_latent_in_every_layer(network, model):
    codes = encoded(network, model, texts())
    assert codes.shape == (3, LAYERS, 4, 20)
    for factors in [*network.factors(codes)]:
        assert factors.A.shape == (3, 4, 96) and factors.B.shape == (3, 32, 4)


def test_one_layer_after_the_other_gives_the_codes_of_all_at_once(network, model):
    at_once = encoded(network, model, texts())
    one_by_one = encoded(network, model, texts(), layerwise=True)
    assert (one_by_one - at_once).norm() <= 1e-5 * at_once.norm()


def test_padding_changes_no_code(network, model):
    together = encoded(network, model, texts())
    for row, text in enumerate(texts()):
        torch.testing.assert_close(encoded(network, model, [text])[0], together[row], rtol=1e-4, atol=1e-4)


def test_the_perceiver_takes_states_as_a_set(network, model):
    """Where a token stands is known from its state alone."""
    ids, mask = pad(texts()[:1])
    states = states_at(model, ids, mask, network.config.read_layers)
    order = torch.randperm(ids.shape[1])
    shuffled = {layer: state[:, order] for layer, state in states.items()}
    torch.testing.assert_close(network.encode(shuffled, mask), network.encode(states, mask), rtol=1e-4, atol=1e-4)


def test_the_latents_of_a_layer_see_no_other_layer(network, model):
    ids, mask = pad(texts())
    states = states_at(model, ids, mask, network.config.read_layers)
    changed = states | {2: torch.randn_like(states[2])}
    before, after = network.encode(states, mask), network.encode(changed, mask)
    assert torch.allclose(before[:, [0, 2]], after[:, [0, 2]], atol=1e-6)
    assert not torch.allclose(before[:, 1], after[:, 1], atol=1e-2)


def test_factors_are_those_of_the_formula(network):
    z = torch.randn(LAYERS, 4, 20)
    for layer, factors in enumerate(network.factors(z)):
        for rank in range(4):
            wide = torch.nn.functional.gelu(z[layer, rank] @ network.widen[layer])
            h = z[layer, rank] + wide @ network.narrow[layer]
            emitted = (h / h.norm() * 20**0.5) @ network.head[layer]
            a = network.scale_a[layer, rank] * emitted[:96] / network.input_norm[layer]
            a = a - (a @ network.sink[layer]) * network.sink[layer]
            b = ALPHA * network.scale_b[layer, rank] * emitted[96:] / 32**0.5
            torch.testing.assert_close(factors.A[rank], a, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(factors.B[:, rank], b, rtol=1e-4, atol=1e-5)


def test_no_adapter_changes_what_the_attention_sink_writes(network, model):
    x = module_inputs(model, texts()[0][None], TARGETS)
    codes = encoded(network, model, texts())
    for n, target in enumerate(TARGETS):
        for factors in (network.factors(codes)[n], network.bias()[n]):
            assert (factors.A @ network.sink[n]).abs().max() < 1e-5 * factors.A.norm() * x[target][0].norm()


def test_gradients_reach_every_parameter(network, model):
    network.train()
    made = network.factors(encoded(network, model, texts()))
    sum((f.B @ f.A).square().sum() for f in [*made, *network.bias()]).backward()
    silent = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum()]
    assert not silent


def test_all_layers_is_a_switch(model):
    assert document_config_for(model, layers=4).read_layers == (0, 1, 2, 3)
    network = DocumentHypernetwork(document_config_for(model, layers=4, rank=2, width=8, blocks=1))
    assert encoded(network, model, texts()).shape == (3, 4, 2, 8)
