from dataclasses import replace

import pytest
import torch

from parametric_memory.hypernetwork.network import (
    AtomHypernetwork,
    Gates,
    calibrate,
    config_for,
    directions,
    features,
    grown,
    grows,
    measure_inputs,
    question_features,
    unmeasured,
)
from parametric_memory.hypernetwork.states import module_inputs, states_at
from parametric_memory.testing import tiny_model

TARGETS = ["model.layers.2.mlp.down_proj", "model.layers.3.mlp.down_proj"]


@pytest.fixture(scope="module")
def model():
    return tiny_model(layers=4)[0].eval()


@pytest.fixture
def network(model):
    torch.manual_seed(0)
    network = AtomHypernetwork(config_for(model, layers=2, width=16)).eval()
    prompts = [torch.randint(3, 60, (12,)) for _ in range(40)]
    calibrate(network, model, TARGETS, prompts, [prompt[:4] for prompt in prompts])
    return network


def codes(network, model, ids):
    mask = torch.ones_like(ids, dtype=torch.bool)
    config = network.config
    states = states_at(model, ids, mask, (0, config.middle_layer, config.first_layer))
    return network.encode(features(states, config), mask)


def test_an_atom_of_t_tokens_has_two_ranks_per_token(network, model):
    ids = torch.randint(3, 60, (1, 7))
    for factors in network.factors(codes(network, model, ids)[0], directions(model, ids[0])):
        assert factors.A.shape == (14, network.config.d_in)
        assert factors.B.shape == (network.config.d_model, 14)


def test_gates_folded_in_make_the_same_update_with_one_starting_rank(network, model):
    ids = torch.randint(3, 60, (1, 7))
    u, tokens = codes(network, model, ids)[0], directions(model, ids[0])
    gates = torch.rand(14)
    for whole, folded in zip(network.factors(u, tokens), network.factors(u, tokens, gates), strict=True):
        assert folded.rank == 8
        torch.testing.assert_close((whole.B * gates) @ whole.A, folded.B @ folded.A, rtol=1e-4, atol=1e-5)


def test_ending_ranks_have_their_tokens_keys_and_say_that_the_turn_ends(network, model):
    ids = torch.randint(3, 60, (1, 7))
    u, tokens, ending = codes(network, model, ids)[0], directions(model, ids[0]), directions(model, torch.tensor(5))
    ended = grown(network, replace(network.config, ends=True)).eval()
    with torch.no_grad():
        ended.log_end.copy_(torch.tensor([0.5, 1.5]))
    gates = torch.rand(21)
    for layer, (plain, whole, folded) in enumerate(
        zip(
            network.factors(u, tokens),
            ended.factors(u, tokens, ending=ending),
            ended.factors(u, tokens, gates, ending=ending),
            strict=True,
        )
    ):
        assert (whole.rank, folded.rank) == (21, 8)
        torch.testing.assert_close(whole.A[:14], plain.A)
        torch.testing.assert_close(whole.A[14:], plain.A[:7])
        torch.testing.assert_close(whole.B[:, :14], plain.B)
        torch.testing.assert_close(whole.B[:, 14:], ended.log_end[layer].exp() * ending[:, None].expand(-1, 7))
        torch.testing.assert_close((whole.B * gates) @ whole.A, folded.B @ folded.A, rtol=1e-4, atol=1e-5)


def test_a_network_that_begins_to_end_answers_speaks_as_before_while_its_gates_do_not_say_where(network):
    ended = grown(network, replace(network.config, ends=True))
    assert grown(ended, ended.config) is ended
    inside, start = (torch.rand(2, 5).log() for _ in range(2))
    gates = Gates(inside, start)
    weights = ended.rank_gates(gates)
    assert torch.equal(weights[:, :8], network.rank_gates(gates)) and float(weights.detach()[:, 8:].max()) == 0
    after = torch.rand(2, 5)
    told = ended.rank_gates(Gates(inside, start, after.log()))
    torch.testing.assert_close(told[:, 8:], after[:, :-1])


def test_no_adapter_changes_what_the_attention_sink_writes(network, model):
    ids = torch.randint(3, 60, (1, 7))
    x = module_inputs(model, ids, TARGETS)
    for target, factors in zip(
        TARGETS, network.factors(codes(network, model, ids)[0], directions(model, ids[0])), strict=True
    ):
        sink = network.sink[TARGETS.index(target)]
        assert (factors.A @ sink).abs().max() < 1e-5 * factors.A.norm() * x[target][0].norm()


def test_the_probe_separates_where_an_answer_starts_from_elsewhere(model):
    torch.manual_seed(1)
    network = AtomHypernetwork(config_for(model, layers=2, width=16))
    prompts = [torch.cat([torch.randint(3, 60, (9,)), torch.tensor([60, 61])]) for _ in range(60)]
    answers = [torch.randint(3, 60, (4,)) for _ in prompts]
    calibrate(network, model, TARGETS, prompts, answers)
    probe = (network.probe / network.input_norm[:, None]).detach()
    read = [module_inputs(model, torch.cat(pair)[None], TARGETS) for pair in zip(prompts, answers, strict=True)]
    for layer, target in enumerate(TARGETS):
        spoken = torch.stack([x[target] @ probe[layer] for x in read])  # (prompts, positions)
        start, elsewhere = spoken[:, 10], torch.cat([spoken[:, 1:10], spoken[:, 11:]], dim=1)
        torch.testing.assert_close(start.mean(), torch.tensor(1.0), rtol=1e-3, atol=1e-3)
        assert elsewhere.mean() < 0.5
        assert abs(float(probe[layer] @ network.sink[layer])) < 1e-4


