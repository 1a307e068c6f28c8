"""Training of the document compiler: what its batches hold, what is learned, and that a run is a run like any other."""

import json
import random
from dataclasses import replace

import pytest
import torch

from parametric_memory.adapters import compose, spec_for
from parametric_memory.backends import HuggingFaceBackend
from parametric_memory.compilers import DocumentCompiler
from parametric_memory.config import PromptConfig
from parametric_memory.errors import ConfigError
from parametric_memory.hypernetwork.checkpoint import Checkpoint, load_checkpoint
from parametric_memory.hypernetwork.document import DocumentHypernetwork, document_config_for
from parametric_memory.testing import tiny_model
from parametric_memory.training import DOCUMENT_STAGES, Stage, TrainingConfig, Weights, prepare, train_hypernetwork
from parametric_memory.training.batches import collate
from parametric_memory.training.corpus import Corpus, Example
from parametric_memory.training.exercises import exercises
from parametric_memory.training.frozen import Frozen
from parametric_memory.training.losses import answer_nll, factor_size
from parametric_memory.training.objective import objective_for
from parametric_memory.training.teacher import Teacher
from parametric_memory.types import Atom, AtomKind, LoraFactors, Span

PROMPT = PromptConfig(system="")
DESKS = ["Ada has desk 4.", "Ada likes tea.", "Bob has desk 5."]
QUESTIONS = [
    Example("Which desk has Ada?", "4", (0,)),
    Example("Which desk has Bob?", "5", (2,)),
    Example("Which desk has Cid?", "", (), look_alikes=(1,)),
]


@pytest.fixture
def world():
    """A tiny base model, a document hypernetwork that speaks, and questions about three sentences in two chunks."""
    torch.manual_seed(0)
    model, tokenizer = tiny_model(layers=4)
    model.requires_grad_(False)
    network = DocumentHypernetwork(document_config_for(model, layers=2, rank=2, width=20, blocks=2)).eval()
    with torch.no_grad():
        network.scale_b.normal_(std=0.1)
        network.bias_b.normal_(std=0.1)
    corpus = Corpus()
    corpus.add(DESKS[:2], "Desks")
    corpus.add(DESKS[2:], "Desks")
    made = exercises(corpus, QUESTIONS, tokenizer=tokenizer, prompt=PROMPT, varied=False)
    return model, tokenizer, network, corpus, made


def batch_of(made, numbers, **options):
    return collate(made, numbers, rng=random.Random(0), **{"distractors": (0,), **options})


def run(world, numbers, weights, told=None, **options):
    model, _, network, _, made = world
    batch = batch_of(made, numbers, **options)
    objective = objective_for(network, model, spec_for(model, "tiny", last=2).targets)
    return objective(batch, Frozen(model, network.config, made).read(batch), weights, told), batch


def texts(batch, tokenizer, row):
    numbers = [n for n in batch.chunks[row].tolist() if n >= 0]
    return [tokenizer.decode(batch.window_ids[n][batch.window_mask[n]]) for n in numbers]


def test_a_row_has_the_whole_windows_that_its_atoms_stand_in(world):
    _, tokenizer, _, _, made = world
    alone, both = batch_of(made, [0]), batch_of(made, [0], distractors=(2,))
    assert texts(alone, tokenizer, 0) == ["Desks\n Ada has desk 4. Ada likes tea."]
    assert len(texts(batch_of(made, [0, 1], distractors=(2,)), tokenizer, 0)) == 2
    assert texts(both, tokenizer, 0) == texts(alone, tokenizer, 0), "a neighbour in the same window is no other chunk"


def test_a_row_that_nothing_is_to_answer_has_no_window_that_does(world):
    _, tokenizer, _, _, made = world
    batch = batch_of(made, [0, 1], distractors=(2,), nothing=1.0)
    assert batch.unanswered.all()
    assert [texts(batch, tokenizer, row) for row in (0, 1)] == [
        ["Desks\n Bob has desk 5."],
        ["Desks\n Ada has desk 4. Ada likes tea."],
    ]


