import random
from dataclasses import replace

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from parametric_memory.adapters import compose, spec_for
from parametric_memory.backends import HuggingFaceBackend
from parametric_memory.compilers import HypernetworkCompiler
from parametric_memory.config import PromptConfig
from parametric_memory.hypernetwork.chat import prompt_ids
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.hypernetwork.states import continue_from, logits_of, pad, states_at
from parametric_memory.routing.span_router import SpanRouter, begin
from parametric_memory.testing import tiny_model
from parametric_memory.testing.doubles import tiny_encoder
from parametric_memory.training.batches import collate
from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.training.curriculum import Weights
from parametric_memory.training.exercises import exercises
from parametric_memory.training.frozen import Frozen
from parametric_memory.training.greedy import greedy_scores
from parametric_memory.training.locating import Found
from parametric_memory.training.locating import told as told_gates
from parametric_memory.training.losses import answer_nll
from parametric_memory.training.objective import Objective
from parametric_memory.training.teacher import Teacher
from parametric_memory.types import Atom, AtomKind, Span, TokenGates, TokenShare

PROMPT = PromptConfig(system="")
TEXTS = ["Ada has desk 4.", "Bob has desk 5.", "It rains."]
SIZES = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256, "initializer_range": 0.3,
}  # fmt: skip


@pytest.fixture(params=[{}, {"question_words": True}, {"ends": True}], ids=["", "question words", "ends"])
def world(request):
    """A tiny base model, a random hypernetwork for it, and questions about three sentences."""
    torch.manual_seed(0)
    model, tokenizer = tiny_model(layers=4)
    network = AtomHypernetwork(config_for(model, layers=2, width=16, **request.param)).eval()
    corpus = Corpus()
    corpus.add(TEXTS, "Desks")
    questions = [
        Example("Which desk has Ada?", "4", (0,), (Place(0, 13, 14),)),
        Example("Do both have desks?", "yes", (0, 1)),
        Example("Which desk has Cid?", "", (), look_alikes=(1,)),
    ]
    made = exercises(corpus, questions, tokenizer=tokenizer, prompt=PROMPT, varied=False)
    return model, tokenizer, network, corpus, made


def atom_of(number):
    """An atom of the corpus as a memory stores it."""
    text = TEXTS[number]
    statement = f"Desks: {text}"
    return Atom(str(number), AtomKind.FACT, statement, text, "d", Span(0, len(text)), context="Desks", position=number)


def run(world, numbers, weights, *, distractors=0, told=None, locate=None):
    model, _, network, _, made = world
    batch = collate(made, numbers, rng=random.Random(0), distractors=(distractors,))
    objective = Objective(network, model, spec_for(model, "tiny", last=2).targets)
    return objective(batch, Frozen(model, network.config, made, locate=locate).read(batch), weights, told), batch


def test_a_batch_is_answered_as_the_memory_answers(world):
    model, tokenizer, network, _, _ = world
    terms, batch = run(world, [0], Weights(nll=1.0), distractors=2)
    spec = spec_for(model, "tiny", last=2)
    compiler = HypernetworkCompiler(
        model, tokenizer, Checkpoint(network, spec, PROMPT), fingerprint=spec.base_fingerprint, exact=True
    )
    atoms = [
        Atom(str(n), AtomKind.FACT, text, text, "d", Span(0, len(text)), position=n, context="Desks")
        for n, text in enumerate(TEXTS)
    ]
    codes = compiler.compile(atoms)
    gates = compiler.gate("Which desk has Ada?", codes)
    adapter = compose(compiler.materialise(codes), weights=[1.0] * 3, rank_gates=gates.ranks)
    backend = HuggingFaceBackend(model, tokenizer, base_model="tiny")
    [(loglikelihood, tokens)] = backend.loglikelihood(
        [PROMPT.conversation("Which desk has Ada?")], ["4"], adapters=[adapter]
    )
    # The objective predicts the end of the turn as well.
    answered = batch.targets >= 0
    with torch.no_grad():
        objective = Objective(network, model, spec.targets)
        states = Frozen(model, network.config, world[4]).read(batch)
        made = objective._answer(batch, states, *(found := objective._encode(batch, states)),
                                 objective._gates(found[0], found[1], batch, states))  # fmt: skip
    expected = -answer_nll(made.logits[:tokens], batch.targets[answered][:tokens]) * tokens
    assert abs(float(expected) - loglikelihood) < 0.02 * abs(loglikelihood) + 0.02
    assert terms["nll"].item() > 0