def test_gates_are_probabilities_over_all_tokens_and_none_of_these(network, model):
    ids = torch.randint(3, 60, (3, 6))
    present = torch.arange(6)[None] < torch.tensor([[6], [4], [1]])
    question = torch.randn(3, 5, network.config.d_model)
    gates = network.gates(codes(network, model, ids), present, question, torch.ones(3, 5, dtype=torch.bool))
    torch.testing.assert_close(gates.inside.exp().sum(dim=1), torch.ones(3))
    assert (gates.start[:, :-1][~present].exp() < 1e-6).all()
    weights = network.rank_gates(gates)
    assert weights.shape == (3, 12) and (weights >= 0).all() and (weights <= 1).all()


def test_padding_changes_neither_codes_nor_gates(network, model):
    ids = torch.randint(3, 60, (1, 6))
    longer = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], dim=1)
    mask = torch.arange(9)[None] < 6
    config = network.config
    read = features(states_at(model, longer, mask, (0, config.middle_layer, config.first_layer)), config)
    padded = network.encode(read, mask)
    alone = codes(network, model, ids)
    torch.testing.assert_close(padded[:, :6], alone, rtol=1e-4, atol=1e-4)
    assert (padded[:, 6:] == 0).all()
    question, seen = torch.randn(1, 5, config.d_model), torch.ones(1, 5, dtype=torch.bool)
    a = network.gates(alone, torch.ones(1, 6, dtype=torch.bool), question, seen)
    b = network.gates(padded, mask, question, seen)
    torch.testing.assert_close(a.inside[:, :6], b.inside[:, :6], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(a.inside[:, -1], b.inside[:, -1], rtol=1e-4, atol=1e-4)


def test_a_network_that_begins_to_read_words_of_questions_gates_as_before_and_learns_from_them(network, model):
    ids, asked = torch.randint(3, 60, (1, 6)), torch.randint(3, 60, (1, 5))
    present, seen = torch.ones(1, 6, dtype=torch.bool), torch.ones(1, 5, dtype=torch.bool)
    widened = grown(network, replace(network.config, question_words=True)).eval()
    c = widened.config
    states = states_at(model, asked, seen, (0, c.middle_layer, c.first_layer))
    atoms = codes(network, model, ids)
    before = network.gates(atoms, present, question_features(states, network.config), seen)
    now = widened.gates(atoms, present, question_features(states, c), seen)
    torch.testing.assert_close(now.inside, before.inside, rtol=1e-4, atol=1e-4)
    now.inside[0, 0].backward()
    assert widened.question.weight.grad[:, : 3 * c.d_model].abs().max() > 0


def test_a_network_that_gets_more_layers_says_in_them_nothing_and_in_the_others_what_it_said(network, model):
    wider = config_for(model, layers=3, width=16, gate_layers=0, dropout=0.0)
    ids = torch.randint(3, 60, (1, 7))
    u, tokens = codes(network, model, ids)[0], directions(model, ids[0])
    more = grown(network, wider).eval()
    assert more.config == wider and not any(
        name.startswith(("cross", "gate", "question")) for name in more.state_dict()
    )
    new, *others = more.factors(u, tokens)
    assert not bool((new.B @ new.A).any())
    for before, now in zip(network.factors(u, tokens), others, strict=True):
        assert torch.equal(before.A, now.A) and torch.equal(before.B, now.B)
    new.A.sum().backward()
    assert bool(more.key.grad[0].any()) and bool(more.probe.grad[0].any())


def test_of_a_grown_network_only_what_new_layers_are_given_is_measured(network, model):
    more = grown(network, config_for(model, layers=3, width=16))
    assert unmeasured(network) == [] and unmeasured(more) == [0]
    measure_inputs(more, model, ["model.layers.1.mlp.down_proj", *TARGETS], [torch.randint(3, 60, (9,))])
    assert unmeasured(more) == [] and torch.equal(more.sink[1:], network.sink)
    assert torch.equal(more.input_norm[1:], network.input_norm)
    torch.testing.assert_close(more.sink[0].norm(), torch.tensor(1.0))


@pytest.mark.parametrize(
    "change", [{"width": 32}, {"layers": 1}, {"gated": False}, {"gate_layers": 1}, {"encoder_layers": 3}]
)
def test_a_network_does_not_become_what_it_would_have_to_unlearn_for(network, change):
    assert grows(network.config, network.config)
    assert not grows(network.config, replace(network.config, **change))
    assert not grows(replace(network.config, ends=True), network.config)


def test_when_nothing_answers_every_gate_closes(network):
    sure_of_nothing = torch.tensor([[-20.0, -20.0, -1e-8]])
    assert network.rank_gates(Gates(sure_of_nothing, sure_of_nothing)).max() < 1e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="takes a GPU")
def test_what_a_token_router_found_may_lie_on_another_device(network):
    found = torch.zeros(2, 5)
    assert network.cuda().rank_gates(Gates(found, found)).device == found.device
