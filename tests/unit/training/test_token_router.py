from __future__ import annotations

import json
import math
import random

import pytest
import torch

from parametric_memory.adapters.spec import fingerprint
from parametric_memory.errors import CheckpointError, TrainingError
from parametric_memory.routing.span_router import begin, load_token_router
from parametric_memory.routing.spans import SpanScores, pairs_of
from parametric_memory.testing.doubles import tiny_encoder
from parametric_memory.training import TokenRouterConfig, train_token_router
from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.training.pairings import Pairing, Pairings, span_terms
from parametric_memory.training.token_router_loop import TokenRouterTrainer

COLOURS = ["red", "blue", "new", "old"]
SMALL = {"steps": 4, "batch_size": 4, "warmup": 1, "evaluate_every": 2, "log_every": 1, "validation": 4, "frozen": 1}


def rows(count, *, title="Halls"):
    for number in range(count):
        colour, other = COLOURS[number % 4], COLOURS[(number + 1) % 4]
        document = (
            f"The router of hall {number} is {colour}. The office of hall {number} opens at nine. It was {other}."
        )
        question = f"Which router is in hall {number}?"
        yield {"title": f"{title} {number}", "document": document, "question": question, "answers": [colour]}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def corpus():
    made = Corpus()
    for number in range(8):
        colour = COLOURS[number % 4]
        texts = [f"The router {number} is {colour}.", f"The office {number} opens at nine.", "Which is it?"]
        atoms = made.add(texts, f"Hall {number}")
        begins = texts[0].index(colour)
        place = Place(atoms[0], begins, begins + len(colour))
        made.train.append(Example(f"Which router is {number}?", colour, (atoms[0],), (place,)))
    atoms = made.add(["Nothing is said of doors.", "The office is blue."], "Doors")
    made.train.append(Example("Which doors are open?", "", (), look_alikes=(atoms[0],)))
    made.train.append(Example("Is it blue?", "yes", (atoms[1],)))
    return made


@pytest.fixture
def pairings(corpus, encoder):
    return Pairings(corpus, corpus.train, begin(encoder, frozen=1)[1])


def test_the_right_span_is_that_of_the_answers_words(pairings, corpus):
    for pairing, example in zip(pairings.draw(range(8), random.Random(0), others=2), corpus.train[:8], strict=True):
        [gold], [(number, (first, last))] = pairing.golds, pairing.answers.items()
        assert number == gold and len(pairing.pairs) == 3
        spans = pairing.pairs[gold].spans
        text = corpus.texts[example.golds[0]]
        assert text[spans[first].start : spans[last].end] == example.answer
        target = pairing.target(40)
        assert int(target.sum()) == 1 and bool(target[gold, first, last])


def test_what_says_nothing_word_for_word_is_right_anywhere_in_its_atoms(pairings):
    [pairing] = pairings.draw([9], random.Random(0), others=1)
    target = pairing.target(30)
    assert not pairing.answers
    assert bool(target[pairing.golds[0]].all()) and int(target.any(dim=(1, 2)).sum()) == 1


def test_other_atoms_never_say_the_answer_and_those_that_answer_may_be_left_out(pairings, encoder):
    tokenizer = begin(encoder, frozen=0)[1]
    drawn = [pairings.draw(range(8), random.Random(n), others=4, nothing=0.5)[0] for n in range(40)]
    assert all(len(pairing.pairs) == 4 + len(pairing.golds) for pairing in drawn)
    assert 8 < sum(not pairing.golds for pairing in drawn) < 32
    for pairing in drawn:
        for number, pair in enumerate(pairing.pairs):
            said = tokenizer.decode(pair.ids[pair.first :]).split()
            assert ("red" in said) == (number in pairing.golds)


