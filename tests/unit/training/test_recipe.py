import json
import random
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace

import pytest
import torch

from parametric_memory.errors import CheckpointError, TrainingError
from parametric_memory.hypernetwork.checkpoint import load_checkpoint
from parametric_memory.hypernetwork.network import unmeasured
from parametric_memory.testing import tiny_model
from parametric_memory.training import (
    ReaderConfig,
    Stage,
    TrainingConfig,
    Weights,
    estimate,
    prepare,
    recipe,
    train_hypernetwork,
    train_reader,
)
from parametric_memory.training.batches import collate
from parametric_memory.training.corpus import Corpus, Example

STAGES = (
    Stage(name="gates", steps=2, weights=Weights(span=1.0, atoms=0.5), distractors=(0, 1)),
    Stage(name="answers", steps=3, weights=Weights(nll=1.0, span=0.3, teacher=0.1), completions=0.25),
)
CONFIG = TrainingConfig(
    steps=None, stages=STAGES, synthetic=0, batch_size=4, layers=2, width=16, warmup=1, log_every=1, evaluate_every=5
)
ROW = {"document": "{0} lives in Delft with six cats and a dog. It is {1}.", "answers": ["Delft"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a folder of questions and a tiny base model on disk."""
    root = tmp_path_factory.mktemp("recipe")
    (root / "data").mkdir()
    names = [f"Person{number}" for number in range(60)]
    rows = [
        {"document": ROW["document"].format(name, n), "question": f"Where does {name} live?", "answers": ROW["answers"]}
        for n, name in enumerate(names)
    ]
    (root / "data" / "mine.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    model, tokenizer = tiny_model(layers=4)
    model.save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    return root / "data", str(root / "base")


def test_a_folder_of_questions_becomes_a_checkpoint_in_one_call(folders, tmp_path):
    data, base = folders
    seen = []
    folder = train_hypernetwork(
        data, tmp_path, base, CONFIG, score=lambda *_: 0.5, progress=lambda step, _: seen.append(step)
    )
    checkpoint = load_checkpoint(folder)
    assert seen == [1, 2, 3, 4, 5]
    assert checkpoint.network.config.width == 16 and checkpoint.training["validation"]["greedy"]["alone"] == 0.5
    assert "gates (2), answers (3)" in (folder / "README.md").read_text()


def test_a_run_begins_with_the_weights_of_a_checkpoint(folders, tmp_path):
    data, base = folders
    first = train_hypernetwork(data, tmp_path / "first", base, CONFIG)
    run = prepare(data, tmp_path / "second", base, CONFIG, init=first)
    run.begin()
    expected = load_checkpoint(first).network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in run.trainer.network.state_dict().items())
    assert all(parameter.requires_grad for parameter in run.trainer.network.parameters())
    made = load_checkpoint(recipe.write_checkpoint(run, tmp_path / "made"))
    assert made.training["init"] == made.digest == load_checkpoint(first).digest
    widened = prepare(data, tmp_path / "widened", base, replace(CONFIG, question_words=True), init=first)
    assert widened.trainer.network.config.question_words
    assert torch.equal(widened.trainer.network.read.weight, expected["read.weight"])
    ended = prepare(data, tmp_path / "ended", base, replace(CONFIG, ends=True, gates="told"), init=first)
    assert ended.trainer.network.config.ends
    assert torch.equal(ended.trainer.network.key, expected["key"])
    deeper = replace(
        CONFIG,
        layers=CONFIG.layers + 1,
        gate_layers=0,
        gates="told",
        stages=(Stage(name="saying", steps=3, weights=Weights(nll=1.0)),),
    )
    more = prepare(data, tmp_path / "deeper", base, deeper, init=first)
    assert unmeasured(more.trainer.network) == [0]
    more.begin()
    assert unmeasured(more.trainer.network) == [] and torch.equal(more.trainer.network.key[1:], expected["key"])
    assert torch.equal(more.trainer.network.probe[0], torch.zeros_like(expected["probe"][0]))
    assert more.trainer.try_step(0) > 0
    with pytest.raises(CheckpointError, match="same base model, layers and width"):
        prepare(data, tmp_path / "third", base, replace(CONFIG, width=32), init=first)


@pytest.mark.parametrize("gates", ["own", "told", "router"])
def test_ranks_are_weighed_by_what_the_settings_say(folders, tmp_path, gates):
    data, base = folders
    trainer = prepare(data, tmp_path, base, replace(CONFIG, gates=gates)).trainer
    for lessons, frozen in ((trainer.lessons.exercises, trainer.frozen), trainer.validation):
        batch = collate(lessons, [0, 1], rng=random.Random(0), distractors=(1,))
        given = frozen.read(batch).gates
        assert (given is None) == (gates == "own")
        if given:
            assert given.inside.shape == given.start.shape == given.after.shape == batch.inside.shape
            sure = given.inside.exp()[batch.inside].mean()
            assert float(sure) == 1.0 if gates == "told" else 0.3 < float(sure) < 1.0
    assert trainer.try_step(trainer.config.total_steps - 1) > 0


def test_a_sample_of_whole_documents_has_all_their_questions_but_those_of_the_last():
    corpus = Corpus()
    for number in range(20):
        atom = corpus.add([f"Hall {number} is red.", f"Hall {number} is old."], "").start
        corpus.train += [Example(f"{word} {number}?", "red", (atom + word % 2,)) for word in range(4)]
    drawn = recipe.some_together(corpus, corpus.train, 18, seed=1)
    asked = Counter(corpus.document_of[example.anchor] for example in drawn)
    assert sorted(asked.values()) == [2, 4, 4, 4, 4]
    assert drawn == [example for example in corpus.train if example in drawn]
    assert drawn == recipe.some_together(corpus, corpus.train, 18, seed=1)
    assert drawn != recipe.some_together(corpus, corpus.train, 18, seed=2)
    assert recipe.some_together(corpus, corpus.train, None, seed=1) == corpus.train


def test_some_documents_are_kept_from_token_routers_for_what_is_trained_on_what_they_find(folders, tmp_path):
    corpus = Corpus()
    for number in range(200):
        atom = corpus.add([f"It is hall {number}.", "It is old."], f"Hall {number}").start
        corpus.train += [Example(f"{word} {number}?", str(number), (atom,)) for word in ("Which", "What")]
    kept = [example for example in corpus.train if recipe.is_reserved(corpus, example)]
    assert 40 < len(kept) < 130 and len(kept) % 2 == 0
    data, base = folders
    whole, reserved = (
        prepare(data, tmp_path / str(only), base, replace(CONFIG, reserved=only)).trainer.lessons.exercises
        for only in (False, True)
    )
    assert 0 < len(reserved) < len(whole)


def test_a_card_says_how_many_steps_there_were(folders, tmp_path):
    data, base = folders
    folder = train_hypernetwork(data, tmp_path, base, replace(CONFIG, steps=4))
    assert "Trained for 4 steps" in (folder / "README.md").read_text()
    assert "gates (2), answers (2)" in (folder / "README.md").read_text()


def test_a_token_router_that_is_not_there_is_a_clear_error(folders, tmp_path, monkeypatch):
    data, base = folders
    monkeypatch.setattr(recipe, "shipped_token_router", lambda _: None)
    with pytest.raises(TrainingError, match="pmem train router"):
        prepare(data, tmp_path, base, replace(CONFIG, gates="router"))


def test_an_estimate_measures_every_stage(folders, tmp_path):
    data, base = folders
    found = estimate(prepare(data, tmp_path, base, CONFIG))
    assert [(stage.name, stage.steps) for stage in found.stages] == [("gates", 2), ("answers", 3)]
    assert found.seconds == pytest.approx(sum(stage.steps * stage.seconds for stage in found.stages))
    assert found.memory > 0 and found.parameters > 10_000 and found.exercises > 50
    assert not (tmp_path / "checkpoint").exists() and not (tmp_path / "resume.pt").exists()


def test_an_estimate_leaves_an_earlier_run_as_it_is(folders, tmp_path):
    data, base = folders
    train_hypernetwork(data, tmp_path, base, CONFIG)
    kept = {path: path.read_bytes() for path in (tmp_path / "log.jsonl", tmp_path / "resume.pt")}
    estimate(prepare(data, tmp_path, base, CONFIG))
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert any((tmp_path / "tensorboard").iterdir())


def test_data_without_questions_is_refused_by_what_it_needs(folders, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "mine.jsonl").write_text(json.dumps({"document": "It rains.", "question": "Who?", "answers": ["Zed"]}))
    with pytest.raises(TrainingError, match="add documents with questions"):
        train_hypernetwork(data, tmp_path / "out", folders[1], CONFIG)


def test_two_processes_share_a_run_and_stay_equal(folders, tmp_path):
    data, base = folders
    script = tmp_path / "both.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, torch
        from pathlib import Path
        sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
        from test_recipe import CONFIG
        from parametric_memory.training import prepare
        run = prepare(Path({str(data)!r}), Path({str(tmp_path)!r}) / "out", {base!r}, CONFIG)
        run.begin()
        run.trainer.run()
        weights = torch.cat([p.flatten() for p in run.trainer.network.parameters()]).detach()
        rank = run.trainer.accelerator.process_index
        numbers = [run.trainer.lessons[0].numbers, len(run.trainer.lessons.numbers(0))]
        torch.save([weights, numbers], Path({str(tmp_path)!r}) / f"weights{{rank}}.pt")
        """)
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (first, numbers), (second, others) = (torch.load(tmp_path / f"weights{rank}.pt") for rank in (0, 1))
    assert torch.equal(first, second), "gradients are shared"
    assert not set(numbers[0]) & set(others[0]) and len(numbers[0]) + len(others[0]) == numbers[1] == 4


def test_training_needs_no_more_than_a_bare_machine_has(folders, tmp_path):
    """A machine with torch and transformers alone trains on a corpus that another one has read."""
    from parametric_memory.training.data import read_corpus

    data, base = folders
    read_corpus(data).save(tmp_path / "corpus.json.gz")
    script = textwrap.dedent(f"""
        import sys
        absent = {{"syntok", "sqlalchemy", "chromadb", "pydantic", "tensorboard", "gguf", "sklearn", "scipy", "peft",
                  "sentence_transformers", "semantic_text_splitter", "langchain_core", "matplotlib"}}
        sys.modules.update(dict.fromkeys(absent))  # None: an import fails as if it were not installed
        sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
        from pathlib import Path
        from test_recipe import CONFIG
        from parametric_memory.training import train_hypernetwork
        folder = Path({str(tmp_path)!r})
        train_hypernetwork(folder / "corpus.json.gz", folder / "out", {base!r}, CONFIG)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "checkpoint" / "model.safetensors").exists()


def test_a_reader_teaches_when_a_recipe_names_one(folders, tmp_path):
    data, base = folders
    reader = train_reader(data, tmp_path / "tuned", base, ReaderConfig(steps=1, batch_size=2, layers=2, rank=2))
    config = replace(CONFIG, teacher=str(reader))
    own, tuned = (prepare(data, tmp_path / name, base, one) for name, one in (("own", CONFIG), ("other", config)))
    assert not torch.equal(own.trainer.teacher.tell([0]).shares, tuned.trainer.teacher.tell([0]).shares)
    shared = tmp_path / "shared"
    kept = [prepare(data, tmp_path / "third", base, one, cache=shared) for one in (CONFIG, config)]
    assert not torch.equal(*(run.trainer.teacher.tell([0]).shares for run in kept)), "not what the other one told"
