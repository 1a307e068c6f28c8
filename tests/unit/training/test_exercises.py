import random

import pytest
import torch

from parametric_memory.config import PromptConfig
from parametric_memory.errors import TrainingError
from parametric_memory.testing import tiny_model
from parametric_memory.training.batches import collate
from parametric_memory.training.completions import MAX_WORDS, completions
from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.training.exercises import exercises
from parametric_memory.training.rivals import rivals
from parametric_memory.training.wordings import conversation

PROMPT = PromptConfig(system="")
ADA, TEA, BOB, RAIN = "Ada has desk 4.", "Ada likes tea.", "Bob has desk 5.", "It rains."


def place(corpus, atom, answer):
    begin = corpus.texts[atom].index(answer)
    return Place(atom, begin, begin + len(answer))


@pytest.fixture
def corpus():
    made = Corpus()
    made.add([ADA, TEA, RAIN], "Desks")
    made.add([BOB], "")
    made.train = [
        Example("Which desk has Ada?", "4", (0,), (place(made, 0, "4"),)),
        Example("Which desk has Bob?", "5", (3,), (place(made, 3, "5"),)),
        Example("Is Ada fond of tea at her desk?", "yes", (0, 1)),
        Example("Which desk has Cid?", "", (), look_alikes=(0, 3)),
    ]
    return made


@pytest.fixture
def made(corpus):
    return exercises(corpus, corpus.train, tokenizer=tiny_model()[1], prompt=PROMPT, varied=False)


def batch(made, numbers, **options):
    return collate(made, numbers, rng=random.Random(0), **{"distractors": (2,), **options})


def ids_of(b):
    flat = b.window_ids.flatten()
    return flat[b.places.clamp(min=0)].flatten()


def test_labels_point_at_the_answers_tokens(made):
    b, tokenizer = batch(made, [0, 1]), tiny_model()[1]
    for row, answer in enumerate("45"):
        spoken = ids_of(b)[b.routes[row][b.inside[row, :-1]]]
        assert tokenizer.decode(spoken).strip() == answer
        assert b.start[row].sum() == 1 and b.spanned[row] and not b.unanswered[row]


def test_evidence_is_all_of_the_atoms_that_answer(made):
    b, tokenizer = batch(made, [0, 2]), tiny_model()[1]
    texts = [tokenizer.decode(ids_of(b)[b.routes[row][b.evidence[row, :-1]]]) for row in (0, 1)]
    assert texts[0].strip() == ADA
    assert sorted(texts[1].strip()) == sorted(f"{ADA} {TEA}")
    assert b.several.tolist() == [False, True]
    assert not b.spanned[1], "an answer that is no span has no span to learn"


def test_what_is_predicted_are_the_answers_tokens_and_the_end_of_the_turn(made):
    b = batch(made, [0])
    predicted = b.targets[0][b.targets[0] >= 0].tolist()
    assert predicted == made.items[0].answer
    assert int((b.targets[0] >= 0).nonzero()[0]) == len(made.items[0].prompt) - 1


def test_a_question_that_nothing_answers_meets_what_looks_like_an_answer(made):
    b = batch(made, [3], distractors=(0,))
    assert b.unanswered.all() and (b.targets == -100).all() and b.inside[0, -1] and b.start[0, -1]
    assert tiny_model()[1].decode(ids_of(b)[b.routes[0]]).strip() in {ADA, BOB}


def test_rows_without_their_own_atom_are_labelled_as_unanswered(made):
    b = batch(made, [0, 1, 2], distractors=(1,), nothing=1.0)
    assert b.unanswered.all() and (b.targets == -100).all()


def test_rows_keep_their_own_atoms_where_there_is_no_other(made):
    assert not batch(made, [0], distractors=(0,), nothing=1.0).unanswered.any()


def test_distractors_are_rivals_first(corpus, made):
    tokenizer = tiny_model()[1]
    for seed in range(5):
        b = collate(made, [0], rng=random.Random(seed), distractors=(2,))
        route = tokenizer.decode(ids_of(b)[b.routes[0]])
        assert ADA in route and TEA in route and RAIN in route


