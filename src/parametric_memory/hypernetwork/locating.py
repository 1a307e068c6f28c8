"""What a token router finds in the texts of atoms, as gates of their tokens: those of the base model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor

from parametric_memory.hypernetwork.network import Gates
from parametric_memory.types import Span, TokenGates, TokenShare

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type

#: Where it is less likely than this that something answers, what was found speaks the fainter for it.
LEAST_ANSWERED = 1e-4


def gates_of(found: TokenGates, spans: Sequence[Sequence[Span]]) -> Gates:
    """Return the gates of one route, given what was found in its atoms and where their tokens stand.

    The atoms were chosen to answer, so they speak as loudly as if one of them did: that none does was the router's to
    weigh, when it chose them.
    """
    seen = [shares_at(own, tokens) for own, tokens in zip(spans, found.tokens, strict=True)]
    answered = 1.0 - found.nothing
    whole = max(answered, LEAST_ANSWERED)
    columns = (
        torch.tensor([[*(share / whole for share in chain(*column)), 1.0 - answered / whole]]).log()
        for column in zip(*seen, strict=True)
    )
    return Gates(*columns)


def shares_at(spans: Sequence[Span], found: Sequence[TokenShare]) -> tuple[list[float], list[float], list[float]]:
    """Return the probability of some tokens to be part of the answer, its first, and the first one behind it.

    Args:
        spans: Where they stand, in reading order.
        found: What is known of other tokens of the same text: one may cover several of these, and the reverse.
    """
    inside, start, after = ([0.0] * len(spans) for _ in range(3))
    for token in found:
        on = [n for n, span in enumerate(spans) if span.start < token.span.end and span.end > token.span.start]
        for number in on:
            inside[number] = max(inside[number], token.share)
        if on:
            start[on[0]] += token.start
        if on and on[-1] + 1 < len(spans):
            after[on[-1] + 1] += token.end
    return inside, start, after


def placed(spans: Sequence[Sequence[Span]], lengths: Sequence[int]) -> list[Sequence[Span]]:
    """Return where the tokens of atoms stand; those of an atom that do not say, so many of them, stand nowhere."""
    return [own or [Span(0, 0)] * length for own, length in zip(spans, lengths, strict=True)]


def token_spans(tokenizer: Tokenizer, tokens: Sequence[Tensor]) -> list[list[Span]]:
    """Return where each token of atoms' texts stands in the text; nothing for an atom whose tokens do not say.

    Args:
        tokenizer: The base model's.
        tokens: Token ids per atom, (T,), as `atom_ids` gave them.
    """
    if not tokens or not getattr(tokenizer, "is_fast", False):
        return [[] for _ in tokens]
    ids = [one.tolist() for one in tokens]
    texts = tokenizer.batch_decode(ids, clean_up_tokenization_spaces=False)
    read = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    # Each text stood behind a space.
    places = [[Span(max(0, start - 1), max(0, end - 1)) for start, end in found] for found in read["offset_mapping"]]
    return [spans if again == own else [] for spans, again, own in zip(places, read["input_ids"], ids, strict=True)]