def test_ranks_that_are_located_are_those_that_a_token_router_that_is_always_right_would_gate(world):
    model, tokenizer, network, _, made = world
    spec = spec_for(model, "tiny", last=2)
    compiler = HypernetworkCompiler(
        model, tokenizer, Checkpoint(network, spec, PROMPT), fingerprint=spec.base_fingerprint, exact=True
    )
    codes = compiler.compile([atom_of(number) for number in range(len(TEXTS))])[:1]
    right = (TokenShare(Span(0, 13), 0.0), TokenShare(Span(13, 14), 1.0, 1.0, 1.0), TokenShare(Span(14, 15), 0.0))
    gates = compiler.gate("Which desk has Ada?", codes, TokenGates((), (1.0,), 0.0, (right,)))
    adapter = compose(compiler.materialise(codes), rank_gates=gates.ranks)
    batch = collate(made, [0], rng=random.Random(0), distractors=(0,))
    objective = Objective(network, model, spec.targets)
    with torch.no_grad():
        found = objective.adapters(batch, Frozen(model, network.config, made, locate=told_gates).read(batch))
    for target, factors in zip(spec.targets, found, strict=True):
        ours, composed = factors.B[0] @ factors.A[0], adapter.factors[target].B @ adapter.factors[target].A
        torch.testing.assert_close(ours, composed, rtol=0, atol=float(0.02 * composed.abs().max()))


def test_where_the_answer_stands_is_told_and_the_gates_learn_nothing_from_answers(world):
    network = world[2].requires_grad_(True)
    terms, batch = run(world, [0, 1, 2], Weights(nll=1.0), distractors=1, locate=told_gates)
    terms["total"].backward()
    assert network.gate.weight.grad is None or float(network.gate.weight.grad.abs().max()) == 0
    assert float(network.key.grad.abs().max()) > 0
    gates = told_gates(batch)
    assert torch.equal(gates.inside[0].exp() > 0, batch.inside[0])
    assert torch.equal(gates.inside[1].exp() > 0, batch.evidence[1]), "a yes is no span of its atoms"
    weights = network.rank_gates(gates)
    assert float(weights.detach()[2].max()) == 0, "nothing answers"
    if network.config.ends:
        ending = weights[0].chunk(3)[2]
        assert ending.nonzero().flatten().tolist() == batch.after[0, :-1].nonzero().flatten().tolist()
        assert float(ending.detach().sum()) == 1.0


