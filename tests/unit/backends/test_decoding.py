from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from parametric_memory.backends import decoding as decoding_module
from parametric_memory.backends.decoding import Decoding, Sampler, left_padded
from parametric_memory.config import GenerationConfig
from parametric_memory.errors import GenerationError
from parametric_memory.testing.doubles import tiny_model

LOGITS = torch.tensor([2.0, 0.5, -1.0, 1.0, -torch.inf])


def draws(config, count=4000):
    """Return how often each token is drawn, of `count` rows with the same logits."""
    tokens = Sampler(config, count)(LOGITS.repeat(count, 1))
    return torch.bincount(tokens, minlength=len(LOGITS)) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_their_probability_says(temperature):
    found = draws(GenerationConfig(temperature=temperature))
    torch.testing.assert_close(found, (LOGITS / temperature).softmax(dim=0), atol=0.04, rtol=0)


def test_the_nucleus_holds_the_likeliest_tokens_up_to_top_p():
    kept = LOGITS.softmax(dim=0)  # .61, .14, .03, .22, 0
    kept[[1, 2]] = 0.0
    torch.testing.assert_close(
        draws(GenerationConfig(temperature=1.0, top_p=0.8)), kept / kept.sum(), atol=0.04, rtol=0
    )


def test_a_tiny_nucleus_and_a_tiny_temperature_are_greedy():
    for config in (GenerationConfig(temperature=1.0, top_p=1e-6), GenerationConfig(temperature=1e-30)):
        assert draws(config, 100)[0] == 1.0


def test_rows_of_one_seed_draw_the_same_and_torchs_generator_is_not_touched():
    before = torch.get_rng_state()
    config = GenerationConfig(temperature=1.0, seed=7)
    assert len(set(Sampler(config, 20)(LOGITS.repeat(20, 1)).tolist())) == 1
    assert len(set(Sampler(GenerationConfig(temperature=1.0), 20)(LOGITS.repeat(20, 1)).tolist())) > 1
    assert torch.equal(torch.get_rng_state(), before)


def test_kept_rows_go_on_with_their_own_numbers():
    def step(sampler, rows):
        return sampler(LOGITS.repeat(rows, 1)).tolist()

    sampler = Sampler(GenerationConfig(temperature=1.0, seed=3), 3)
    step(sampler, 3)
    sampler.keep([2])
    alone = Sampler(GenerationConfig(temperature=1.0, seed=3), 1)
    step(alone, 1)
    assert [step(sampler, 1) for _ in range(20)] == [step(alone, 1) for _ in range(20)]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_logits_that_are_not_finite_are_an_error(bad):
    with pytest.raises(GenerationError, match="not finite"):
        Sampler(GenerationConfig(), 2)(torch.tensor([[0.0, 1.0], [0.0, bad]]))


def test_padding_is_on_the_left():
    ids, mask = left_padded([[5, 6, 7], [8]], device=torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


@pytest.fixture(params=["read at once", "read in parts"])
def in_parts(request, monkeypatch):
    """Read every prompt by itself, as long ones are; or all together."""
    if request.param == "read in parts":
        monkeypatch.setattr(decoding_module, "batches", lambda lengths, _: [[n] for n in reversed(range(len(lengths)))])


def tiny_gpt2():
    """Return a random model whose positions are absolute: padding must not shift them."""
    config = GPT2Config(vocab_size=258, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize("make", [lambda: tiny_model()[0], tiny_gpt2], ids=["llama", "gpt2"])
def test_a_step_is_the_argmax_of_the_whole_sequence_whatever_stands_beside_it(make, in_parts):
    model = make()
    prompts = [[1, 2, 3, 4, 5, 6, 7, 8], [9, 10], [40, 41, 42, 43]]
    decoding = Decoding(model, prompts, Sampler(GenerationConfig(), 3), alike=True)
    rows = [0, 1, 2]
    for number in range(12):
        if number == 5:
            decoding.keep([1, 2])
            rows = [1, 2]
        for row, token in zip(rows, decoding.step(), strict=True):
            with torch.no_grad():
                assert token == int(model(torch.tensor([prompts[row]])).logits[0, -1].argmax())
            prompts[row].append(token)


def test_a_beginning_that_all_prompts_share_is_read_once_and_changes_no_token():
    model, _ = tiny_model()
    prompts = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 50], [1, 2, 3, 4, 9, 8, 7, 6]]
    read = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _module, args: read.append(args[0].numel()))
    made = {}
    for alike in (False, True):
        read.clear()
        decoding = Decoding(model, prompts, Sampler(GenerationConfig(), 3), alike=alike)
        made[alike] = [decoding.step() for _ in range(8)]
        assert sum(read[:-7]) == (4 + 3 * 4 if alike else 3 * 8)
    assert made[True] == made[False]


@pytest.mark.parametrize("make", [lambda: tiny_model()[0], tiny_gpt2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("alike", [False, True])
def test_scoring_answers_is_the_sum_of_log_probabilities_and_generating_goes_on_from_the_prompts(make, alike, in_parts):
    model = make()
    prompts, answers = [[1, 2, 3, 4, 5], [1, 2, 9], [1, 2, 7, 8]], [[30, 31, 32], [33], []]
    decoding = Decoding(model, prompts, Sampler(GenerationConfig(), 3), alike=alike)
    decoding.read()
    for prompt, answer, found in zip(prompts, answers, decoding.score(answers), strict=True):
        with torch.no_grad():
            chances = model(torch.tensor([prompt + answer])).logits[0].log_softmax(dim=-1)
        expected = sum(float(chances[len(prompt) - 1 + i, token]) for i, token in enumerate(answer))
        assert found == pytest.approx(expected, abs=1e-4)
    plain = Decoding(model, prompts, Sampler(GenerationConfig(), 3))
    assert [decoding.step() for _ in range(6)] == [plain.step() for _ in range(6)]
