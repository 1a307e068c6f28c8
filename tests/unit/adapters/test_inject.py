from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel, TextIteratorStreamer

from parametric_memory.adapters import compose, dense, inject, stack
from parametric_memory.errors import AdapterError, UnsupportedModelError
from parametric_memory.types import LoraFactors


@torch.no_grad()
def logits(model, tokens):
    return model(tokens).logits


@torch.no_grad()
def logits_under(model, adapter, tokens):
    with inject(model, adapter):
        return model(tokens).logits


def merged(model, adapter):
    """The reference: a copy of the model whose weights hold the update."""
    merged = copy.deepcopy(model)
    for target, factors in adapter.factors.items():
        merged.get_submodule(target).weight.data += dense(factors)
    return merged


def bits(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_bits(one, other):
    return all(torch.equal(one[name].view(torch.uint8), other[name].view(torch.uint8)) for name in one | other)


def test_an_injected_adapter_equals_one_merged_into_the_weights(model, atom, tokens):
    adapter = compose([atom(2), atom(3)], weights=[0.4, 0.8])
    assert_close(logits_under(model, adapter, tokens), logits(merged(model, adapter), tokens), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits_under(model, adapter, tokens), logits(model, tokens), atol=1e-2)


def test_after_the_block_the_base_is_restored_bit_for_bit(model, atom, tokens):
    weights, before = bits(model), logits(model, tokens)
    logits_under(model, atom(), tokens)
    assert torch.equal(logits(model, tokens), before)
    assert same_bits(bits(model), weights)


def test_after_an_exception_the_base_is_restored_bit_for_bit(model, atom, tokens):
    before = logits(model, tokens)
    with pytest.raises(RuntimeError, match="mid-way"), inject(model, atom()):
        logits(model, tokens)
        raise RuntimeError("mid-way")
    assert torch.equal(logits(model, tokens), before)


def test_a_nested_block_replaces_the_adapter_and_restores_it(model, atom, tokens):
    outer, inner = atom(), atom()
    alone = {name: logits_under(model, adapter, tokens) for name, adapter in (("outer", outer), ("inner", inner))}
    base = logits(model, tokens)
    with inject(model, outer):
        with inject(model, inner):
            assert torch.equal(logits(model, tokens), alone["inner"])
            with inject(model, None):
                assert torch.equal(logits(model, tokens), base)
        assert torch.equal(logits(model, tokens), alone["outer"])


def test_a_nested_block_replaces_all_targets_of_the_outer_one(model, atom, spec, tokens):
    outer, inner = atom(), {spec.targets[0]: atom().factors[spec.targets[0]]}
    alone = logits_under(model, inner, tokens)
    with inject(model, outer), inject(model, inner):
        assert torch.equal(logits(model, tokens), alone)


def test_blocks_on_two_models_do_not_meet(model, atom, tokens):
    other, a, b = copy.deepcopy(model), atom(), atom()
    expected = logits_under(model, a, tokens), logits_under(other, b, tokens)
    with inject(model, a), inject(other, b):
        assert torch.equal(logits(model, tokens), expected[0])
        assert torch.equal(logits(other, tokens), expected[1])


def test_every_row_of_a_batch_can_have_its_own_adapter(model, atom, tokens):
    rows = [atom(2), atom(5), atom(1), atom(3)]
    together = logits_under(model, rows, tokens)
    for row, adapter in enumerate(rows):
        alone = logits_under(model, adapter, tokens[row : row + 1])
        assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)


def test_rows_without_an_adapter_keep_the_bits_of_the_base(model, atom, tokens):
    base = logits(model, tokens)
    mixed = logits_under(model, [atom(), None, atom(), None], tokens)
    assert torch.equal(mixed[1::2].view(torch.int32), base[1::2].view(torch.int32))
    assert not torch.allclose(mixed[::2], base[::2], atol=1e-2)


class Negated(nn.Linear):
    """A layer whose output is -x, so that a test can choose every bit of it."""

    def forward(self, x):
        return -x


def test_rows_without_an_adapter_keep_negative_zeros_beside_infinities():
    model = nn.ModuleDict({"down": Negated(2, 2)})
    factors = {"down": LoraFactors(torch.ones(1, 2), torch.ones(2, 1))}
    x = torch.tensor([[0.0, 1.0], [0.0, float("inf")], [0.0, 1.0]])
    with inject(model, [None, None, factors]):
        mixed = model["down"](x)
    assert torch.equal(mixed[:2].view(torch.int32), (-x[:2]).view(torch.int32))
    assert mixed[2].tolist() == [1.0, 0.0]


def test_a_batch_of_rows_without_adapters_is_the_base(model, tokens):
    assert torch.equal(logits_under(model, [None] * 4, tokens), logits(model, tokens))


def test_factors_stacked_by_hand_equal_one_adapter_per_row(model, atom, spec, tokens):
    rows = [atom(2) for _ in range(4)]
    stacked = {target: stack([row.factors[target] for row in rows]) for target in spec.targets}
    assert torch.equal(logits_under(model, stacked, tokens), logits_under(model, rows, tokens))