def test_atoms_by_themselves_are_read_without_their_neighbours(corpus):
    tokenizer = tiny_model()[1]
    apart = exercises(corpus, corpus.train, tokenizer=tokenizer, prompt=PROMPT, contextual=False)
    read = [tokenizer.decode(window.ids) for window in apart.windows]
    assert any(TEA in text and "Desks" in text and ADA not in text for text in read)
    together = exercises(corpus, corpus.train, tokenizer=tokenizer, prompt=PROMPT)
    assert any(
        TEA in tokenizer.decode(window.ids) and ADA in tokenizer.decode(window.ids) for window in together.windows
    )


def test_examples_with_atoms_that_are_too_long_are_left_out(corpus):
    made = exercises(corpus, corpus.train, tokenizer=tiny_model()[1], prompt=PROMPT, max_atom=len(RAIN) + 1)
    assert not len(made)


def test_the_digest_tells_other_exercises_from_these(corpus, made):
    fewer = exercises(corpus, corpus.train[:2], tokenizer=tiny_model()[1], prompt=PROMPT, varied=False)
    again = exercises(corpus, corpus.train, tokenizer=tiny_model()[1], prompt=PROMPT, varied=False)
    assert fewer.digest != made.digest == again.digest


def test_rivals_share_words_with_the_question_and_not_the_answer(corpus):
    found = rivals(corpus, corpus.train, among=range(4))
    assert found[corpus.train[0]] == [3, 1], "Bob's desk, then Ada's tea"
    assert 0 not in found[corpus.train[0]]
    spoken = Example('Which "desk" OR NEAR( has - Ada?', "4", (0,))
    assert rivals(corpus, [spoken], among=range(4))[spoken], "nothing in a question is a query language"


def test_a_completion_gives_a_beginning_and_asks_for_what_follows(corpus):
    text = "The lighthouse of Oru was built in 1842 by two sisters from the town of Tarvel, who lived in it until 1870."
    atom = corpus.add([text], "")[0]
    (one,) = completions(corpus, [atom])
    (where,) = one.places
    assert text[where.begin : where.end] == one.answer and len(one.answer.split()) <= MAX_WORDS
    given = text[: where.begin].rstrip()
    assert given in one.question and one.golds == (atom,)
    assert completions(corpus, [atom]) == [one], "the same every time"
    assert completions(corpus, [2]) == [], "too short to be cut"


def test_most_questions_are_put_as_at_inference_and_each_always_the_same_way():
    put = [conversation(PROMPT, "Who?", key=str(number)) for number in range(400)]
    usual = sum(turns == PROMPT.conversation("Who?") for turns in put)
    assert 240 < usual < 330
    assert put == [conversation(PROMPT, "Who?", key=str(number)) for number in range(400)]
    assert all("Who?" in [turn["content"] for turn in turns if turn["role"] == "user"][-1] for turns in put)


def test_a_corpus_comes_back_from_its_file(corpus, tmp_path):
    corpus.validation = corpus.train[:1]
    corpus.save(tmp_path / "corpus.json.gz")
    again = Corpus.load(tmp_path / "corpus.json.gz")
    assert (again.texts, again.documents, again.contexts) == (corpus.texts, corpus.documents, corpus.contexts)
    assert again.train == corpus.train and again.validation == corpus.validation
    (tmp_path / "broken.json.gz").write_bytes(b"no")
    with pytest.raises(TrainingError, match="pmem train corpus"):
        Corpus.load(tmp_path / "broken.json.gz")


def test_tensors_are_padded_to_the_longest(made):
    b = batch(made, [0, 1, 2, 3])
    assert b.ids.shape == b.mask.shape == b.targets.shape
    assert (b.routes[0] == -1).any() or (b.routes[1] == -1).any()
    assert torch.equal(b.mask.sum(dim=1), torch.tensor([len(made.items[n]) for n in b.numbers]))
