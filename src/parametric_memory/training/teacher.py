"""The in-context teacher: what the base model says of an answer when the atoms that give it stand in its prompt.

Its likeliest tokens at each place of the answer are computed once an exercise, the first time a batch needs them, and
kept: in memory, or in a file, where a run that is resumed finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parametric_memory.adapters.inject import inject
from parametric_memory.compilers.distillation.logits import Text, likeliest
from parametric_memory.config import PromptConfig
from parametric_memory.hypernetwork.chat import prompt_ids
from parametric_memory.training.corpus import Corpus
from parametric_memory.training.exercises import Exercises
from parametric_memory.types import ComposedAdapter, stated

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type

TOP = 16
#: A prompt whose last turn is not opened ends with at least so many tokens of the template.
HEADER = 2


@dataclass(frozen=True, slots=True)
class Told:
    """What the teacher says at each place of some answers, one after the other.

    Attributes:
        top: (tokens, k) its likeliest tokens.
        shares: (tokens, k) their log-probabilities, best first.
    """

    top: Tensor
    shares: Tensor


class Teacher:
    """Tells what the base model would answer with the text in its prompt."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        corpus: Corpus,
        exercises: Exercises,
        *,
        prompt: PromptConfig,
        reader: ComposedAdapter | None = None,
        cache: Path | None = None,
    ) -> None:
        """Take who teaches what.

        Args:
            model: The base model.
            tokenizer: Its.
            corpus: Holds the atoms' texts.
            exercises: What is taught.
            prompt: The wording around a question with passages.
            reader: Injected while the teacher reads: it answers in the style it was tuned to.
            cache: A folder that keeps what was told; else memory does.
        """
        self._model, self._tokenizer, self._corpus, self._exercises = model, tokenizer, corpus, exercises
        self._prompt, self._reader = prompt, reader
        self._offsets = np.concatenate([[0], np.cumsum([len(item.answer) for item in exercises.items])])
        k = min(TOP, int(model.get_output_embeddings().weight.shape[0]))
        shape = (int(self._offsets[-1]), k)
        name = exercises.digest
        self._done: NDArray[np.bool_] = _array(cache, f"told-{name}", (len(exercises),), np.bool_)
        self._top: NDArray[np.int32] = _array(cache, f"told-{name}-top", shape, np.int32)
        self._shares: NDArray[np.float16] = _array(cache, f"told-{name}-shares", shape, np.float16)

    def tell(self, numbers: Sequence[int]) -> Told:
        """Return what the teacher says at each place of these exercises' answers, on the base model's device."""
        self._ask([number for number in dict.fromkeys(numbers) if not self._done[number]])
        places = [np.arange(self._offsets[n], self._offsets[n + 1]) for n in numbers]
        rows = np.concatenate(places) if places else np.zeros(0, dtype=np.int64)
        device = next(self._model.parameters()).device
        top, shares = torch.from_numpy(self._top[rows]).long(), torch.from_numpy(self._shares[rows]).float()
        return Told(top.to(device), shares.to(device))

    def _ask(self, numbers: Sequence[int]) -> None:
        texts = [self._text(number) for number in numbers]
        with inject(self._model, self._reader):
            told = likeliest(self._model, texts, TOP)
        for number, (top, shares) in zip(numbers, told, strict=True):
            span = slice(self._offsets[number], self._offsets[number + 1])
            self._top[span] = top.int().cpu().numpy()
            self._shares[span] = shares.clamp(min=-6e4).half().cpu().numpy()
            self._done[number] = True

    def _text(self, number: int) -> Text:
        item = self._exercises.items[number]
        passages = [self._statement(atom) for atom in item.example.golds]
        turns = self._prompt.conversation(item.example.question, passages)
        unopened = prompt_ids(self._tokenizer, [turn for turn in turns if turn["role"] != "assistant"])
        # Where the student's turn is not opened, its answer begins without a space; behind "Answer:" that is no word.
        asked = unopened if item.prompt[-HEADER:] == unopened[-HEADER:] else prompt_ids(self._tokenizer, turns)
        return Text(asked, item.answer)

    def _statement(self, atom: int) -> str:
        return stated(self._corpus.texts[atom], self._corpus.contexts[self._corpus.document_of[atom]])


def _array(folder: Path | None, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an array of zeros in memory, or one in a file, as it was left."""
    if folder is None:
        return np.zeros(shape, dtype=dtype)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.npy"
    if not path.exists():
        np.save(path, np.zeros(shape, dtype=dtype))
    found: NDArray[Any] = np.load(path, mmap_mode="r+")
    return found