def test_a_batch_is_answered_as_the_memory_answers(world):
    model, tokenizer, network, _, _ = world
    terms, batch = run(world, [0, 1], Weights(nll=1.0), distractors=(2,))
    spec = spec_for(model, "tiny", last=2)
    checkpoint = Checkpoint(network, spec, PROMPT)
    compiler = DocumentCompiler(model, tokenizer, checkpoint, fingerprint=spec.base_fingerprint)
    chunks = [
        Atom(str(n), AtomKind.FACT, text, text, "d", Span(0, len(text)), context="Desks")
        for n, text in enumerate([" ".join(DESKS[:2]), DESKS[2]])
    ]
    codes = compiler.compile(chunks)
    adapter = compose(compiler.materialise(codes), rank_gates=compiler.gate("Which?", codes).ranks)
    backend = HuggingFaceBackend(model, tokenizer, base_model="tiny")
    asked = [PROMPT.conversation(example.question) for example in QUESTIONS[:2]]
    found = backend.loglikelihood(asked, ["4", "5"], adapters=[adapter, adapter])
    objective = objective_for(network, model, spec.targets)
    with torch.no_grad():
        states = Frozen(model, network.config, world[4]).read(batch)
        made = objective._student.answer(batch, states, objective.adapters(batch, states))
    answers = (batch.targets >= 0).sum(dim=1).tolist()
    for (loglikelihood, tokens), logits, targets in zip(
        found,
        made.logits.split_with_sizes(answers),
        batch.targets[batch.targets >= 0].split_with_sizes(answers),
        strict=True,
    ):
        # The objective predicts the end of the turn as well; codes are stored in half precision.
        expected = -answer_nll(logits[:tokens], targets[:tokens]) * tokens
        assert abs(float(expected) - loglikelihood) < 0.02 * abs(loglikelihood) + 0.02
    assert terms["nll"].item() > 0


def test_the_total_is_the_weighted_sum_of_the_terms(world):
    model, tokenizer, _, corpus, made = world
    weights = Weights(nll=0.7, teacher=0.4, quiet=0.5, preserve=0.2, sparsity=0.3)
    told = Teacher(model, tokenizer, corpus, made, prompt=PROMPT).tell([0, 1])
    terms, _ = run(world, [0, 1, 2], weights, told)
    names = ("nll", "teacher", "quiet", "preserve", "sparsity")
    torch.testing.assert_close(terms["total"], sum(getattr(weights, name) * terms[name] for name in names))
    assert all(float(terms[name].detach()) > 0 for name in names)


def test_the_size_of_factors_is_the_mean_of_their_entries():
    factors = [LoraFactors(torch.full((1, 2, 3), -2.0), torch.ones(1, 4, 2)), LoraFactors(*torch.zeros(2, 1, 2, 2))]
    assert factor_size(factors).item() == pytest.approx((3.0 + 0.0) / 2)


def test_gradients_of_a_batch_reach_every_parameter(world):
    network = world[2]
    network.zero_grad()
    run(world, [0, 1], Weights(nll=1.0, sparsity=0.1))[0]["total"].backward()
    silent = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum()]
    assert not silent


def test_half_of_the_documents_are_read_in_several_runs_of_sentences():
    corpus, tokenizer = Corpus(), tiny_model()[1]
    for n in range(40):
        atoms = corpus.add([f"Hall {n} has door {m}." for m in range(6)], "Halls")
        corpus.train.append(Example(f"Which door has Hall {n}?", "3", (atoms[3],)))
    made = exercises(corpus, corpus.train, tokenizer=tokenizer, prompt=PROMPT, chunks=4)
    counts = [len({made.places[atom][0] for atom in document}) for document in corpus.documents]
    assert 10 <= counts.count(1) <= 30 and max(counts) == 4
    again = exercises(corpus, corpus.train, tokenizer=tokenizer, prompt=PROMPT, chunks=4)
    assert made.places == again.places
    read = [tokenizer.decode(window.ids) for window in made.windows]
    assert all(sum(f" {text}" in window for window in read) == 1 for text in corpus.texts)


# ---------------------------------------------------------------- a whole run

