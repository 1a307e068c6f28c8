import json

import pytest
import torch

from parametric_memory.adapters import import_peft, inject, spec_for
from parametric_memory.config import PromptConfig
from parametric_memory.errors import CheckpointError, NonFiniteLossError, TrainingError
from parametric_memory.hypernetwork.states import states_at
from parametric_memory.testing import tiny_model
from parametric_memory.training import ReaderConfig, train_reader
from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.training.data import read_corpus
from parametric_memory.training.reader_loop import ReaderTrainer, forward
from parametric_memory.training.readings import read, readings

NAMES = ["Ada", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal"]
PROMPT = PromptConfig(system="", reading="")
CONFIG = ReaderConfig(
    steps=6, batch_size=4, layers=2, rank=4, warmup=2, log_every=2, evaluate_every=3, save_seconds=0, prompt=PROMPT
)


@pytest.fixture
def corpus():
    made = Corpus()
    for number, name in enumerate(NAMES):
        atoms = made.add([f"{name} has desk {number}.", f"{name} likes tea.", f"{name} is in."], "Desks")
        place = Place(atoms[0], len(name) + 10, len(name) + 11)
        made.train.append(Example(f"Desk of {name}?", str(number), (atoms[0],), (place,)))
    made.validation = made.train[:2]
    return made


@pytest.fixture
def rows(corpus):
    return readings(corpus, corpus.train, tokenizer=tiny_model()[1], prompt=PROMPT, count=8)


@pytest.fixture
def make_trainer(rows, tmp_path):
    def make(out="run", config=CONFIG):
        model, _ = tiny_model(layers=4)
        model.requires_grad_(False)
        spec = spec_for(model, "tiny", last=2)
        return ReaderTrainer(model, spec, train=rows, validation=rows[:4], config=config, out=tmp_path / out)

    return make


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.lora.parameters()])


def test_the_gold_sentence_stands_alone_or_among_others_in_the_order_of_the_document(corpus):
    def passages(alone):
        made = readings(corpus, corpus.train, tokenizer=tiny_model()[1], prompt=PROMPT, count=8, alone=alone)
        return [(row.example, row.turns[-2]["content"].partition("\nQuestion: ")[0]) for row in made]

    for example, passage in passages(1.0):
        assert passage == f"Passage: Desks: {corpus.texts[example.anchor]}"
    longer = passages(0.0)
    for example, passage in longer:
        places = [(passage.find(text), atom) for atom, text in enumerate(corpus.texts) if text in passage]
        assert example.anchor in {atom for _, atom in places} and 2 <= len(places) <= 6
        assert places == sorted(places)
    assert {passage.startswith("Passage: Desks: ") for _, passage in longer} == {True, False}


def test_all_golds_are_read_in_order_and_what_nothing_answers_is_not_read(corpus):
    several = Example("Which desks?", "0 and 2", (0, 2))
    apart = Example("Whose?", "Bob", (3, 9))
    nothing = Example("Who is out?", "", (), look_alikes=(2,))
    for alone in (1.0, 0.0):
        made = readings(
            corpus, [several, apart, nothing] * 20, tokenizer=tiny_model()[1], prompt=PROMPT, count=99,
            alone=alone, max_tokens=999,
        )  # fmt: skip
        assert len(made) == 40
        for row in made:
            passage = row.turns[-2]["content"].partition("\nQuestion: ")[0]
            places = [(passage.find(text), atom) for atom, text in enumerate(corpus.texts) if text in passage]
            assert places == sorted(places) and set(row.example.golds) <= {atom for _, atom in places}
            assert alone < 1 or len(places) == 2


def test_targets_are_the_answer_and_the_end_of_the_turn_after_the_whole_prompt(rows):
    model, tokenizer = tiny_model(layers=4)
    batch = read(model, rows[:2], layer=2)
    for row, targets in zip(rows, batch.targets, strict=False):
        places = (targets >= 0).nonzero().flatten()
        assert places[0] == len(row.prompt) - 1
        assert tokenizer.decode(targets[places]) == f" {row.example.answer}<|im_end|>"
        assert tokenizer.decode(row.prompt).endswith("assistant\nAnswer:")