def test_what_a_token_router_finds_gates_a_batch_as_it_gates_a_memory(world, tmp_path):
    model, tokenizer, network, corpus, made = world
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        router = SpanRouter(*begin(tiny_encoder(tmp_path), frozen=0))
    spec = spec_for(model, "tiny", last=2)
    compiler = HypernetworkCompiler(
        model, tokenizer, Checkpoint(network, spec, PROMPT), fingerprint=spec.base_fingerprint, exact=True
    )
    batch = collate(made, [0, 1, 2], rng=random.Random(0), distractors=(1,))
    locate = Found(router, corpus, made, tokenizer)
    gates = locate(batch)
    assert torch.equal(locate(batch).inside, gates.inside), "the second time it knows where tokens stand"
    partly = Found(router, corpus, made, tokenizer, completing=[1])(batch)
    completing = torch.tensor([number == 1 for number in batch.numbers])
    assert torch.equal(partly.after[completing], told_gates(batch).after[completing])
    assert torch.equal(partly.start[~completing], gates.start[~completing])
    weights = network.rank_gates(gates).detach()
    codes = compiler.compile([atom_of(n) for n in range(len(TEXTS))])
    for row, route in enumerate(batch.atoms):
        question = made.items[batch.numbers[row]].example.question
        found = router.read(question, [atom_of(atom) for atom in route])
        expected = compiler.gate(question, [codes[atom] for atom in route], found)
        kinds = weights[row].chunk(network.config.ranks)
        lengths = [len(made.ids[atom]) for atom in route]
        of_atoms = zip(*(kind[: sum(lengths)].split(lengths) for kind in kinds), strict=True)
        for own, ranks in zip(of_atoms, expected.ranks, strict=True):
            torch.testing.assert_close(torch.cat(own), torch.tensor(ranks), rtol=1e-4, atol=1e-6)
        for column in (gates.inside, gates.start, gates.after):
            assert bool((column[row, sum(lengths) : -1] == -torch.inf).all()), "there is nothing behind a row's tokens"


def test_the_total_is_the_weighted_sum_of_the_terms(world):
    weights = Weights(nll=0.7, span=0.2, atoms=0.3, quiet=0.4, preserve=0.5, sparsity=0.6)
    terms, _ = run(world, [0, 1, 2], weights, distractors=1)
    names = ("nll", "span", "atoms", "quiet", "preserve", "sparsity")
    torch.testing.assert_close(terms["total"], sum(getattr(weights, name) * terms[name] for name in names))
    assert all(float(terms[name].detach()) > 0 for name in names)


def test_preservation_asks_for_nothing_where_something_answers(world):
    terms, _ = run(world, [0, 1], Weights(preserve=1.0, quiet=1.0))
    assert terms["preserve"].item() == 0 and terms["quiet"].item() == 0


def test_closed_gates_leave_the_base_model_alone(world):
    network = world[2]
    with torch.no_grad():
        network.gate.weight.zero_()
        network.gate.bias.zero_()
        loud, _ = run(world, [2], Weights(preserve=1.0, quiet=1.0))
        network.rank_gates = lambda gates: torch.zeros(*gates.inside[:, :-1].repeat(1, network.config.ranks).shape)
        quiet, _ = run(world, [2], Weights(preserve=1.0, quiet=1.0))
    assert loud["preserve"] > 1e-6 and loud["quiet"] > 1e-6
    assert abs(quiet["preserve"]) < 1e-6 and quiet["quiet"] == 0


def test_rows_that_something_answers_do_not_change_how_loud_the_others_are(world):
    alone, _ = run(world, [2], Weights(quiet=1.0))
    among, batch = run(world, [0, 2, 1], Weights(quiet=1.0))
    assert batch.unanswered.tolist().count(True) == 1
    torch.testing.assert_close(among["quiet"], alone["quiet"], rtol=1e-4, atol=1e-6)


def test_a_teacher_leaves_a_turn_unopened_where_the_student_s_is(world):
    model, tokenizer, _, corpus, made = world
    item = made.items[0]
    turns = [{"role": "user", "content": item.example.question}]
    unopened = replace(item, prompt=prompt_ids(tokenizer, turns))
    teacher = Teacher(model, tokenizer, corpus, replace(made, items=[item, unopened]), prompt=PROMPT)
    opened, asked = (teacher._text(number).prompt for number in (0, 1))
    assert opened[-3:] == item.prompt[-3:] != asked[-3:] == unopened.prompt[-3:]
    assert opened[: len(asked)] == asked