def test_a_batch_with_another_number_of_rows_is_an_error(model, atom, tokens):
    with pytest.raises(AdapterError, match=r"2 adapters.*4 rows"):
        logits_under(model, [atom(), atom()], tokens)


@torch.no_grad()
def test_greedy_generation_equals_that_of_the_merged_model(model, atom, tokens):
    adapter = atom()
    expected = merged(model, adapter).generate(tokens, max_new_tokens=8, do_sample=False)
    with inject(model, adapter):
        assert torch.equal(model.generate(tokens, max_new_tokens=8, do_sample=False), expected)


@torch.no_grad()
def test_beams_need_each_adapter_once_per_beam(model, atom, tokens):
    adapters = [atom() for _ in range(4)]
    options = {"max_new_tokens": 5, "num_beams": 3, "do_sample": False}
    with inject(model, [adapter for adapter in adapters for _ in range(3)]):
        together = model.generate(tokens, **options)
    for row, adapter in enumerate(adapters):
        with inject(model, adapter):
            assert torch.equal(model.generate(tokens[row : row + 1], **options)[0], together[row])
    with inject(model, adapters), pytest.raises(AdapterError, match="beams"):
        model.generate(tokens, **options)


@torch.no_grad()
def test_eight_threads_with_different_adapters_never_meet(model, atom, tokens):
    prompt, adapters = tokens[:1], [atom() for _ in range(8)]
    expected = [logits_under(model, adapter, prompt) for adapter in adapters]

    def answer(turn):
        return torch.equal(logits_under(model, adapters[turn % 8], prompt), expected[turn % 8])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, range(400)))
    assert answers.count(True) == 400


def test_asyncio_tasks_keep_their_adapters_across_awaits(model, atom, tokens):
    adapters = [atom(), atom(), None]
    expected = [logits_under(model, adapter, tokens) for adapter in adapters]

    async def answer(adapter):
        with inject(model, adapter):
            await asyncio.sleep(0)
            first = logits(model, tokens)
            await asyncio.sleep(0)
            return first, logits(model, tokens), await asyncio.to_thread(logits, model, tokens)

    async def all_at_once():
        return await asyncio.gather(*map(answer, adapters))

    for answers, wanted in zip(asyncio.run(all_at_once()), expected, strict=True):
        assert all(torch.equal(found, wanted) for found in answers)


def test_a_new_thread_starts_without_adapters_unless_it_runs_in_a_copied_context(model, atom, tokens):
    found = {}
    with inject(model, atom()):
        inside = logits(model, tokens)
        context = contextvars.copy_context()
        bare = Thread(target=lambda: found.update(bare=logits(model, tokens)))
        bare.start()
        bare.join()
    copied = Thread(target=context.run, args=(lambda: found.update(copied=logits(model, tokens)),))
    copied.start()
    copied.join()
    assert torch.equal(found["bare"], logits(model, tokens))
    assert torch.equal(found["copied"], inside)


class Numbers:
    """A tokenizer that writes token ids, for the streamer."""

    def decode(self, ids, **_):
        return "".join(f"{int(token)} " for token in ids)


def test_streaming_from_a_copied_context_leaks_nothing_between_pieces(model, atom, tokens):
    adapter, prompt, before = atom(), tokens[:1], logits(model, tokens)
    with inject(model, adapter), torch.no_grad():
        expected = model.generate(prompt, max_new_tokens=6, do_sample=False)[0, 6:].tolist()

    def stream():
        streamer = TextIteratorStreamer(Numbers(), skip_prompt=True, timeout=30)
        options = {"max_new_tokens": 6, "do_sample": False, "streamer": streamer}
        with inject(model, adapter):
            context = contextvars.copy_context()
        Thread(target=context.run, args=(lambda: model.generate(prompt, **options),)).start()
        yield from streamer

    pieces = []
    for piece in stream():
        pieces.append(piece)
        assert torch.equal(logits(model, tokens), before)
    assert [int(token) for token in "".join(pieces).split()] == expected


def test_gradients_reach_the_factors_and_equal_those_of_the_merged_weights(model, atom, spec, tokens):
    adapter = atom(3, requires_grad=True)
    with inject(model, adapter):
        model(tokens, labels=tokens).loss.backward()
    reference = merged(model, adapter)
    reference.zero_grad()
    reference(tokens, labels=tokens).loss.backward()
    for target in spec.targets:
        factors, G = adapter.factors[target], reference.get_submodule(target).weight.grad  # dL/dΔW
        assert_close(factors.B.grad, G @ factors.A.detach().T, rtol=1e-3, atol=1e-6)
        assert_close(factors.A.grad, factors.B.detach().T @ G, rtol=1e-3, atol=1e-6)


