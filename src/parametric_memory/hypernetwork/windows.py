"""Windows: consecutive atoms of one document, read by the frozen base model in one pass.

An atom's states have then seen its context (pronouns are resolved by the base model's own attention), and compiling
costs one pass over the text whatever the number of atoms. Each atom's text is tokenised by itself behind a space, as
it would stand in running text, so that its tokens are the same in every window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type

MAX_WINDOW = 512


@dataclass(frozen=True, slots=True)
class Window:
    """Token ids, and for each atom in it (its number among the atoms given, the place of its first token)."""

    ids: list[int]
    pieces: list[tuple[int, int]]


def atom_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of atoms' texts, each behind a space."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer([" " + text for text in texts], add_special_tokens=False).input_ids
    return ids


def windows(
    tokenizer: Tokenizer, context: str, ids: Sequence[Sequence[int]], *, max_tokens: int = MAX_WINDOW
) -> list[Window]:
    """Pack atoms, in order, into windows that each begin with the context (title and headings) on a line of its own.

    Args:
        tokenizer: The base model's.
        context: May be empty.
        ids: Token ids per atom, as `atom_ids` gives them.
        max_tokens: Longest window; an atom that is longer by itself gets a window of its own, cut to what fits.
    """
    head: list[int] = (
        tokenizer(context + "\n", add_special_tokens=False).input_ids[: max_tokens // 4] if context else []
    )
    # The first token of a window becomes the base model's attention sink; it must not be an atom's.
    head = head or list(tokenizer("\n", add_special_tokens=False).input_ids)
    made: list[Window] = []
    for number, atom in enumerate(ids):
        fitting = atom[: max_tokens - len(head)]
        if not made or len(made[-1].ids) + len(fitting) > max_tokens:
            made.append(Window(list(head), []))
        made[-1].pieces.append((number, len(made[-1].ids)))
        made[-1].ids.extend(fitting)
    return made
