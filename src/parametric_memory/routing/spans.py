"""Spans: an encoder reads a question and an atom together, and scores every run of the atom's tokens as the answer.

As extractive readers do (BERT, arXiv 1810.04805), but over several atoms at once: the score of a span is its start's
plus its end's plus how well its atom fits, and one softmax goes over all spans of all atoms and "nothing", whose score
is 0. So a span's score is its log-odds against nothing, whatever else is read beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from parametric_memory.hypernetwork.states import batches
from parametric_memory.types import Span, stated

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type

#: Longest question with an atom, and longest answer, in the encoder's tokens.
MAX_TOKENS, MAX_ANSWER = 256, 32
#: Score of what is no span: no probability, and still a finite gradient.
NO_SPAN = -1e4


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and an atom as the encoder reads them.

    Attributes:
        ids: Token ids of both.
        kinds: 0 for each token of the question, 1 for each of the atom.
        first: Place of the first token of the atom's text; what stands before it is the atom's context.
        spans: Where each of its tokens stands in the atom's text.
    """

    ids: list[int]
    kinds: list[int]
    first: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class SpanScores:
    """Log-odds against nothing of every span, by pair, first and last token: (pairs, T, T); `NO_SPAN` where none is."""

    scores: Tensor

    def probabilities(self) -> tuple[Tensor, Tensor]:
        """Return what every span has of one softmax over them all and nothing, (pairs, T, T), and what nothing has."""
        total = self.total()
        return (self.scores - total).exp(), (-total).exp()

    def total(self) -> Tensor:
        """Return the logarithm of the softmax's denominator: of all spans and of nothing, whose score is 0."""
        return torch.cat([self.scores.flatten(), self.scores.new_zeros(1)]).logsumexp(dim=0)


class SpanNetwork(nn.Module):
    """A text encoder with two heads: where the answer starts and ends, and whether the atom has one at all."""

    def __init__(self, encoder: nn.Module) -> None:
        """Take an encoder of transformers, whose outputs have a ``last_hidden_state``."""
        super().__init__()
        self.encoder: Any = encoder
        width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self._two_kinds = getattr(encoder.config, "type_vocab_size", 0) > 1
        self.ends, self.fits = nn.Linear(width, 2), nn.Linear(width, 1)
        nn.init.zeros_(self.fits.weight)

    def forward(self, pairs: Sequence[Pair]) -> SpanScores:
        """Return the scores of all spans of some pairs, T tokens of text each with padding."""
        device = self.ends.weight.device
        T = max(len(pair.spans) for pair in pairs)
        found: dict[int, Tensor] = {}
        for group in batches([len(pair.ids) for pair in pairs], device):
            for number, scores in zip(group, self._read([pairs[n] for n in group]), strict=True):
                found[number] = pad(scores, (0, T - len(scores), 0, T - len(scores)), value=NO_SPAN)
        return SpanScores(torch.stack([found[number] for number in range(len(pairs))]))

    def _read(self, pairs: Sequence[Pair]) -> list[Tensor]:
        """Return each pair's scores, (T, T), from one forward pass."""
        device = self.ends.weight.device
        longest = max(len(pair.ids) for pair in pairs)

        def together(rows: Sequence[Sequence[int]]) -> Tensor:
            return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)

        # An encoder that tells only one kind of text is told nothing.
        kinds = {"token_type_ids": together([pair.kinds for pair in pairs])} if self._two_kinds else {}
        states = self.encoder(
            input_ids=together([pair.ids for pair in pairs]),
            attention_mask=together([[1] * len(pair.ids) for pair in pairs]),
            **kinds,
        ).last_hidden_state
        ends, fits = self.ends(states).float(), self.fits(states[:, 0]).float()
        return [
            _spans(row[pair.first :][: len(pair.spans)], fit) for row, fit, pair in zip(ends, fits, pairs, strict=True)
        ]


def _spans(ends: Tensor, fit: Tensor) -> Tensor:
    """Return the score of every span, (T, T), given where it may start and end, (T, 2)."""
    scores = ends[:, 0, None] + ends[None, :, 1] + fit
    is_span = torch.ones_like(scores, dtype=torch.bool).triu().tril(MAX_ANSWER - 1)
    return scores.masked_fill(~is_span, NO_SPAN)


def inside(probabilities: Tensor) -> Tensor:
    """Return the probability that a token is part of the answer, (..., T), given those of the spans, (..., T, T)."""
    # Spans that end at a token or later, by their first token; then those that start there or earlier.
    later = probabilities.flip(-1).cumsum(dim=-1).flip(-1)
    return later.cumsum(dim=-2).diagonal(dim1=-2, dim2=-1)


def pairs_of(tokenizer: Tokenizer, question: str, texts: Sequence[str], contexts: Sequence[str]) -> list[Pair]:
    """Return a question with each of some atoms.

    Args:
        tokenizer: The encoder's; it must be a fast one, that knows where tokens stand.
        question: What is asked.
        texts: The atoms' texts.
        contexts: What is read before each, and is no part of an answer: the titles above it; empty if there are none.
    """
    leads = [stated("", context) for context in contexts]
    read = tokenizer(
        [question] * len(texts),
        [lead + text for lead, text in zip(leads, texts, strict=True)],
        truncation=True,
        max_length=MAX_TOKENS,
        return_offsets_mapping=True,
    )
    made = []
    for row, lead in enumerate(leads):
        offsets, parts = read["offset_mapping"][row], read.sequence_ids(row)
        places = [n for n, part in enumerate(parts) if part == 1 and offsets[n][0] >= len(lead)]
        spans = tuple(Span(offsets[n][0] - len(lead), offsets[n][1] - len(lead)) for n in places)
        kinds = [int(part == 1 or n == len(parts) - 1) for n, part in enumerate(parts)]
        made.append(Pair(read["input_ids"][row], kinds, places[0] if places else len(parts), spans))
    return made
