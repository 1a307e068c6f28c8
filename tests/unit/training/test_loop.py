import json
import math
from dataclasses import replace

import pytest
import torch

from parametric_memory.config import PromptConfig
from parametric_memory.errors import CheckpointError, NonFiniteLossError
from parametric_memory.hypernetwork.network import AtomHypernetwork, calibrate, config_for
from parametric_memory.testing import tiny_model
from parametric_memory.training.completions import completions
from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.training.curriculum import Stage, TrainingConfig, Weights
from parametric_memory.training.exercises import exercises
from parametric_memory.training.frozen import Frozen
from parametric_memory.training.lessons import Lessons
from parametric_memory.training.loop import Trainer
from parametric_memory.training.teacher import Teacher

TARGETS = ("model.layers.2.mlp.down_proj", "model.layers.3.mlp.down_proj")
NAMES = ["Ada", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal"]
PROMPT = PromptConfig(system="")
ALL = Weights(
    nll=1.0, span=0.3, atoms=0.1, teacher=0.3, quiet=0.1, preserve=0.1, sparsity=0.01, consistency=0.1
)  # fmt: skip
STAGES = (
    Stage(name="gates", steps=2, weights=Weights(span=1.0, atoms=0.5)),
    Stage(name="completion", steps=2, weights=Weights(nll=1.0), completions=0.5),
    Stage(name="among others", steps=3, weights=ALL, distractors=(0, 1), nothing=0.5),
)
CONFIG = TrainingConfig(
    steps=None,
    stages=STAGES,
    batch_size=4,
    layers=2,
    width=16,
    warmup=2,
    log_every=1,
    evaluate_every=7,
    save_seconds=0,
    prompt=PROMPT,
)


def make_corpus():
    corpus = Corpus()
    for number, name in enumerate(NAMES):
        atoms = corpus.add([f"{name} has desk {number}.", f"{name} likes tea more than he likes milk."], "Desks")
        place = Place(atoms[0], len(name) + 10, len(name) + 11)
        corpus.train.append(Example(f"Which desk has {name}?", str(number), (atoms[0],), (place,)))
    corpus.validation = corpus.train[:4]
    return corpus


@pytest.fixture
def make_trainer(tmp_path):
    def make(out="run", config=CONFIG):
        torch.manual_seed(0)
        model, tokenizer = tiny_model(layers=4)
        model.requires_grad_(False)
        network = AtomHypernetwork(config_for(model, layers=2, width=16))
        corpus = make_corpus()
        completing = completions(corpus, range(len(corpus.texts)))
        made = exercises(corpus, [*corpus.train, *completing], tokenizer=tokenizer, prompt=PROMPT)
        numbers = [n for n, item in enumerate(made.items) if item.example in completing]
        folder = tmp_path / out
        frozen = Frozen(model, network.config, made, cache=folder / "cache")
        trainer = Trainer(
            network, model, TARGETS,
            lessons=Lessons(made, config, completions=numbers), frozen=frozen, validation=(made, frozen),
            config=config, out=folder,
            teacher=Teacher(model, tokenizer, corpus, made, prompt=PROMPT, cache=folder / "cache"),
        )  # fmt: skip
        prompts = [torch.tensor(item.prompt) for item in made.items]
        answers = [torch.tensor(item.answer) for item in made.items]
        calibrate(network, model, TARGETS, prompts, answers)
        trainer.begin()
        return trainer

    return make


def weights(trainer):
    return torch.cat([parameter.flatten() for parameter in trainer.averaged_network().parameters()])


def lines(trainer):
    return [json.loads(line) for line in (trainer.out / "log.jsonl").read_text().splitlines()]


def test_a_stopped_run_goes_on_exactly_where_it_was(make_trainer):
    unbroken = make_trainer("unbroken")
    unbroken.run()
    stopped = make_trainer("stopped")
    stop_after(stopped, 3)
    resumed = make_trainer("stopped")
    assert resumed.resume() and resumed.step == 3
    resumed.run()
    torch.testing.assert_close(weights(resumed), weights(unbroken), rtol=0, atol=0)


def stop_after(trainer, step):
    class StopError(Exception):
        pass

    one_step = trainer._one_step

    def step_or_stop(batch):
        if trainer.step == step:
            trainer.save()
            raise StopError
        return one_step(batch)

    trainer._one_step = step_or_stop
    with pytest.raises(StopError):
        trainer.run()


def test_training_learns_its_examples(make_trainer):
    stage = Stage(name="all", steps=60, weights=Weights(nll=1.0, span=0.3), learning_rate=3e-3)
    config = replace(CONFIG, stages=(stage,), warmup=5, log_every=60, evaluate_every=60)
    trainer = make_trainer(config=config)
    before = trainer.validate(0)
    trainer.run()
    after = trainer.validate(0)
    assert after["span"] < 0.75 * before["span"] and after["nll"] < before["nll"]


def test_a_stage_of_gates_leaves_the_micro_loras_as_they_are(make_trainer):
    config = replace(CONFIG, stages=STAGES[:1])
    trainer = make_trainer(config=config)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.run()
    changed = {name for name, value in trainer.network.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("cross") for name in changed)
    assert not changed & {"key", "value", "log_key", "log_copy", "log_start", "probe", "floor"}


def test_every_term_with_a_weight_is_logged_and_no_other(make_trainer):
    trainer = make_trainer()
    trainer.run()
    by_stage = {line["stage"]: set(line) for line in lines(trainer) if line["kind"] == "train"}
    terms = {"nll", "span", "atoms", "teacher", "quiet", "preserve", "sparsity", "consistency"}
    assert by_stage["gates"] & terms == {"span", "atoms"}
    assert by_stage["completion"] & terms == {"span", "atoms", "nll"}
    assert by_stage["among others"] & terms == terms


def test_other_settings_do_not_go_on_with_a_run(make_trainer):
    make_trainer("run").save()
    with pytest.raises(CheckpointError, match="other settings"):
        make_trainer("run", replace(CONFIG, seed=7)).resume()


def test_a_run_of_another_origin_is_not_gone_on_with(make_trainer):
    trainer = make_trainer("run")
    trainer._settings["init"] = "one"
    trainer.save()
    other = make_trainer("run")
    other._settings["init"] = "another"
    with pytest.raises(CheckpointError, match="init"):
        other.resume()


def test_a_step_is_measured_once(make_trainer, monkeypatch):
    trainer = make_trainer()
    trainer.run()
    monkeypatch.setattr(trainer, "validate", lambda count: pytest.fail("it was measured already"))
    assert set(trainer.measures()) == {"alone", "neighbours"}


def test_a_loss_that_is_not_finite_names_its_batch(make_trainer):
    trainer = make_trainer()
    with torch.no_grad():
        trainer.network.nothing += float("nan")
    with pytest.raises(NonFiniteLossError, match=r"examples \["):
        trainer.run()


def test_the_base_model_is_never_trained(make_trainer):
    trainer = make_trainer()
    before = {name: parameter.clone() for name, parameter in trainer.model.named_parameters()}
    trainer.run()
    assert all(torch.equal(parameter, before[name]) for name, parameter in trainer.model.named_parameters())


def test_the_log_holds_losses_and_validation_and_what_scores_the_answers(make_trainer):
    trainer = make_trainer()
    trainer.run(score=lambda _network: {"alone": 0.5})
    assert {line["kind"] for line in lines(trainer)} == {
        "train", "validation/alone", "validation/neighbours", "validation/answers",
    }  # fmt: skip
    assert all(math.isfinite(value) for line in lines(trainer) for value in line.values() if isinstance(value, float))
    assert list((trainer.out / "tensorboard").iterdir())


def test_states_from_the_cache_train_as_states_that_are_computed_anew(make_trainer):
    cached, fresh = make_trainer("cached"), make_trainer("fresh")
    fresh.frozen = Frozen(fresh.model, fresh.network.config, fresh.lessons.exercises)
    for trainer in (cached, fresh):
        trainer.run()
    # The cache is float16.
    torch.testing.assert_close(weights(cached), weights(fresh), rtol=1e-2, atol=1e-2)


def test_the_average_forgets_where_the_run_began(make_trainer):
    stage = Stage(name="all", steps=40, weights=Weights(nll=1.0), learning_rate=1e-2)
    trainer = make_trainer(config=replace(CONFIG, stages=(stage,), log_every=40, evaluate_every=40))
    begun = weights(trainer)
    trainer.run()
    now = torch.cat([parameter.flatten() for parameter in trainer.network.parameters()])
    assert (weights(trainer) - now).norm() < 0.5 * (weights(trainer) - begun).norm()


def test_states_that_were_kept_of_other_layers_are_not_read_as_these(make_trainer, tmp_path):
    trainer = make_trainer("kept")
    batch = trainer.lessons[0]
    exercises, config = trainer.lessons.exercises, trainer.network.config
    others = replace(config, first_layer=config.first_layer + 1), replace(config, question_words=True)
    for each in (config, *others):
        kept = Frozen(trainer.model, each, exercises, cache=tmp_path / "shared").read(batch)
        fresh = Frozen(trainer.model, each, exercises).read(batch)
        assert tuple(kept.questions) == tuple(fresh.questions) == each.question_layers
        for layer, states in kept.questions.items():
            torch.testing.assert_close(states[batch.mask], fresh.questions[layer][batch.mask], rtol=1e-2, atol=1e-2)
