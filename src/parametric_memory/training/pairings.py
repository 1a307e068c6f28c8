"""Pairings: training questions with atoms, of which some answer, as the token router reads them.

The others are drawn anew at every step: neighbours of the atoms that answer, what a search finds beside them (see
`rivals`), and atoms of other questions.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from parametric_memory.routing.hops import names_in, next_question
from parametric_memory.routing.spans import MAX_ANSWER, Pair, SpanScores, Tokenizer, inside, pairs_of
from parametric_memory.training.alignment import find
from parametric_memory.training.corpus import Corpus, Example
from parametric_memory.training.twists import twisted
from parametric_memory.types import stated

#: Share of the questions whose atoms are read without the titles above them.
UNTITLED = 0.3
#: Share of the names in changed questions that their own document has, too.
OWN_NAMES = 0.5
#: Of questions that no atom leads to, so many times the share of those that one does are asked as a further hop asks.
MISLED = 0.2


@dataclass(frozen=True, slots=True)
class Pairing:
    """A question and some atoms.

    Attributes:
        pairs: The question with each of them.
        golds: Which of them answer it, by number.
        answers: By the number of an atom that says the answer word for word, its first and last token.
    """

    pairs: list[Pair]
    golds: tuple[int, ...]
    answers: Mapping[int, tuple[int, int]]

    def target(self, T: int) -> Tensor:
        """Return which spans are right, (pairs, T, T) bool: all of the atoms that answer, if none says it."""
        target = torch.zeros(len(self.pairs), T, T, dtype=torch.bool)
        for number, (first, last) in self.answers.items():
            target[number, first, last] = True
        if not self.answers:
            target[list(self.golds)] = True
        return target


class Pairings:
    """Questions to draw atoms for."""

    def __init__(
        self,
        corpus: Corpus,
        examples: Sequence[Example],
        tokenizer: Tokenizer,
        *,
        rivals: Mapping[Example, Sequence[int]] | None = None,
    ) -> None:
        self.examples = [example for example in examples if example.golds or example.look_alikes]
        self._corpus, self._tokenizer, self._rivals = corpus, tokenizer, rivals or {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.examples)

    def lengths(self) -> list[int]:
        """Return the characters of each question with one of its atoms."""
        return [len(example.question) + len(self._corpus.texts[example.anchor]) for example in self.examples]

    def draw(
        self,
        numbers: Sequence[int],
        rng: random.Random,
        *,
        others: int,
        nothing: float = 0.0,
        near: float = 0.5,
        twists: float = 0.0,
        hops: float = 0.0,
    ) -> list[Pairing]:
        """Return some questions with atoms.

        Args:
            numbers: Which.
            rng: Draws the atoms.
            others: How many beside those that answer.
            nothing: Share of the questions whose answering atoms are left out, if there are others.
            near: Share of the questions whose others are neighbours of the atoms that answer.
            twists: Share of the questions that are changed so that nothing answers them, if they can be.
            hops: Share of the questions that one atom answers and others lead to, which are asked as a further hop asks
                them (see `routing.hops`): with what those name.
        """
        pool = [self.examples[number].anchor for number in numbers]
        made = []
        for number in numbers:
            example = self.examples[number]
            drawn = self._others(example, pool, rng, others, near)
            if rng.random() < twists and (question := self._twisted(example, pool, rng)):
                made.append(self._pairing(replace(example, question=question), (), [*example.golds, *drawn], rng))
            else:
                golds = () if drawn and rng.random() < nothing else example.golds
                asked = replace(example, question=self._hop(example, drawn, rng, hops))
                made.append(self._pairing(asked, golds, [*golds, *drawn], rng))
        return made

    def leading(self, example: Example) -> list[int]:
        """Return the atoms that lead to the one in which an answer stands."""
        said = {place.atom for place in example.places}
        return [gold for gold in example.golds if gold not in said] if said else []

    def _hop(self, example: Example, drawn: Sequence[int], rng: random.Random, share: float) -> str:
        """Return the question, now and then with the names of atoms that lead to its answer, or of one that does not.

        So a further hop learns from what it was told, and does not trust it blindly.
        """
        leading = self.leading(example)
        if rng.random() >= share * (1.0 if leading else MISLED):
            return example.question
        statements = [stated(self._corpus.texts[atom], self._title(atom)) for atom in leading or drawn[:1]]
        return next_question(example.question, statements) or example.question

    def _pairing(self, example: Example, golds: Sequence[int], atoms: list[int], rng: random.Random) -> Pairing:
        rng.shuffle(atoms)
        texts = [self._corpus.texts[atom] for atom in atoms]
        titles = ["" if rng.random() < UNTITLED else self._title(atom) for atom in atoms]
        pairs = pairs_of(self._tokenizer, example.question, texts, titles)
        numbers = {atom: number for number, atom in enumerate(atoms)}
        answers = {
            numbers[place.atom]: span
            for place in example.places
            if place.atom in golds and (span := _tokens(pairs[numbers[place.atom]], place.begin, place.end))
        }
        return Pairing(pairs, tuple(numbers[atom] for atom in golds), answers)

    def _twisted(self, example: Example, pool: Sequence[int], rng: random.Random) -> str | None:
        """Return the question as nothing answers it; None if it has no answer to be found, or nothing to change."""
        if not example.places:
            return None
        # What the document names is the better disguise.
        elsewhere = self._corpus.siblings(example.anchor) if rng.random() < OWN_NAMES else pool
        instead = [name for atom in elsewhere for name in names_in(self._corpus.texts[atom])]
        answering = [self._title(example.anchor), *(self._corpus.texts[gold] for gold in example.golds)]
        return twisted(example.question, " ".join(answering), instead, rng)

    def _others(self, example: Example, pool: Sequence[int], rng: random.Random, count: int, near: float) -> list[int]:
        """Return atoms that do not answer; at least one for a question that nothing answers."""
        known, texts = set(example.golds), self._corpus.texts
        siblings = self._without(example, self._corpus.siblings(example.anchor))
        rivals = [*example.look_alikes, *self._rivals.get(example, ())]
        nearest = rng.sample(siblings, len(siblings)) if rng.random() < near else rivals
        far = [atom for atom in rng.sample(pool, len(pool)) if not find(example.answer, texts[atom])]
        drawn = [atom for atom in dict.fromkeys([*nearest, *siblings, *far]) if atom not in known]
        return drawn[: count if example.golds else max(1, count)]

    def _without(self, example: Example, atoms: Sequence[int]) -> list[int]:
        """Return the atoms that do not say the answer, too."""
        if not example.answer:
            return list(atoms)
        return [atom for atom in atoms if not find(example.answer, self._corpus.texts[atom])]

    def _title(self, atom: int) -> str:
        return self._corpus.contexts[self._corpus.document_of[atom]]


def _tokens(pair: Pair, begin: int, end: int) -> tuple[int, int] | None:
    """Return the first and the last token on some characters of the text; None if it was cut before them.

    Of an answer that is too long, its beginning.
    """
    on = [number for number, span in enumerate(pair.spans) if span.start < end and span.end > begin]
    return (on[0], min(on[-1], on[0] + MAX_ANSWER - 1)) if on else None


def span_terms(scores: SpanScores, pairings: Sequence[Pairing]) -> dict[str, Tensor]:
    """Return the mean ``nll`` of the right spans, and how often the most probable is right.

    ``hit``: the most probable token lies in the answer, of questions whose answer is a span; ``start``: the most
    probable start is the answer's; ``atom``: the most probable atom answers; ``still``: nothing is more probable than
    all atoms, of questions that none of them answers. NaN where there is no such question.

    Args:
        scores: Of all their pairs, one after the other.
        pairings: The questions.
    """
    losses: list[Tensor] = []
    right: dict[str, list[float]] = {"hit": [], "start": [], "atom": [], "still": []}
    parts = scores.scores.split_with_sizes([len(pairing.pairs) for pairing in pairings])
    for part, pairing in zip(parts, pairings, strict=True):
        target = pairing.target(part.shape[-1]).to(part.device)
        losses.append(SpanScores(part).total() - (part[target].logsumexp(dim=0) if pairing.golds else 0.0))
        with torch.no_grad():
            for name, value in _right(part.detach(), pairing).items():
                right[name].append(value)
    device = scores.scores.device
    rates = {name: sum(values) / len(values) if values else float("nan") for name, values in right.items()}
    return {"nll": torch.stack(losses).mean(), **{n: torch.tensor(rate, device=device) for n, rate in rates.items()}}


def _right(scores: Tensor, pairing: Pairing) -> dict[str, float]:
    probabilities, nothing = SpanScores(scores).probabilities()
    shares = probabilities.sum(dim=(1, 2))
    if not pairing.golds:
        return {"still": float(nothing > shares.sum())}
    measures = {"atom": float(int(shares.argmax()) in pairing.golds)}
    if pairing.answers:
        T = scores.shape[-1]
        number, token = divmod(int(inside(probabilities).argmax()), T)
        first, last = pairing.answers.get(number, (1, 0))
        measures["hit"] = float(first <= token <= last)
        number, token = divmod(int(probabilities.sum(dim=2).argmax()), T)
        measures["start"] = float(pairing.answers.get(number, (-1,))[0] == token)
    return measures