STAGES = (
    Stage(name="one chunk", steps=3, weights=Weights(teacher=1.0, sparsity=0.01)),
    Stage(name="several chunks", steps=3, weights=Weights(nll=1.0, teacher=1.0), distractors=(0, 3)),
)
CONFIG = TrainingConfig(
    compiler="document", steps=None, stages=STAGES, synthetic=0, batch_size=4, layers=9, width=20, rank=2, warmup=1,
    log_every=1, evaluate_every=6, save_seconds=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of questions and a tiny base model on disk."""
    root = tmp_path_factory.mktemp("documents")
    (root / "data").mkdir()
    rows = [
        {
            "document": f"Person{n} lives in Delft with six cats. Person{n} is {n}. It rains.",
            "question": f"Where does Person{n} live?", "answers": ["Delft"],
        }
        for n in range(60)
    ]  # fmt: skip
    (root / "data" / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model, tokenizer = tiny_model(layers=3)
    model.save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    return root / "data", str(root / "base")


def test_questions_become_a_checkpoint_of_a_document_compiler(folders, tmp_path):
    data, base = folders
    folder = train_hypernetwork(data, tmp_path, base, CONFIG, score=lambda *_: 0.5)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.compiler == "document" and checkpoint.network.config.rank == 2
    assert len(checkpoint.spec.targets) == 3, "nine layers of three are all of them"
    assert checkpoint.network.scale_b.abs().max() > 0
    card = (folder / "README.md").read_text()
    assert "a chunk of a document" in card and "one chunk (3), several chunks (3)" in card
    assert "| distractors | answer NLL | first token |\n|---|---|---|\n| 0 |" in card
    terms = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"teacher", "sparsity", "nll"} <= set(terms[0]) and not {"span", "hit"} & set(terms[0])


def test_a_stopped_run_goes_on_exactly_where_it_was(folders, tmp_path):
    data, base = folders

    def weights(run):
        return torch.cat([p.flatten() for p in run.trainer.averaged_network().parameters()])

    unbroken = prepare(data, tmp_path / "unbroken", base, CONFIG)
    unbroken.begin()
    unbroken.trainer.run()
    stopped = prepare(data, tmp_path / "stopped", base, CONFIG)
    stopped.begin()
    one_step = stopped.trainer._one_step

    def step_or_stop(batch):
        if stopped.trainer.step == 4:
            stopped.trainer.save()
            raise KeyboardInterrupt
        return one_step(batch)

    stopped.trainer._one_step = step_or_stop
    with pytest.raises(KeyboardInterrupt):
        stopped.trainer.run()
    resumed = prepare(data, tmp_path / "stopped", base, CONFIG)
    assert resumed.trainer.resume() and resumed.trainer.step == 4
    resumed.trainer.run()
    torch.testing.assert_close(weights(resumed), weights(unbroken), rtol=0, atol=0)


def test_it_learns_to_tell_documents_apart(world):
    """One question whose answer depends on the document alone is answered from weights after a few steps."""
    model, tokenizer, _, _, _ = world
    corpus = Corpus()
    for name, desk in (("Ada", "4"), ("Bob", "5"), ("Cid", "7"), ("Dan", "9")):
        atoms = corpus.add([f"{name} has the desk {desk}."], "")
        corpus.train.append(Example("Which desk is it?", desk, (atoms[0],)))
    prompt = PromptConfig(system="", prefix="")  # the tiny base model cannot say the space behind a prefix
    made = exercises(corpus, corpus.train, tokenizer=tokenizer, prompt=prompt, varied=False)
    torch.manual_seed(0)
    network = DocumentHypernetwork(
        replace(document_config_for(model, layers=2, rank=2, width=32, blocks=2), dropout=0.0)
    )
    objective = objective_for(network, model, spec_for(model, "tiny", last=2).targets)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    batch = batch_of(made, range(4))
    states = Frozen(model, network.config, made).read(batch)
    first = None
    for _ in range(80):
        terms = objective(batch, states, Weights(nll=1.0))
        first = first or terms["nll"].item()
        optimiser.zero_grad()
        terms["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    assert terms["first"].item() == 1.0 and terms["nll"].item() < 0.2 * first


def test_the_shipped_stages_are_those_of_the_compiler():
    assert TrainingConfig(compiler="document").stages == DOCUMENT_STAGES
    assert replace(TrainingConfig(), compiler="document").stages == DOCUMENT_STAGES
    assert max(DOCUMENT_STAGES[1].distractors) + 1 == 8
    with pytest.raises(ConfigError, match="learned by gates"):
        TrainingConfig(compiler="document", stages=(Stage(name="gates", steps=1, weights=Weights(span=1.0)),))
    with pytest.raises(ConfigError, match="weighs the ranks of atoms"):
        TrainingConfig(compiler="document", gates="told")
