from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from parametric_memory.adapters import inject
from parametric_memory.backends import HuggingFaceBackend
from parametric_memory.config import GenerationConfig
from parametric_memory.errors import AdapterError, AdapterMismatchError, BackendError, GenerationError
from parametric_memory.hypernetwork.chat import prompt_ids
from parametric_memory.protocols import Backend
from parametric_memory.testing.doubles import TinyBackend, tiny_model

QUESTIONS = [[{"role": "user", "content": "Why?" * (1 + 5 * number % 7) + str(number)}] for number in range(9)]
CONFIG = GenerationConfig(max_new_tokens=16)


def alone(backend, question, adapter=None, config=CONFIG):
    return backend.generate([question], adapters=[adapter], config=config)[0]


def test_it_is_a_backend(backend):
    assert isinstance(backend, Backend)


def test_greedy_generation_equals_that_of_transformers(backend):
    for question in QUESTIONS:
        ids = torch.tensor([prompt_ids(backend.tokenizer, question)])
        reference = backend.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False)
        new = reference[0, ids.shape[1] :]
        generation = alone(backend, question)
        assert generation.text == backend.tokenizer.decode(new, skip_special_tokens=True)
        assert generation.usage.prompt_tokens == ids.shape[1]
        assert generation.usage.completion_tokens == len(new)
        assert generation.finish_reason == ("stop" if new[-1] == backend.tokenizer.eos_token_id else "length")


def test_the_world_of_these_tests_has_answers_of_many_lengths(backend):
    generations = backend.generate(QUESTIONS, config=CONFIG)
    assert len({generation.text for generation in generations}) == len(QUESTIONS)
    assert {generation.finish_reason for generation in generations} == {"stop", "length"}


def test_a_batch_answers_in_order_and_as_each_would_alone(backend, adapter):
    adapters = [None, adapter(1), adapter(2, rank=5), None, adapter(3), adapter(1), None, adapter(4), adapter(5)]
    expected = [alone(backend, question, chosen) for question, chosen in zip(QUESTIONS, adapters, strict=True)]
    assert backend.generate(QUESTIONS, adapters=adapters, config=CONFIG) == expected
    assert expected[1] != alone(backend, QUESTIONS[1])


def test_nothing_to_generate_is_nothing(backend):
    assert backend.generate([]) == []
    assert backend.loglikelihood([], []) == []


def test_a_stream_is_the_generation_piece_by_piece(backend, adapter):
    for question in QUESTIONS:
        for chosen in (None, adapter(1)):
            pieces = list(backend.stream(question, adapter=chosen, config=CONFIG))
            assert "".join(pieces) == alone(backend, question, chosen).text
            assert all(pieces)


def test_a_stream_computes_a_piece_only_when_it_is_asked_for(backend):
    calls = []
    handle = backend.model.register_forward_hook(lambda *_: calls.append(1))
    try:
        stream = backend.stream(QUESTIONS[0], config=CONFIG)
        assert len(calls) == 0
        next(stream)
        assert len(calls) == 1
    finally:
        handle.remove()


def test_streams_with_different_adapters_may_be_read_in_turns(backend, adapter):
    adapters = [adapter(1), None, adapter(2)]
    texts = [""] * 3
    streams = [backend.stream(QUESTIONS[0], adapter=chosen, config=CONFIG) for chosen in adapters]
    for _ in range(16):
        for number, stream in enumerate(streams):
            texts[number] += next(stream, "")
    assert texts == [alone(backend, QUESTIONS[0], chosen).text for chosen in adapters]
    assert len(set(texts)) == 3


def test_a_half_read_stream_leaves_the_base_model_bit_for_bit(backend, adapter):
    ids = torch.tensor([[1, 2, 3]])
    before = backend.model(ids).logits
    with closing(backend.stream(QUESTIONS[0], adapter=adapter(1), config=CONFIG)) as stream:
        next(stream)
        assert torch.equal(backend.model(ids).logits, before)
    assert torch.equal(backend.model(ids).logits, before)


def test_a_stream_keeps_its_adapter_where_the_caller_has_another_active(backend, adapter):
    stream = backend.stream(QUESTIONS[0], adapter=adapter(1), config=CONFIG)
    with inject(backend.model, adapter(2)):
        text = "".join(stream)
    assert text == alone(backend, QUESTIONS[0], adapter(1)).text


def test_eight_threads_with_different_adapters_answer_as_each_would_alone(backend, adapter):
    jobs = [(QUESTIONS[number % 9], None if number % 8 == 0 else adapter(number % 8)) for number in range(64)]
    expected = [alone(backend, *job).text for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda job: alone(backend, *job).text, jobs)) == expected
        streamed = pool.map(lambda job: "".join(backend.stream(job[0], adapter=job[1], config=CONFIG)), jobs)
        assert list(streamed) == expected