def test_neighbours_come_first_where_they_are_wanted(pairings, corpus):
    for number, pairing in enumerate(pairings.draw(range(8), random.Random(0), others=2, near=1.0)):
        own = corpus.texts[3 * number : 3 * number + 3]
        assert sorted(pair.spans[-1].end for pair in pairing.pairs) == sorted(map(len, own))


def test_a_question_that_nothing_answers_is_read_with_what_does_not(pairings):
    [pairing] = pairings.draw([8], random.Random(0), others=0)
    assert len(pairing.pairs) == 1 and pairing.golds == ()


def test_a_question_can_be_changed_so_that_nothing_answers_it_though_the_same_atoms_are_read(pairings, corpus, encoder):
    tokenizer = begin(encoder, frozen=0)[1]
    plain, changed = (pairings.draw(range(8), random.Random(0), others=2, near=1.0, twists=share) for share in (0, 1))
    for number, (one, other) in enumerate(zip(plain, changed, strict=True)):
        assert one.golds and not other.golds and not other.answers
        said = [sorted(tokenizer.decode(pair.ids[pair.first :]) for pair in pairing.pairs) for pairing in (one, other)]
        assert said[0] == said[1]
        asked = [tokenizer.decode(pairing.pairs[0].ids[: pairing.pairs[0].kinds.index(1)]) for pairing in (one, other)]
        assert str(number) in asked[0] and asked[0] != asked[1]


def test_what_is_no_span_is_not_changed(pairings):
    [pairing] = pairings.draw([9], random.Random(0), others=1, twists=1.0)
    assert pairing.golds


def test_a_further_hop_is_asked_with_the_names_of_atoms_that_lead_there_and_now_and_then_of_others(
    encoder, monkeypatch
):
    corpus, asked = Corpus(), []
    texts = ["Low was made by Nate Watt.", "The director was born in Denver.", "Up is a film of Pete Docter."]
    told, said, _ = corpus.add(texts, "Films")
    place = Place(said, texts[1].index("Denver"), texts[1].index("."))
    question = "Where was the director of Low born?"
    corpus.train += [Example(question, "Denver", golds, (place,)) for golds in [(told, said), (said,)]]
    pairings = Pairings(corpus, corpus.train, begin(encoder, frozen=1)[1])
    assert [pairings.leading(example) for example in corpus.train] == [[told], []]

    def spy(tokenizer, question, *atoms):
        asked.append(question)
        return pairs_of(tokenizer, question, *atoms)

    monkeypatch.setattr("parametric_memory.training.pairings.pairs_of", spy)
    for number, share in [(0, 0.0), (0, 1.0), *[(1, 1.0)] * 60]:
        [pairing] = pairings.draw([number], random.Random(len(asked)), others=1, near=1.0, hops=share)
        assert len(pairing.golds) == 2 - number and len(pairing.answers) == 1
    assert asked[:2] == [question, f"{question} Films Nate Watt"]
    misled = [each for each in asked[2:] if each != question]
    assert 3 < len(misled) < 25 and set(misled) <= {f"{question} Films Nate Watt", f"{question} Films Pete Docter"}


def test_the_loss_is_that_of_the_right_spans_and_rates_count_what_is_most_probable():
    scores = torch.full((3, 2, 2), -1e4)
    scores[0, 0, 1], scores[1, 0, 0], scores[2, 1, 1] = 2.0, 1.0, -3.0
    pair = None
    rows = [Pairing([pair, pair], (0,), {0: (0, 1)}), Pairing([pair], (), {})]
    terms = span_terms(SpanScores(scores), rows)
    first = math.log(math.e**2 + math.e + 1) - 2.0
    second = math.log(math.e**-3 + 1)
    assert float(terms["nll"]) == pytest.approx((first + second) / 2, rel=1e-5)
    assert {name: float(value) for name, value in terms.items() if name != "nll"} == {
        "hit": 1.0, "start": 1.0, "atom": 1.0, "still": 1.0,
    }  # fmt: skip
    wrong = span_terms(SpanScores(scores), [Pairing([pair, pair], (1,), {1: (0, 0)}), Pairing([pair], (0,), {})])
    assert float(wrong["hit"]) == float(wrong["start"]) == 0.0
    assert float(wrong["atom"]) == 0.5
    assert math.isnan(float(wrong["still"]))


