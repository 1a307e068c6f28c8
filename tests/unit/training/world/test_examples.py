"""Worlds as training examples and as rows of a file."""

import pytest

from parametric_memory.training.corpus import Corpus
from parametric_memory.training.data import Source, read_corpus
from parametric_memory.training.world import add_world, world_rows, write_rows

KEYS = {"doc_id", "title", "document", "question", "answers", "answerable", "dataset", "split", "kind", "form"}


@pytest.fixture(scope="module")
def corpus():
    made = Corpus()
    assert add_world(made, questions=1500, seed=8) == 1500
    return made


def test_a_world_fills_training_and_validation(corpus):
    assert (len(corpus.train), len(corpus.validation)) == (1425, 75)


def test_validation_shares_no_document_with_training(corpus):
    train, validation = (
        {corpus.document_of[atom] for one in examples for atom in (*one.golds, *one.look_alikes)}
        for examples in (corpus.train, corpus.validation)
    )
    assert train and validation and not train & validation


def test_places_of_examples_are_exactly_the_answers(corpus):
    placed = [(one, place) for one in (*corpus.train, *corpus.validation) for place in one.places]
    assert len(placed) > 1000
    for example, place in placed:
        assert place.atom in example.golds
        assert corpus.texts[place.atom][place.begin : place.end] == example.answer


def test_an_example_has_golds_exactly_if_it_has_an_answer(corpus):
    for example in (*corpus.train, *corpus.validation):
        assert bool(example.golds) == bool(example.answer)
        assert not set(example.golds) & set(example.look_alikes)
        assert example.golds == tuple(sorted(example.golds)) and example.anchor >= 0


def test_rows_can_be_trained_on_as_a_file(tmp_path):
    rows = list(world_rows(3, 400, "train"))
    assert all(row.keys() == KEYS for row in rows)
    assert write_rows(tmp_path / "deep" / "world.train.jsonl.gz", rows) == len(rows) == 400
    corpus = read_corpus(tmp_path / "deep", {"world.train": Source(400)})
    spans = [row for row in rows if row["answers"] and row["form"] != "yes_no"]
    assert len(corpus.train) + len(corpus.validation) >= len(spans)


def test_rows_of_one_document_share_its_id():
    rows = list(world_rows(3, 400, "dev"))
    assert len({row["doc_id"] for row in rows}) == len({(row["title"], row["document"]) for row in rows}) > 20
