from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from parametric_memory.evaluation.bench.synthetic import World, questions_of


@pytest.fixture(scope="module")
def world() -> World:
    return World(0, dim=64)


def test_an_article_depends_on_its_number_and_the_seed_alone(world):
    world.article(3)
    again, other = World(0, dim=64).article(7), World(1, dim=64).article(7)
    assert world.article(7).document == again.document
    np.testing.assert_array_equal(world.article(7).keys[5].vector, again.keys[5].vector)
    assert other.document.text != again.document.text and other.document.id != again.document.id


def test_atoms_stand_where_their_spans_say_and_have_ids_of_their_own(world):
    article = world.article(1)
    assert all(atom.span.of(article.document.text) == atom.text for atom in article.atoms)
    assert len({atom.id for atom in article.atoms}) == len(article.atoms) == 100


def test_keys_have_norm_one_and_gather_around_their_document(world):
    def vectors(number):
        return np.stack([key.vector for key in world.article(number).keys])

    one, same_topic, far = vectors(0), vectors(1), vectors(100)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1.0, atol=1e-5)
    within = (one @ one.T)[np.triu_indices(len(one), 1)].mean()
    assert within > 0.35 > (one @ same_topic.T).mean() > 0.1 > abs((one @ far.T).mean())


def test_words_are_as_common_as_in_a_natural_language(world):
    texts = " ".join(world.article(number).document.text for number in range(20)).lower()
    counts = Counter(re.findall(r"\w+", texts))
    total = sum(counts.values())
    assert counts.most_common(1)[0][0] == "the" and 0.04 < counts["the"] / total < 0.07
    # Heaps: most words of a text are rare.
    assert sum(count == 1 for count in counts.values()) > len(counts) / 3


def test_a_question_has_rare_words_of_its_atom_and_a_key_that_finds_it(world):
    articles = [world.article(number) for number in range(5)]
    atoms = {atom.id: atom for article in articles for atom in article.atoms}
    keys = [key for article in articles for key in article.keys]
    found = 0
    for query in questions_of(world, articles, 20):
        best = max(keys, key=lambda key: float(key.vector @ query.vector))
        shared = set(query.text.lower().strip("?").split()) & set(atoms[best.atom_id].text.lower().strip(".").split())
        found += len(shared) >= 3
    assert found >= 18
