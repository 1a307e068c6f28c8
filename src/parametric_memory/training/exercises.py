"""Exercises: examples as token ids, with the windows that their atoms are read in and the atoms that rival theirs."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from parametric_memory.config import PromptConfig
from parametric_memory.hypernetwork.chat import answer_ids, end_of_turn, prompt_ids
from parametric_memory.hypernetwork.windows import Window, atom_ids, windows
from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.training.wordings import conversation
from parametric_memory.types import stable_id

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type

#: Longest prompt with its answer.
MAX_TOKENS = 160


@dataclass(frozen=True, slots=True)
class Exercise:
    """One example as token ids.

    Attributes:
        example: Where it comes from.
        prompt: Up to where the answer belongs.
        answer: With the token that ends the turn; empty if nothing answers.
        spans: Half-open ranges of an atom's tokens that say the answer, by atom.
        rivals: Other atoms that it may meet, those that are hardest to tell from its own first.
    """

    example: Example
    prompt: list[int]
    answer: list[int]
    spans: Mapping[int, tuple[int, int]]
    rivals: tuple[int, ...]

    def __len__(self) -> int:
        """Return the tokens that the base model reads: the last one of the answer predicts nothing."""
        return len(self.prompt) + max(0, len(self.answer) - 1)

    @property
    def read(self) -> list[int]:
        """The tokens that the base model reads."""
        return [*self.prompt, *self.answer[:-1]]


@dataclass(frozen=True)
class Exercises:
    """What a run may be asked, and the atoms it is asked about.

    Attributes:
        items: The exercises.
        ids: Token ids by atom.
        windows: What the base model reads of the atoms.
        places: By atom, its window and the place of its first token there.
        ending: The token that ends a turn.
    """

    items: Sequence[Exercise]
    ids: Mapping[int, list[int]]
    windows: Sequence[Window]
    places: Mapping[int, tuple[int, int]]
    ending: int

    def __len__(self) -> int:
        """Return how many exercises there are."""
        return len(self.items)

    @cached_property
    def digest(self) -> str:
        """What tells these exercises from others: states that were kept of others are of no use."""
        digest = hashlib.blake2b(digest_size=8)
        for ids in (*(item.prompt for item in self.items), *(item.answer for item in self.items)):
            digest.update(np.asarray([len(ids), *ids], dtype=np.int32).tobytes())
        for window in self.windows:
            digest.update(np.asarray([len(window.ids), *window.ids], dtype=np.int32).tobytes())
        return digest.hexdigest()


def exercises(
    corpus: Corpus,
    examples: Sequence[Example],
    *,
    tokenizer: Tokenizer,
    prompt: PromptConfig,
    rivals: Mapping[Example, Sequence[int]] | None = None,
    max_atom: int = 128,
    contextual: bool = True,
    varied: bool = True,
    chunks: int = 1,
) -> Exercises:
    """Tokenise examples; those that are too long, or whose atoms are, are left out.

    Args:
        corpus: Holds the examples' atoms.
        examples: What is asked.
        tokenizer: The base model's.
        prompt: The wording at inference.
        rivals: Other atoms of an example's, beside its look-alikes and the rest of its document.
        max_atom: Longest atom, in tokens.
        contextual: Read the atoms of a document together; else each by itself, behind its title.
        varied: Put some questions in other wordings.
        chunks: Half of the documents are cut into up to so many runs of sentences, which are read apart.
    """
    mined = rivals or {}
    wanted = _wanted(corpus, examples, mined)
    ids = dict(zip(wanted, atom_ids(tokenizer, [corpus.texts[atom] for atom in wanted]), strict=True))
    ids = {atom: tokens for atom, tokens in ids.items() if 0 < len(tokens) <= max_atom}
    fitting = [e for e in examples if all(atom in ids for atom in e.golds) and any(atom in ids for atom in _own(e))]
    spans = _spans(corpus, tokenizer, fitting)
    made = []
    for example, of_atoms in zip(fitting, spans, strict=True):
        near = [*example.look_alikes, *mined.get(example, ()), *corpus.siblings(example.anchor)]
        others = tuple(dict.fromkeys(atom for atom in near if atom in ids and atom not in example.golds))
        key = stable_id(example.question, corpus.texts[example.anchor])
        turns = conversation(prompt, example.question, key=key) if varied else prompt.conversation(example.question)
        answer = [*answer_ids(tokenizer, turns, example.answer), end_of_turn(tokenizer)] if example.golds else []
        made.append(Exercise(example, prompt_ids(tokenizer, turns), answer, of_atoms, others))
    kept = [exercise for exercise in made if len(exercise) <= MAX_TOKENS]
    packed, places = _packed(corpus, tokenizer, ids, contextual=contextual, chunks=chunks)
    return Exercises(kept, ids, packed, places, end_of_turn(tokenizer))


def _own(example: Example) -> tuple[int, ...]:
    return example.golds or example.look_alikes


def _wanted(corpus: Corpus, examples: Iterable[Example], mined: Mapping[Example, Sequence[int]]) -> list[int]:
    """Return every atom of the documents that examples and their rivals stand in, in order."""
    touched = {corpus.document_of[atom] for e in examples for atom in (*e.golds, *e.look_alikes, *mined.get(e, ()))}
    return [atom for document in sorted(touched) for atom in corpus.documents[document]]


def _spans(corpus: Corpus, tokenizer: Tokenizer, examples: Sequence[Example]) -> list[dict[int, tuple[int, int]]]:
    """Return, by example and atom, the half-open range of tokens that the answer's characters fall on."""
    atoms = sorted({place.atom for example in examples for place in example.places})
    if not atoms:
        return [{} for _ in examples]
    texts = [" " + corpus.texts[atom] for atom in atoms]  # as `atom_ids` reads them
    read = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    offsets = dict(zip(atoms, read, strict=True))
    return [{place.atom: _token_span(offsets[place.atom], place) for place in e.places} for e in examples]


def _token_span(offsets: Sequence[tuple[int, int]], place: Place) -> tuple[int, int]:
    inside = [i for i, (begin, end) in enumerate(offsets) if begin < place.end + 1 and end > place.begin + 1]
    return inside[0], inside[-1] + 1


def _packed(
    corpus: Corpus, tokenizer: Tokenizer, ids: Mapping[int, list[int]], *, contextual: bool, chunks: int
) -> tuple[list[Window], dict[int, tuple[int, int]]]:
    """Pack atoms into windows; return them and each atom's (window, offset)."""
    packed: list[Window] = []
    places: dict[int, tuple[int, int]] = {}
    for document in sorted({corpus.document_of[atom] for atom in ids}):
        atoms = [atom for atom in corpus.documents[document] if atom in ids]
        for group in _runs(atoms, chunks, str(document)) if contextual else [[atom] for atom in atoms]:
            for window in windows(tokenizer, corpus.contexts[document], [ids[atom] for atom in group]):
                places |= {group[index]: (len(packed), offset) for index, offset in window.pieces}
                packed.append(window)
    return packed, places


def _runs(atoms: list[int], most: int, key: str) -> list[list[int]]:
    """Return a document's atoms as they are, or cut at places that the key decides into two to `most` runs."""
    rng = random.Random(key)
    if min(most, len(atoms)) < 2 or rng.random() < 0.5:
        return [atoms]
    cuts = sorted(rng.sample(range(1, len(atoms)), rng.randint(2, min(most, len(atoms))) - 1))
    return [atoms[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(atoms)], strict=True)]