def test_a_teacher_tells_what_the_base_model_says_with_the_text_in_its_prompt(world, tmp_path):
    model, tokenizer, _, corpus, made = world
    teacher = Teacher(model, tokenizer, corpus, made, prompt=PROMPT, cache=tmp_path)
    told = teacher.tell([1, 0])
    assert len(told.top) == len(made.items[1].answer) + len(made.items[0].answer)
    turns = PROMPT.conversation("Which desk has Ada?", ["Desks: Ada has desk 4."])
    ids = [*tokenizer.apply_chat_template(turns, continue_final_message=True, tokenize=True, return_dict=False)]
    ids += made.items[0].answer[:-1]
    logits = model(input_ids=torch.tensor([ids])).logits[0, -len(made.items[0].answer) :]
    own = told.shares[len(made.items[1].answer) :]
    torch.testing.assert_close(own, logits.log_softmax(-1).topk(16, dim=-1).values, atol=2e-2, rtol=1e-2)
    again = Teacher(model, tokenizer, corpus, made, prompt=PROMPT, cache=tmp_path)
    again._ask = lambda numbers: pytest.fail("it was told already") if numbers else None
    torch.testing.assert_close(again.tell([1, 0]).shares, told.shares)


def test_consistency_counts_answers_that_take_several_atoms(world):
    model, tokenizer, _, corpus, made = world
    teacher = Teacher(model, tokenizer, corpus, made, prompt=PROMPT)
    one, _ = run(world, [0], Weights(consistency=1.0), told=teacher.tell([0]))
    two, _ = run(world, [1], Weights(consistency=1.0), told=teacher.tell([1]))
    assert one["consistency"].item() == 0 and two["consistency"].item() > 0


def test_greedy_scores_ask_what_can_be_answered(world):
    model, tokenizer, network, _, made = world
    asked = []
    scores = greedy_scores(
        network,
        HuggingFaceBackend(model, tokenizer, base_model="tiny"),
        spec_for(model, "tiny", last=2),
        made,
        Frozen(model, network.config, made),
        prompt=PROMPT,
        numbers=[0, 1, 2],
        score=lambda said, right: float(asked.append((said, right)) is None),
    )
    assert scores == {"alone": 1.0, "neighbours": 1.0}
    assert [right for _, right in asked] == ["4", "yes", "4", "yes"]


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (LlamaConfig(**SIZES), LlamaForCausalLM),
        (Qwen2Config(**{name: size for name, size in SIZES.items() if name != "head_dim"}), Qwen2ForCausalLM),
        (Qwen3Config(**SIZES), Qwen3ForCausalLM),
        (GemmaConfig(**SIZES), GemmaForCausalLM),
        (Gemma2Config(**SIZES, sliding_window=64, final_logit_softcapping=0.5), Gemma2ForCausalLM),
        (LlamaConfig(**SIZES, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e5}),
         LlamaForCausalLM),
    ],
    ids=["Llama", "Qwen2", "Qwen3", "Gemma", "Gemma2", "SmolLM"],
)  # fmt: skip
def test_upper_layers_and_head_go_on_from_states_as_the_whole_model_runs(config, kind):
    torch.manual_seed(0)
    model = kind(config).eval()
    ids, mask = pad([torch.arange(5, 25), torch.arange(40, 52)])
    states = states_at(model, ids, mask, [2])[2]
    with torch.no_grad():
        found = logits_of(model, continue_from(model, states, mask, 2))
        expected = model(input_ids=ids, attention_mask=mask.long()).logits
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-4, rtol=1e-4)


def test_weights_that_are_zero_cost_no_pass_of_the_base_model(world, monkeypatch):
    monkeypatch.setattr("parametric_memory.training.student.continue_from", lambda *_: pytest.fail("it ran"))
    terms, _ = run(world, [0, 1, 2], Weights(span=1.0, atoms=0.5))
    assert set(terms) == {"total", "span", "atoms", "hit", "start"}
    with pytest.raises(BaseException, match="it ran"):
        run(world, [0], replace(Weights(span=1.0), nll=1.0))