@pytest.fixture
def make_trainer(pairings, encoder, tmp_path):
    def make(out="run", **settings):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network, _ = begin(encoder, frozen=1)
        config = TokenRouterConfig(**{**SMALL, **settings})
        return TokenRouterTrainer(network, pairings, pairings, config, tmp_path / out)

    return make


def test_a_fifth_of_the_documents_may_be_left_out(encoder, tmp_path):
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(120)), encoding="utf-8")
    asked = []
    for reserve in (False, True):
        config = TokenRouterConfig(**SMALL, synthetic=0, reserve=reserve)
        folder = train_token_router(tmp_path, tmp_path / str(reserve), str(encoder), config)
        asked.append(json.loads((folder / "config.json").read_text())["training"]["questions"])
    assert 0.6 * asked[0] < asked[1] < 0.95 * asked[0]


def test_it_learns_to_find_the_answer(make_trainer):
    trainer = make_trainer(steps=80, learning_rate=3e-3, nothing=0.0, twists=0.0, others=(1,))
    before = trainer.validated()
    trainer.run()
    after = trainer.validated()
    assert after["nll_alone"] < 0.7 * before["nll_alone"]
    assert after["hit_alone"] > before["hit_alone"]


def test_the_lowest_layers_stay_as_they_were(make_trainer):
    trainer = make_trainer(learning_rate=1e-2)
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    trainer.run()
    for name, tensor in trainer.network.state_dict().items():
        frozen = "embeddings" in name or "layer.0." in name
        assert torch.equal(tensor, before[name]) == frozen, name


def test_a_stopped_run_goes_on_exactly_where_it_was(make_trainer):
    whole = make_trainer("whole")
    whole.begin()
    whole.run()
    stopped = make_trainer("stopped")
    stopped.begin()
    one_step = stopped._one_step

    def step_or_stop(numbers):
        if stopped.step == 2:
            raise KeyboardInterrupt
        return one_step(numbers)

    stopped._one_step = step_or_stop
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    stopped.save()
    again = make_trainer("stopped")
    assert again.resume() and again.step == 2
    again.run()
    for name, tensor in whole.network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], tensor, rtol=0, atol=0)
    with pytest.raises(CheckpointError, match="other settings"):
        make_trainer("stopped", learning_rate=1.0).resume()


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "halls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(120)))
    return folder


def test_the_router_is_a_folder_with_a_card_that_reads_as_the_trained_network(data, encoder, tmp_path):
    config = TokenRouterConfig(**SMALL, synthetic=0)
    folder = train_token_router(data, tmp_path / "out", str(encoder), config)
    assert folder == tmp_path / "out" / "router"
    card = (folder / "README.md").read_text()
    assert "4 steps of 4 questions" in card and "| those that answer |" in card and "nan" not in card
    written = json.loads((folder / "config.json").read_text())
    assert written["fingerprint"] == fingerprint(begin(encoder, frozen=0)[0].encoder)
    assert written["training"]["config"]["steps"] == 4
    assert load_token_router(folder, encoder).read("Which?", []).nothing == 1.0
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert kinds.count("validation") == 3 and kinds.count("train") == 4
    further = train_token_router(data, tmp_path / "more", str(encoder), config, init=folder)
    assert load_token_router(further, encoder).name != load_token_router(folder, encoder).name


def test_too_little_data_says_what_is_missing(tmp_path, encoder):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "one.jsonl").write_text(json.dumps(next(rows(1))) + "\n")
    with pytest.raises(TrainingError, match="add documents"):
        train_token_router(folder, tmp_path / "out", str(encoder), TokenRouterConfig(**SMALL, synthetic=0))