def test_states_are_those_of_the_rows_by_themselves(rows):
    model, _ = tiny_model(layers=4)
    ordered = sorted(rows, key=len)
    row, longest = ordered[0], ordered[-1]
    assert len(row) < len(longest)
    batch = read(model, [row, longest], layer=2)
    ids = torch.tensor([[*row.prompt, *row.answer[:-1]]])
    alone = states_at(model, ids, torch.ones_like(ids, dtype=torch.bool), [2])[2]
    torch.testing.assert_close(batch.states[:1, : ids.shape[1]], alone, rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_the_whole_model(make_trainer, rows):
    trainer = make_trainer()
    trainer.run()
    batch = read(trainer.model, rows[:1], layer=trainer.layer)
    ids = torch.tensor([[*rows[0].prompt, *rows[0].answer]])
    labels = torch.where(torch.arange(ids.shape[1]) < len(rows[0].prompt), -100, ids)
    with torch.no_grad(), inject(trainer.model, trainer.lora.factors()):
        whole = trainer.model(ids, labels=labels).loss
    ours = forward(trainer.lora, trainer.model, batch, layer=trainer.layer)["nll"]
    torch.testing.assert_close(ours.detach(), whole, rtol=1e-4, atol=1e-5)


def test_a_reader_begins_as_the_bare_base_model_and_learns(make_trainer):
    trainer = make_trainer(
        config=ReaderConfig(steps=60, batch_size=4, layers=2, rank=4, learning_rate=2e-2, warmup=5, prompt=PROMPT)
    )
    batches = trainer.batches(trainer.train)
    before = trainer.validate(batches)
    assert before == trainer.validate(batches, bare=True)
    trainer.run()
    assert trainer.validate(batches)["nll"] < 0.6 * before["nll"]
    assert trainer.validate(batches, bare=True) == before


def test_a_stopped_run_goes_on_exactly_where_it_was(make_trainer):
    unbroken = make_trainer("unbroken")
    unbroken.run()
    stopped = make_trainer("stopped")
    one_step = stopped._one_step

    def step_or_stop(numbers):
        if stopped.step == 3:
            raise KeyboardInterrupt
        return one_step(numbers)

    stopped._one_step = step_or_stop
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    resumed = make_trainer("stopped")
    assert resumed.resume() and resumed.step == 3
    resumed.run()
    assert torch.equal(weights(resumed), weights(unbroken))


def test_other_settings_do_not_go_on_with_a_run(make_trainer):
    make_trainer().save()
    with pytest.raises(CheckpointError, match="other settings"):
        make_trainer(config=ReaderConfig(steps=7, batch_size=4, layers=2, rank=4, prompt=PROMPT)).resume()


def test_a_loss_that_is_not_finite_names_its_batch_and_leaves_the_saved_state(make_trainer):
    trainer = make_trainer()
    trainer.save()
    with torch.no_grad():
        trainer.lora.B[0] += float("nan")
    with pytest.raises(NonFiniteLossError, match=r"examples \["):
        trainer.run()
    again = make_trainer()
    assert again.resume() and again.step == 0 and bool(weights(again).isfinite().all())


def test_the_base_model_is_never_trained(make_trainer):
    trainer = make_trainer()
    before = {name: parameter.clone() for name, parameter in trainer.model.named_parameters()}
    trainer.run()
    assert weights(trainer).isfinite().all()
    assert all(torch.equal(parameter, before[name]) for name, parameter in trainer.model.named_parameters())


def test_an_epoch_takes_every_question_once(make_trainer, rows):
    trainer = make_trainer(config=ReaderConfig(steps=6, batch_size=3, layers=2, rank=4, prompt=PROMPT))
    epochs = [[number for step in range(3 * e, 3 * e + 3) for number in trainer._numbers(step)] for e in (0, 1)]
    assert all(sorted(epoch) == list(range(len(rows))) for epoch in epochs)
    assert epochs[0] != epochs[1]


def write(path, documents):
    rows = []
    for number in range(documents):
        title, keeper = f"Hall {number}", f"Keeper{number * 7919 % 1000}"
        document = f"{title} was built in {1900 + number}. The keeper of {title} is {keeper}."
        rows.append({"document": document, "title": title, "question": f"Keeper of {title}?", "answers": [keeper]})
        # The same sentences in another file, without their title.
        sentence = document.partition(". ")[2]
        rows.append({"document": sentence, "question": f"Who keeps {title}?", "answers": [keeper]})
    path.mkdir()
    (path / "halls.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_no_sentence_of_a_held_out_document_is_trained_on(tmp_path):
    corpus = read_corpus(write(tmp_path / "data", 400))
    held_out = {corpus.document_of[example.anchor] for example in corpus.validation}
    forbidden = {corpus.texts[atom] for document in held_out for atom in corpus.documents[document]}
    assert forbidden and len(corpus.train) + len(corpus.validation) < 800, "some quote what is held out"
    for alone in (0.0, 1.0):
        made = readings(
            corpus, corpus.train, tokenizer=tiny_model()[1], prompt=PROMPT, count=2000, alone=alone, max_tokens=999
        )
        assert len(made) == len(corpus.train)
        prompts = [row.turns[-2]["content"] for row in made]
        assert not any(sentence in prompt for sentence in forbidden for prompt in prompts)


@pytest.fixture
def base(tmp_path):
    model, tokenizer = tiny_model(layers=4)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


def test_the_reader_is_a_peft_folder_with_the_same_logits_and_a_card(tmp_path, base):
    config = ReaderConfig(steps=3, batch_size=4, layers=2, rank=4, validation=4, max_tokens=400, prompt=PROMPT)
    data = write(tmp_path / "data", 200)
    shown = []
    folder = train_reader(
        data, tmp_path / "out", base, config,
        score=lambda answer, right: float(len(answer) > 0), progress=lambda step, _: shown.append(step),
    )  # fmt: skip
    assert shown == [3]
    model, tokenizer = tiny_model(layers=4)
    corpus = read_corpus(data)
    made = {"tokenizer": tokenizer, "prompt": PROMPT, "max_tokens": 400}
    rows = readings(corpus, corpus.train, count=12, **made)
    spec = spec_for(model, base, last=2)
    trainer = ReaderTrainer(
        model.requires_grad_(False), spec, train=rows, validation=rows[:1], config=config, out=tmp_path / "out"
    )
    assert trainer.resume() and trainer.step == 3
    adapter = import_peft(folder, spec=spec)
    ids = torch.tensor([rows[0].prompt])
    logits = []
    for one in (None, adapter, trainer.adapter()):
        with torch.no_grad(), inject(model, one):
            logits.append(model(ids).logits)
    assert torch.equal(logits[1], logits[2]) and not torch.equal(logits[0], logits[1])

    card = (folder / "README.md").read_text(encoding="utf-8")
    measured = json.loads((folder / "atom.json").read_text(encoding="utf-8"))["provenance"]["training"]["validation"]
    assert [(one["text"], one["system"]) for one in measured] == [
        (text, system) for text in ("gold sentence", "among others") for system in ("base", "reader")
    ]
    assert all(f"{one['nll']:.3f}" in card and 0.0 <= one["score"] <= 1.0 for one in measured)
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in log] == [("validation", 0), ("train", 3), ("validation", 3)]


def test_too_little_data_says_what_is_missing(tmp_path, base):
    data = write(tmp_path / "data", 2)
    with pytest.raises(TrainingError, match="0 to validate on"):
        train_reader(data, tmp_path / "out", base)