def test_a_seed_gives_the_same_answer_alone_and_in_a_batch(backend):
    config = replace(CONFIG, temperature=1.5, top_p=0.95, seed=5)
    batch = [generation.text for generation in backend.generate(QUESTIONS, config=config)]
    assert batch == [alone(backend, question, config=config).text for question in QUESTIONS]
    assert batch != [generation.text for generation in backend.generate(QUESTIONS, config=replace(config, seed=6))]
    assert "".join(backend.stream(QUESTIONS[0], config=config)) == batch[0]


def test_generating_does_not_touch_torchs_generator(backend):
    before = torch.get_rng_state()
    backend.generate(QUESTIONS, config=replace(CONFIG, temperature=1.0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stop_string_ends_the_answer_before_it(backend):
    whole = alone(backend, QUESTIONS[3]).text
    stop = whole[4:6]
    cut = replace(CONFIG, stop=(stop,))
    generation = alone(backend, QUESTIONS[3], config=cut)
    assert generation.text == whole[: whole.index(stop)]
    assert generation.finish_reason == "stop"
    assert generation.usage.completion_tokens == whole.index(stop) + 2
    assert "".join(backend.stream(QUESTIONS[3], config=cut)) == generation.text


def test_an_answers_likelihood_is_that_of_its_tokens_after_the_prompt(backend, adapter):
    answers = ["blue", "", "a much longer answer", "x"]
    questions = [
        [*QUESTIONS[0]],
        QUESTIONS[1],
        [*QUESTIONS[2], {"role": "assistant", "content": "Answer:"}],
        QUESTIONS[3],
    ]
    adapters = [None, None, adapter(1), adapter(2)]
    for question, answer, chosen, (total, tokens) in zip(
        questions, answers, adapters, backend.loglikelihood(questions, answers, adapters=adapters), strict=True
    ):
        prompt = prompt_ids(backend.tokenizer, question)
        said = list((" " if question[-1]["role"] == "assistant" else "") + answer)
        ids = [*prompt, *backend.tokenizer.convert_tokens_to_ids(["Ġ" if letter == " " else letter for letter in said])]
        with inject(backend.model, chosen), torch.no_grad():
            chances = backend.model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        expected = sum(float(chances[place - 1, ids[place]]) for place in range(len(prompt), len(ids)))
        assert tokens == len(said)
        assert total == pytest.approx(expected, abs=1e-4)


def test_generating_and_scoring_together_is_both_apart(backend, adapter):
    answers = [f"No. {number}" if number % 3 else "" for number in range(len(QUESTIONS))]
    for adapters in ([None] * 9, [adapter(1)] * 9, [adapter(number) if number % 2 else None for number in range(9)]):
        together = backend.generate_and_score(QUESTIONS, answers, adapters=adapters, config=CONFIG)
        assert [made for made, _ in together] == backend.generate(QUESTIONS, adapters=adapters, config=CONFIG)
        apart = backend.loglikelihood(QUESTIONS, answers, adapters=adapters)
        for (_, (total, tokens)), (expected, count) in zip(together, apart, strict=True):
            assert (total, tokens) == (pytest.approx(expected, abs=1e-4), count)
    assert backend.generate_and_score([], []) == []


def test_a_prompt_larger_than_the_window_is_refused_with_both_sizes(backend):
    long = [{"role": "user", "content": "x" * 600}]
    with pytest.raises(GenerationError, match=r"prompt of 6\d\d tokens, but its window holds 512"):
        backend.generate([long])
    with pytest.raises(GenerationError, match="512"):
        backend.stream(long)
    with pytest.raises(GenerationError, match="512"):
        backend.loglikelihood([[{"role": "user", "content": "x" * 400}]], ["y" * 100])


def test_an_answer_ends_where_the_window_does(backend):
    nearly = [{"role": "user", "content": "x" * 478}]
    generation = alone(backend, nearly)
    assert generation.usage.prompt_tokens + generation.usage.completion_tokens == 512
    assert generation.finish_reason == "length"


def test_an_adapter_of_another_base_model_is_refused(adapter):
    other = TinyBackend(seed=1)
    with pytest.raises(AdapterMismatchError, match="compile the atoms for this base model") as caught:
        other.generate([QUESTIONS[0]], adapters=[adapter(1)])
    assert caught.value.expected == other.fingerprint
    for ask in (
        lambda: other.stream(QUESTIONS[0], adapter=adapter(1)),
        lambda: other.loglikelihood([QUESTIONS[0]], ["x"], adapters=[adapter(1)]),
    ):
        with pytest.raises(AdapterMismatchError):
            ask()


def test_an_adapter_that_does_not_fit_is_an_adapter_error_and_leaves_the_model_usable(backend, adapter):
    before = alone(backend, QUESTIONS[0])
    good = adapter(1)
    bad = replace(good, factors={target: replace(part, A=part.A[:, 1:]) for target, part in good.factors.items()})
    with pytest.raises(AdapterError):
        alone(backend, QUESTIONS[0], bad)
    assert alone(backend, QUESTIONS[0]) == before


@pytest.mark.parametrize(
    ("setting", "value"),
    [("max_new_tokens", 0), ("temperature", -1.0), ("temperature", float("nan")), ("top_p", 0.0), ("stop", ("",))],
)
def test_a_setting_that_makes_no_sense_is_refused(backend, setting, value):
    config = replace(CONFIG, **{setting: value})
    with pytest.raises(ValueError, match=setting):
        backend.generate([QUESTIONS[0]], config=config)
    with pytest.raises(ValueError, match=setting):
        backend.stream(QUESTIONS[0], config=config)


def test_lists_of_different_lengths_are_refused(backend):
    with pytest.raises(ValueError, match="got 2 for 1"):
        backend.generate([QUESTIONS[0]], adapters=[None, None])
    with pytest.raises(ValueError, match="got 0 for 1"):
        backend.loglikelihood([QUESTIONS[0]], [])
    with pytest.raises(ValueError, match="got 0 for 1"):
        backend.generate_and_score([QUESTIONS[0]], [])


def test_what_the_model_raises_becomes_a_generation_error():
    backend = TinyBackend()
    backend.model.lm_head.weight.fill_(torch.nan)
    with pytest.raises(GenerationError, match="not finite"):
        backend.generate([QUESTIONS[0]])

    def fail(*_):
        raise RuntimeError("out of luck")

    backend.model.register_forward_pre_hook(fail)
    for ask in (
        lambda: backend.generate([QUESTIONS[0]]),
        lambda: list(backend.stream(QUESTIONS[0])),
        lambda: backend.loglikelihood([QUESTIONS[0]], ["x"]),
    ):
        with pytest.raises(GenerationError, match="RuntimeError: out of luck") as caught:
            ask()
        assert isinstance(caught.value.__cause__, RuntimeError)


def test_tokens_are_counted_without_special_ones(backend):
    assert backend.count_tokens("four") == 4
    assert backend.count_tokens("") == 0


def test_a_model_without_a_chat_template_ends_its_turn_where_the_next_would_begin():
    _, tokenizer = tiny_model()
    tokenizer.chat_template = None
    small = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=64, eos_token_id=None)
    backend = HuggingFaceBackend(GPT2LMHeadModel(small), tokenizer, base_model="tiny-gpt2")
    script = iter(tokenizer("yes.\nuser: and?", add_special_tokens=False).input_ids)

    def say_the_script(_module, _args, output):
        output.logits[:, -1] = 0.0
        output.logits[:, -1, next(script)] = 1.0

    backend.model.register_forward_hook(say_the_script)
    generation = alone(backend, [{"role": "user", "content": "Is it?"}])
    assert generation.text == "yes."
    assert generation.finish_reason == "stop"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny base model as save_pretrained leaves it."""
    path = tmp_path_factory.mktemp("tiny")
    model, tokenizer = tiny_model()
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_a_folder_loads_silently_and_generates_as_the_model_did(folder, backend, capfd):
    loaded = HuggingFaceBackend.from_pretrained(str(folder), device="cpu")
    assert loaded.base_model == str(folder)
    assert loaded.fingerprint == backend.fingerprint
    assert loaded.generate(QUESTIONS, config=CONFIG) == backend.generate(QUESTIONS, config=CONFIG)
    assert capfd.readouterr() == ("", "")


def test_a_half_precision_load_has_the_same_fingerprint_and_runs(folder, backend, adapter):
    half = HuggingFaceBackend.from_pretrained(str(folder), device="cpu", dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    assert half.fingerprint == backend.fingerprint
    assert alone(half, QUESTIONS[0], adapter(1)).text


def test_a_device_map_places_the_model_by_accelerate(folder, backend):
    mapped = HuggingFaceBackend.from_pretrained(str(folder), device_map={"": "cpu"}, dtype=torch.float32)
    assert alone(mapped, QUESTIONS[0]) == alone(backend, QUESTIONS[0])
    with pytest.raises(BackendError, match="exclude each other"):
        HuggingFaceBackend.from_pretrained(str(folder), device="cpu", device_map="auto")


def test_a_hub_id_that_is_neither_cached_nor_reachable_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackendError, match=r"'owner/no-such-model'.*go online once .*smollm2-135m-instruct"):
        HuggingFaceBackend.from_pretrained("owner/no-such-model", device="cpu")


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path, folder):
    with pytest.raises(BackendError, match=r"the folder needs config\.json"):
        HuggingFaceBackend.from_pretrained(str(tmp_path), device="cpu")
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 1000 if file.suffix == ".safetensors" else None])
    with pytest.raises(BackendError, match="loading the base model"):
        HuggingFaceBackend.from_pretrained(str(tmp_path), device="cpu")
