"""Readings: training questions with the text that answers them in the prompt, as token ids and as batches.

The text is the gold sentences alone, or among others in the order of the document: as running text, as a document is
shown, or as statements behind their titles, as retrieved passages are. Which, is drawn once per question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from parametric_memory.config import PromptConfig
from parametric_memory.hypernetwork.chat import answer_ids, end_of_turn, prompt_ids
from parametric_memory.hypernetwork.states import pad, states_at
from parametric_memory.training.corpus import Corpus, Example
from parametric_memory.types import Conversation, stated

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type

MAX_OTHERS = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """A question with passages: the conversation, its token ids, and the answer's, which end the turn."""

    example: Example
    turns: Conversation
    prompt: list[int]
    answer: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """One training step.

    Attributes:
        states: (rows, T, d_model) at the first adapted layer, prompt and answer without its last token.
        mask: (rows, T) bool.
        targets: (rows, T) the token to predict at each position; -100 where none is.
    """

    states: Tensor
    mask: Tensor
    targets: Tensor


def readings(
    corpus: Corpus,
    examples: Sequence[Example],
    *,
    tokenizer: Tokenizer,
    prompt: PromptConfig,
    count: int,
    alone: float = 0.5,
    max_tokens: int = 224,
    seed: int = 0,
) -> list[Reading]:
    """Draw questions and what each is read with; at most ``count``, each once.

    Those that nothing answers, and those that are too long, are left out.

    Args:
        corpus: Holds the examples' sentences.
        examples: Drawn from. Sentences of other documents beside a gold one are those of other examples in this list.
        tokenizer: The base model's.
        prompt: The wording around a question with passages.
        count: How many.
        alone: Share of the questions whose gold sentences stand alone.
        max_tokens: Longest prompt with its answer.
        seed: Of the draw.
    """
    rng = random.Random(seed)
    drawn = [example for example in rng.sample(examples, len(examples)) if example.golds]
    made = (
        _reading(
            tokenizer, example, prompt.conversation(example.question, _passages(corpus, example, drawn, alone, rng))
        )
        for example in drawn
    )
    return list(islice((reading for reading in made if len(reading) <= max_tokens), count))


def _reading(tokenizer: Tokenizer, example: Example, turns: Conversation) -> Reading:
    answer = [*answer_ids(tokenizer, turns, example.answer), end_of_turn(tokenizer)]
    return Reading(example, turns, prompt_ids(tokenizer, turns), answer)


def _passages(
    corpus: Corpus, example: Example, examples: Sequence[Example], alone: float, rng: random.Random
) -> list[str]:
    golds = example.golds
    if rng.random() < alone:
        return [_statement(corpus, gold) for gold in golds]
    count = rng.randint(1, MAX_OTHERS)
    document = corpus.documents[corpus.document_of[example.anchor]]
    together = all(gold in document for gold in golds)
    if together and len(document) > len(golds) and rng.random() < 0.5:
        first, last = min(golds), max(golds)
        size = min(max(last - first, count) + 1, len(document))
        begin = rng.randint(max(document.start, last - size + 1), min(first, document.stop - size))
        return corpus.texts[begin : begin + size]
    siblings = [atom for atom in corpus.siblings(example.anchor) if atom not in golds]
    others = rng.sample(siblings, min(count, len(siblings)))
    others += [rng.choice(examples).anchor for _ in range(count - len(others))]
    return [_statement(corpus, atom) for atom in sorted({*golds, *others})]


def _statement(corpus: Corpus, atom: int) -> str:
    """Return a sentence as its atom's statement has it: behind the title."""
    title = corpus.contexts[corpus.document_of[atom]]
    return stated(corpus.texts[atom], title)


def read(model: nn.Module, rows: Sequence[Reading], *, layer: int) -> ReadingBatch:
    """Run the layers below `layer`, which are frozen, on some readings."""
    device = next(model.parameters()).device
    ids, mask = pad([torch.tensor([*row.prompt, *row.answer[:-1]]) for row in rows])
    targets = torch.full(ids.shape, -100)
    for target, row in zip(targets, rows, strict=True):
        begin = len(row.prompt) - 1
        target[begin : begin + len(row.answer)] = torch.tensor(row.answer)
    ids, mask = ids.to(device), mask.to(device)
    return ReadingBatch(states_at(model, ids, mask, [layer])[layer], mask, targets.to(device))
