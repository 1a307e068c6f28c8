from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from parametric_memory.adapters import compose, dense
from parametric_memory.errors import AdapterError, AdapterMismatchError


def test_the_composed_update_is_the_weighted_sum_on_every_target(atom, spec):
    a, b = atom(2, atom_id="a"), atom(3, atom_id="b")
    both = compose([a, b], weights=[0.7, -0.3])
    assert (both.spec, both.atom_ids, set(both.factors)) == (spec, ("a", "b"), set(spec.targets))
    for target in spec.targets:
        assert_close(dense(both.factors[target]), 0.7 * dense(a.factors[target]) - 0.3 * dense(b.factors[target]))
        assert both.truncated[target] == 0.0


def test_weights_touch_b_alone(atom, spec):
    a = atom()
    heavy = compose([a], weights=[3.0]).factors[spec.targets[0]]
    assert torch.equal(heavy.A, a.factors[spec.targets[0]].A)
    assert torch.equal(heavy.B, 3.0 * a.factors[spec.targets[0]].B)


def test_rank_gates_weigh_each_rank(atom, spec):
    a, b = atom(2), atom(3)
    gated = compose([a, b], weights=[2.0, 1.0], rank_gates=[None, (0.0, 1.0, 0.5)])
    for target in spec.targets:
        kept = b.factors[target].B * torch.tensor([0.0, 1.0, 0.5])
        assert_close(dense(gated.factors[target]), 2 * dense(a.factors[target]) + kept @ b.factors[target].A)


def test_gradients_reach_rank_gates(atom):
    gates = torch.ones(2, requires_grad=True)
    composed = compose([atom(2)], rank_gates=[gates])
    sum(dense(factors).square().sum() for factors in composed.factors.values()).backward()
    assert (gates.grad != 0).all()


def test_over_the_rank_budget_it_truncates_and_says_by_how_much(atom, spec):
    atoms = [atom(4) for _ in range(3)]
    exact, cut = compose(atoms), compose(atoms, max_rank=5)
    for target in spec.targets:
        whole = dense(exact.factors[target])
        assert cut.factors[target].rank == 5
        assert cut.truncated[target] > 0.1
        error = float((dense(cut.factors[target]) - whole).norm() / whole.norm())
        assert cut.truncated[target] == pytest.approx(error, rel=1e-4)


def test_a_target_that_an_adapter_leaves_out_is_not_changed_by_it(atom, spec):
    first, second = spec.targets
    a, b = atom(), atom()
    both = compose([a, replace(b, factors={second: b.factors[second]})])
    assert_close(dense(both.factors[first]), dense(a.factors[first]))
    assert_close(dense(both.factors[second]), dense(a.factors[second]) + dense(b.factors[second]))


def test_it_equals_the_cat_composition_of_peft(atom, spec, model):
    peft = pytest.importorskip("peft")
    atoms, weights = [atom(2), atom(2)], [0.7, 1.6]
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=2, target_modules=list(spec.targets)), "0")
    wrapped.add_adapter("1", peft.LoraConfig(r=2, lora_alpha=2, target_modules=list(spec.targets)))
    for name, adapter in enumerate(atoms):
        for target, factors in adapter.factors.items():
            layer = wrapped.base_model.model.get_submodule(target)
            layer.lora_A[str(name)].weight.data = factors.A
            layer.lora_B[str(name)].weight.data = factors.B
    wrapped.add_weighted_adapter(["0", "1"], weights, "both", combination_type="cat")
    composed = compose(atoms, weights=weights)
    for target in spec.targets:
        layer = wrapped.base_model.model.get_submodule(target)
        assert_close(dense(composed.factors[target]), layer.get_delta_weight("both"))


def test_adapters_of_different_specs_do_not_mix(atom, spec):
    other = replace(spec, base_fingerprint="another")
    with pytest.raises(AdapterMismatchError, match="another") as error:
        compose([atom(), replace(atom(), spec=other)])
    assert (error.value.expected, error.value.actual) == (spec, other)


def test_a_target_outside_the_spec_is_refused(atom):
    a = atom()
    with pytest.raises(AdapterError, match="lm_head"):
        compose([replace(a, factors={"lm_head": next(iter(a.factors.values()))})])


def test_as_many_gates_as_ranks_are_needed(atom):
    with pytest.raises(AdapterError, match="rank 2"):
        compose([atom(2)], rank_gates=[(1.0, 1.0, 1.0)])


@pytest.mark.parametrize(
    "mistake",
    [
        {"weights": [1.0, 2.0]},
        {"weights": [float("nan")]},
        {"rank_gates": []},
        {"max_rank": 0},
    ],
)
def test_arguments_that_make_no_sense_are_refused(atom, mistake):
    with pytest.raises(ValueError, match="compose needs"):
        compose([atom()], **mistake)


def test_nothing_cannot_be_composed():
    with pytest.raises(ValueError, match="at least one adapter"):
        compose([])
