"""Locating: where the atoms of a batch answer, told by the data or found by a token router.

Ranks that are weighed by it learn to say an answer and not to find it: finding is the token router's part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from parametric_memory.errors import TrainingError
from parametric_memory.hypernetwork.locating import gates_of, placed, token_spans
from parametric_memory.hypernetwork.network import Gates
from parametric_memory.routing.span_router import SpanRouter
from parametric_memory.training.batches import Batch
from parametric_memory.training.corpus import Corpus
from parametric_memory.training.exercises import Exercises
from parametric_memory.types import Span

#: Returns the gates of a batch.
Locate: TypeAlias = Callable[[Batch], Gates]
Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type


def told(batch: Batch) -> Gates:
    """Return the gates of a token router that is always right; what is no span is all of the atoms that answer."""
    inside = torch.where(batch.spanned[:, None], batch.inside, batch.evidence).float()
    start = batch.start.float() / batch.start.sum(dim=1, keepdim=True).clamp(min=1)
    return Gates(inside.log(), start.log(), batch.after.float().log())


class Found:
    """The gates that a token router finds, as a memory that has it weighs the ranks of a route."""

    def __init__(
        self,
        router: SpanRouter,
        corpus: Corpus,
        exercises: Exercises,
        tokenizer: Tokenizer,
        *,
        completing: Collection[int] = (),
    ) -> None:
        """Take a token router, and what batches are made of.

        Args:
            router: Reads questions and atoms.
            corpus: Has the atoms' texts.
            exercises: The batches'.
            tokenizer: The base model's.
            completing: Numbers of the exercises that complete a sentence: it is told where, since they ask nothing that
                a token router could find.

        Raises:
            TrainingError: If the tokenizer cannot say where tokens stand.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise TrainingError(
                "training with the gates of a token router: the base model's tokenizer is not a fast one, and cannot "
                'say where tokens stand; take gates = "told", or "own"'
            )
        self._router, self._corpus, self._exercises, self._tokenizer = router, corpus, exercises, tokenizer
        self._completing = frozenset(completing)
        self._spans: dict[int, Sequence[Span]] = {}

    def __call__(self, batch: Batch) -> Gates:
        """Return the gates of a batch, on its device."""
        items = self._exercises.items
        asked = [
            (items[number].example.question, [self._text(atom) for atom in route])
            for number, route in zip(batch.numbers, batch.atoms, strict=True)
        ]
        self._place({atom for route in batch.atoms for atom in route})
        found = self._router.read_texts(asked)
        rows = [
            gates_of(one, [self._spans[atom] for atom in route]) for one, route in zip(found, batch.atoms, strict=True)
        ]
        width, given = batch.inside.shape[1], told(batch)
        completing = torch.tensor([[number in self._completing] for number in batch.numbers], device=batch.ids.device)
        return Gates(
            *(
                torch.where(completing, own, torch.cat([_widened(column, width) for column in columns]).to(own))
                for own, columns in zip(_columns(given), zip(*map(_columns, rows), strict=True), strict=True)
            )
        )

    def _text(self, atom: int) -> tuple[str, str]:
        return self._corpus.texts[atom], self._corpus.contexts[self._corpus.document_of[atom]]

    def _place(self, atoms: set[int]) -> None:
        """Learn where the tokens of atoms stand; those that do not say stand nowhere."""
        new = sorted(atoms - self._spans.keys())
        ids = [self._exercises.ids[atom] for atom in new]
        spans = token_spans(self._tokenizer, list(map(torch.tensor, ids)))
        self._spans |= zip(new, placed(spans, list(map(len, ids))), strict=True)


def _columns(gates: Gates) -> tuple[Tensor, Tensor, Tensor]:
    assert gates.after is not None
    return gates.inside, gates.start, gates.after


def _widened(column: Tensor, width: int) -> Tensor:
    """Return a row's log-probabilities with nothing between its tokens and the last column, (1, width)."""
    between = column.new_full((1, width - column.shape[1]), -torch.inf)
    return torch.cat([column[:, :-1], between, column[:, -1:]], dim=1)
