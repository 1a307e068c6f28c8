"""Synthetic knowledge of the real shape: documents, atoms, keys, codes and questions, all from a seed.

Words come from one vocabulary with the frequencies of a natural language (Zipf), the commonest being English's, so that
full-text search has as much to do as in real texts. Keys gather around their document and its topic. Codes are those
of some synthetic atoms that were compiled, over and over: the bytes are real, what they say is not.

The surprise: document ``i`` depends on the seed and on ``i`` alone, so a store can be grown in any number of runs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from parametric_memory.types import Atom, AtomKey, AtomKind, Document, Query, Span, stable_id

Vector: TypeAlias = NDArray[np.float32]

#: Atoms of a synthetic document: an article of some 2,500 tokens.
ATOMS = 100
#: Articles from this number on are in no grown store.
UNSEEN = 10**9
_VOCABULARY = 60_000
#: Documents that share a topic.
_TOPIC = 20
#: English's commonest words by frequency: in real texts, too, these are what full-text search meets everywhere.
_COMMON = tuple(
    re.findall(
        r"\w+",
        "the of and in to a is was for as on by with that from at his it an were are which be this had also he or has "
        "its first their not one but after who they new two been her other when during all into there time may more up "
        "out many she no some most only over",
    )
)
_ONSETS = re.findall(r"\w+", "b bl br c ch cr d dr f fl g gr h j k l m n p pl pr qu r s sh sl st t th tr v w z")
_VOWELS = re.findall(r"\w+", "a e i o u ai ea ee ia oo ou")
_ENDS = ("", "", "n", "r", "s", "l", "t", "nd", "rd", "m", "ck", "st")


@dataclass(frozen=True, slots=True)
class Article:
    """A synthetic document with its atoms and their keys."""

    document: Document
    atoms: tuple[Atom, ...]
    keys: tuple[AtomKey, ...]


class World:
    """A world of synthetic articles, the same for the same seed.

    Args:
        seed: Of everything.
        dim: Length of a key.
    """

    def __init__(self, seed: int, *, dim: int) -> None:
        self._seed, self._dim = seed, dim
        self._words = np.array(_vocabulary(seed))
        # Zipf-Mandelbrot: the commonest word is one word in seventeen, as "the" is in English.
        frequency = 1.0 / (np.arange(len(self._words)) + 1.5)
        self._cumulative = np.cumsum(frequency / frequency.sum())
        self._cumulative[-1] = 1.0  # whatever rounding has made of it

    def article(self, number: int, *, atoms: int = ATOMS) -> Article:
        """Return an article."""
        rng = np.random.default_rng([self._seed, 1, number])
        title = " ".join(word.capitalize() for word in self._content(rng, 2))
        sentences = [self._sentence(rng) for _ in range(atoms)]
        ends = list(accumulate(len(sentence) + 1 for sentence in sentences))
        document = Document.of(" ".join(sentences), source=f"synthetic/{self._seed}/{number}", title=title)
        made = tuple(
            Atom(
                id=stable_id(document.id, sentence, str(place)),
                kind=AtomKind.FACT,
                statement=f"{title}: {sentence}",
                text=sentence,
                document_id=document.id,
                span=Span(end - 1 - len(sentence), end - 1),
                context=title,
                position=place,
                source=document.source,
            )
            for place, (sentence, end) in enumerate(zip(sentences, ends, strict=True))
        )
        topic = np.random.default_rng([self._seed, 2, number // _TOPIC]).standard_normal(self._dim)
        centre = topic + rng.standard_normal(self._dim)
        vectors = _unit(centre + rng.standard_normal((atoms, self._dim)) * np.sqrt(2.0))
        keys = tuple(AtomKey(atom.id, vector) for atom, vector in zip(made, vectors, strict=True))
        return Article(document, made, keys)

    def query(self, article: Article, number: int) -> Query:
        """Return a question about an atom of an article: rare words of it among common ones, and a key near its key."""
        rng = np.random.default_rng([self._seed, 3, number])
        place = int(rng.integers(len(article.atoms)))
        words = [word for word in article.atoms[place].text[:-1].lower().split() if word not in _COMMON]
        asked = " ".join(words[:4])
        noise = rng.standard_normal(self._dim) / np.sqrt(self._dim)
        return Query(f"What is the {asked} that was in the {words[-1]}?", _unit(article.keys[place].vector + noise))

    def _sentence(self, rng: np.random.Generator) -> str:
        count = int(np.clip(rng.normal(16, 6), 6, 40))
        # The rarest of its words is its subject; without one there would be nothing to ask for.
        words = [*self._drawn(rng, count), *self._content(rng, 3)]
        sentence = " ".join(rng.permutation(words))
        return f"{sentence[0].upper()}{sentence[1:]}."

    def _drawn(self, rng: np.random.Generator, count: int) -> list[str]:
        return [str(word) for word in self._words[np.searchsorted(self._cumulative, rng.random(count), side="right")]]

    def _content(self, rng: np.random.Generator, count: int) -> list[str]:
        """Return words that are not common."""
        common = self._cumulative[len(_COMMON) - 1]
        drawn = common + (1.0 - common) * rng.random(count)
        return [str(word) for word in self._words[np.searchsorted(self._cumulative, drawn, side="right")]]


def questions_of(world: World, articles: Sequence[Article], count: int) -> list[Query]:
    """Return questions that go around the articles."""
    return [world.query(articles[number % len(articles)], number) for number in range(count)]


def _vocabulary(seed: int) -> list[str]:
    """Return distinct words, the commonest first; rarer ones tend to be longer."""
    rng = random.Random(seed)
    words = dict.fromkeys(_COMMON)
    while len(words) < _VOCABULARY:
        syllables = rng.randint(1, 3) + (len(words) > 3000)
        stem = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables))
        words[stem + rng.choice(_ENDS)] = None
    return list(words)


def _unit(vectors: NDArray[np.float64]) -> Vector:
    unit: Vector = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return unit
