import json
import random

import pytest
import torch

from parametric_memory.config import PromptConfig
from parametric_memory.errors import CheckpointError, NonFiniteLossError
from parametric_memory.hypernetwork.network import AtomHypernetwork, calibrate, config_for
from parametric_memory.testing import tiny_model
from parametric_memory.training.batches import ExampleBatches
from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.training.loop import Trainer, TrainingConfig
from parametric_memory.training.run import learning_rate

TARGETS = ("model.layers.2.mlp.down_proj", "model.layers.3.mlp.down_proj")
NAMES = ["Ada", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal"]
CONFIG = TrainingConfig(
    steps=6,
    batch_size=4,
    layers=2,
    width=16,
    warmup=2,
    distractors=(0, 1),
    log_every=2,
    evaluate_every=6,
    save_seconds=0,
)


def make_corpus():
    corpus = Corpus()
    for number, name in enumerate(NAMES):
        atoms = corpus.add([f"{name} has desk {number}.", f"{name} likes tea."], "Desks")
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
        made = {"model": model, "tokenizer": tokenizer, "config": network.config, "prompt": PromptConfig(system="")}
        corpus = make_corpus()
        train = ExampleBatches(corpus, corpus.train, cache=tmp_path / out / "cache", **made)
        trainer = Trainer(
            network, model, TARGETS, train=train, validation=train, config=config, out=tmp_path / out
        )  # fmt: skip
        prompts, answers = ([torch.tensor(ids) for ids in column] for column in zip(*train.questions, strict=True))
        calibrate(network, model, TARGETS, prompts, answers)
        trainer.begin()
        return trainer

    return make


def weights(trainer):
    return torch.cat([parameter.flatten() for parameter in trainer.averaged_network().parameters()])


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

    def step_or_stop(numbers):
        if trainer.step == step:
            trainer.save()
            raise StopError
        return one_step(numbers)

    trainer._one_step = step_or_stop
    with pytest.raises(StopError):
        trainer.run()


def test_training_learns_its_examples(make_trainer):
    config = TrainingConfig(
        steps=60,
        batch_size=4,
        layers=2,
        width=16,
        warmup=5,
        learning_rate=3e-3,
        alone=1.0,
        log_every=60,
        evaluate_every=60,
    )
    trainer = make_trainer(config=config)
    before = trainer._one_step(trainer.train.order(0, 0, 4)[0])["span"]
    trainer.run()
    after = trainer._one_step(trainer.train.order(0, 0, 4)[0])["span"]
    assert after < 0.7 * before


def test_other_settings_do_not_go_on_with_a_run(make_trainer):
    make_trainer("run").save()
    with pytest.raises(CheckpointError, match="other settings"):
        make_trainer("run", TrainingConfig(steps=7, batch_size=4, layers=2, width=16)).resume()


def test_a_loss_that_is_not_finite_names_its_batch(make_trainer):
    trainer = make_trainer()
    with torch.no_grad():
        trainer.network.log_copy += float("nan")
    with pytest.raises(NonFiniteLossError, match=r"examples \["):
        trainer.run()


def test_the_base_model_is_never_trained(make_trainer):
    trainer = make_trainer()
    before = {name: parameter.clone() for name, parameter in trainer.model.named_parameters()}
    trainer.run()
    assert all(torch.equal(parameter, before[name]) for name, parameter in trainer.model.named_parameters())


def test_the_log_holds_losses_and_validation(make_trainer, tmp_path):
    make_trainer().run()
    kinds = {json.loads(line)["kind"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()}
    assert kinds == {"train", "validation/alone", "validation/neighbours"}


def test_an_epoch_is_a_permutation_that_depends_on_the_seed_alone(make_trainer):
    train = make_trainer().train
    once = train.order(0, 0, 4)
    assert once == train.order(0, 0, 4) != train.order(1, 0, 4)
    assert sorted(n for batch in once for n in batch) == list(range(len(NAMES)))


def test_labels_point_at_the_answers_tokens(make_trainer):
    train, tokenizer = make_trainer().train, tiny_model()[1]
    batch = train.batch([3, 5], rng=random.Random(0), distractors=(2,))
    ids = batch.atom_ids.flatten()
    for row, number in enumerate((3, 5)):
        spoken = ids[batch.routes[row][batch.inside[row, :-1]]]
        assert tokenizer.decode(spoken).strip() == train.examples[number].answer
        assert batch.start[row].sum() == 1


def test_rows_without_their_own_atom_are_labelled_as_unanswered(make_trainer):
    train = make_trainer().train
    batch = train.batch([0, 1, 2, 3], rng=random.Random(0), distractors=(1,), drop_gold=1.0)
    assert batch.inside[:, -1].all() and batch.start[:, -1].all() and (batch.targets == -100).all()


def test_the_learning_rate_rises_then_falls():
    rates = [learning_rate(step, TrainingConfig(steps=100, warmup=10)) for step in range(100)]
    assert rates[0] < rates[9] and rates[9] > rates[50] > rates[99] > 0