def test_gradients_of_each_row_reach_that_rows_factors_alone(model, atom, tokens):
    rows = [atom(2, requires_grad=True), None, atom(3, requires_grad=True), atom(2, requires_grad=True)]
    with inject(model, rows):
        model(tokens).logits[0].sum().backward()
    for factors in rows[0].factors.values():
        assert factors.A.grad.abs().sum() > 0
        assert factors.B.grad.abs().sum() > 0
    for factors in (*rows[2].factors.values(), *rows[3].factors.values()):
        assert not factors.A.grad.any()


def test_factors_that_are_trained_inside_the_block_are_seen_at_once(model, atom, spec, tokens):
    model = model.bfloat16()  # so that the float32 factors have to be cast
    adapter = atom(requires_grad=True)
    optimizer = torch.optim.SGD([part for f in adapter.factors.values() for part in (f.A, f.B)], lr=30.0)
    with inject(model, adapter):
        before = logits(model, tokens)  # without gradients first: what it made must not be reused
        for _ in range(2):
            optimizer.zero_grad()
            model(tokens, labels=tokens).loss.backward()
            optimizer.step()
        after = logits(model, tokens)
    assert not torch.equal(after, before)
    assert torch.equal(after, logits_under(model, adapter, tokens))


def test_constant_factors_serve_inference_mode_and_training_in_one_block(model, atom, tokens):
    embeddings = model.get_input_embeddings()(tokens).detach().requires_grad_()
    model = model.bfloat16()
    with inject(model, atom()):
        with torch.inference_mode():
            model(tokens)
        model(inputs_embeds=embeddings.bfloat16()).logits.sum().backward()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_factors_take_the_dtype_of_the_model(model, atom, tokens, dtype):
    adapter = atom()
    expected = logits_under(model, adapter, tokens)
    half = copy.deepcopy(model).to(dtype)
    found = logits_under(half, adapter, tokens)
    assert found.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float64 else 0.1
    assert_close(found.float(), expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def test_it_works_on_a_model_whose_weights_are_offloaded(model, atom, tokens, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    adapter = atom()
    expected = logits_under(model, adapter, tokens)
    offloaded = accelerate.disk_offload(copy.deepcopy(model), tmp_path, execution_device="cpu")
    assert next(offloaded.parameters()).is_meta
    assert_close(logits_under(offloaded, adapter, tokens), expected)


@torch.no_grad()
def test_it_works_on_the_transposed_layers_of_gpt2(rng, tokens):
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=64, n_positions=32)).eval()
    target = "transformer.h.1.mlp.c_proj"
    factors = LoraFactors(torch.randn(2, 64, generator=rng), torch.randn(16, 2, generator=rng))
    found = logits_under(model, {target: factors}, tokens)
    model.get_submodule(target).weight += dense(factors).T
    assert_close(found, logits(model, tokens), rtol=1e-4, atol=1e-5)


def test_an_argument_passed_by_name_is_found():
    model = nn.ModuleDict({"down": nn.Linear(3, 2)})
    x, factors = torch.ones(4, 3), {"down": LoraFactors(torch.ones(1, 3), torch.ones(2, 1))}
    with inject(model, factors):
        found = model["down"](input=x)
    assert_close(found, model["down"](x) + 3)


def test_a_missing_module_is_named_with_those_of_similar_names(model, atom, spec):
    factors = atom().factors[spec.targets[0]]
    with pytest.raises(UnsupportedModelError, match=r"layers.1.mlp.dawn_proj.*model.layers.1.mlp.down_proj"):
        logits_under(model, {"model.layers.1.mlp.dawn_proj": factors}, None)


def test_a_module_that_is_not_linear_is_refused(model, atom, spec):
    with pytest.raises(UnsupportedModelError, match="LlamaMLP"):
        logits_under(model, {"model.layers.1.mlp": atom().factors[spec.targets[0]]}, None)


@pytest.mark.parametrize(
    ("A", "B"),
    [((2, 32), (32, 2)), ((2, 48), (48, 2)), ((2, 48), (32, 3)), ((4, 2, 48), (3, 32, 2)), ((48,), (32,))],
)
def test_factors_of_another_shape_are_refused_with_both_sizes(model, spec, A, B):
    factors = LoraFactors(torch.zeros(A), torch.zeros(B))
    with pytest.raises(AdapterError, match="48 features to 32"):
        logits_under(model, {spec.targets[0]: factors}, None)


def test_the_hook_is_put_on_each_module_once(model, atom, tokens):
    for adapter in (atom(), atom(), [atom()] * 4):
        logits_under(model, adapter, tokens)
    logits_under(copy.deepcopy(model), atom(), tokens)
    assert [len(module._forward_hooks) for module in model.modules()].count(1) == 2


def test_a_model_that_was_injected_into_can_be_copied_and_pickled(model, atom, tokens):
    adapter = atom()
    expected = logits_under(model, adapter, tokens)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(logits_under(twin, adapter, tokens), expected)


def test_a_model_that_was_injected_into_can_be_freed(model, atom, tokens):
    twin = copy.deepcopy(model)
    logits_under(twin, atom(), tokens)
    freed = weakref.ref(twin)
    del twin
    gc.collect()
    assert freed() is None
