"""The teacher: the frozen base model with the statement in its prompt.

Statements and exercises go in, lessons come out: what the student will read (the question alone), the answer it will
be taught, and the teacher's distribution at every token of it. The teacher also writes questions. Random numbers are
drawn per row from generators of their own, so torch's is untouched and neighbours in a batch change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from parametric_memory.compilers.distillation.exercises import Exercise
from parametric_memory.compilers.distillation.logits import Text, batches, likeliest
from parametric_memory.config import PromptConfig
from parametric_memory.hypernetwork.chat import answer_ids, prompt_ids, turn_ends
from parametric_memory.types import Message, stable_id

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type

ANSWER_TOKENS = 24
QUESTION_TOKENS = 32
TEMPERATURE = 0.5


@dataclass(frozen=True, slots=True)
class Lesson:
    """One exercise as the student meets it.

    Attributes:
        question: In words.
        text: Question without the statement, and answer, as token ids.
        top: (tokens, k) the teacher's likeliest tokens at each place of the answer; None where the answer was known
            without a teacher.
        shares: (tokens, k) their log-probabilities, best first.
    """

    question: str
    text: Text
    top: Tensor | None = None
    shares: Tensor | None = None

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True, slots=True)
class Task:
    """An exercise and the statement that answers it."""

    statement: str
    exercise: Exercise


class Teacher:
    """Answers exercises and writes questions with statements in its prompt."""

    def __init__(self, model: Any, tokenizer: Tokenizer, prompt: PromptConfig, *, top_k: int, seed: int) -> None:
        self._model, self._tokenizer, self._prompt = model, tokenizer, prompt
        self._top_k, self._seed = top_k, seed
        self._end = int(tokenizer.eos_token_id)

    def lessons(self, tasks: Sequence[Task]) -> list[Lesson]:
        """Return one lesson per task, in order; the teacher is asked only where no answer is known."""
        open_ones = [number for number, task in enumerate(tasks) if task.exercise.answer is None]
        prompts = [self._reading(tasks[number]) for number in open_ones]
        written = [self._answer(text) for text in self._generate(prompts, ANSWER_TOKENS)]
        found = dict(zip(open_ones, written, strict=True))
        texts = [self._text(task.exercise, found.get(number)) for number, task in enumerate(tasks)]
        read = [Text(prompt, texts[number].answer) for prompt, number in zip(prompts, open_ones, strict=True)]
        told = dict(zip(open_ones, likeliest(self._model, read, self._top_k), strict=True))
        return [
            Lesson(task.exercise.question, text, *told.get(number, ()))
            for number, (task, text) in enumerate(zip(tasks, texts, strict=True))
        ]

    def questions(self, statements: Sequence[str], count: int) -> list[list[str]]:
        """Return up to ``count`` different questions about each statement, sampled; they may be anything."""
        prompts = [prompt_ids(self._tokenizer, _asking(statement)) for statement in statements for _ in range(count)]
        seeds = [stable_id(str(self._seed), statement, str(n)) for statement in statements for n in range(count)]
        texts = self._generate(prompts, QUESTION_TOKENS, seeds=seeds)
        whole = [f"{text.partition('?')[0].strip()}?" if "?" in text else "" for text in texts]
        found = [whole[begin : begin + count] for begin in range(0, len(whole), count)] if count else []
        return [list(dict.fromkeys(filter(None, some))) for some in found] or [[] for _ in statements]

    def _text(self, exercise: Exercise, written: str | None) -> Text:
        """Return what the student reads: the question alone, and the answer with the end of the turn."""
        turns = self._prompt.conversation(exercise.question)
        answer = answer_ids(self._tokenizer, turns, exercise.answer or written or "")
        return Text(prompt_ids(self._tokenizer, turns), [*answer, self._end])

    def _reading(self, task: Task) -> list[int]:
        turns = self._prompt.conversation(task.exercise.question, [task.statement])
        return prompt_ids(self._tokenizer, turns)

    def _answer(self, text: str) -> str:
        for stop in ("\n", *turn_ends(self._tokenizer)):
            text = text.partition(stop)[0] if text.strip() else text
        return text.strip()

    @torch.no_grad()
    def _generate(self, prompts: Sequence[list[int]], tokens: int, *, seeds: Sequence[str] = ()) -> list[str]:
        """Continue prompts: greedily, or drawn with one seed a row."""
        device = next(self._model.parameters()).device
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=tokens, do_sample=False, eos_token_id=self._end, pad_token_id=self._end
        )
        texts: dict[int, str] = {}
        for numbers in batches(prompts):
            width = max(len(prompts[number]) for number in numbers)
            rows = [(width - len(prompts[n]), prompts[n]) for n in numbers]
            ids = torch.tensor([[self._end] * missing + row for missing, row in rows], device=device)
            mask = torch.tensor([[0] * missing + [1] * len(row) for missing, row in rows], device=device)
            drawn = LogitsProcessorList([_Drawn([seeds[number] for number in numbers])] if seeds else [])
            made = self._model.generate(
                input_ids=ids, attention_mask=mask, generation_config=settings, logits_processor=drawn
            )
            written = self._tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)
            texts |= dict(zip(numbers, written, strict=True))
        return [texts[number] for number in range(len(prompts))]


class _Drawn(LogitsProcessor):
    """Adds Gumbel noise to each row's logits: the largest is then a draw from the tempered distribution."""

    def __init__(self, seeds: Sequence[str]) -> None:
        self._generators = [torch.Generator().manual_seed(int(seed[:15], 16)) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - what transformers calls it with
        noise = torch.stack([torch.empty(scores.shape[-1]).exponential_(generator=g) for g in self._generators])
        return scores.float() / TEMPERATURE - noise.log().to(scores.device)


def _asking(statement: str) -> list[Message]:
    return [
        {"role": "system", "content": "Write one short question whose answer is in the sentence."},
        {"role": "user", "content": statement},
        {"role": "assistant", "content": "Question:"},
    ]
