"""The student: the base model with an adapter and no statement, taught many adapters at once.

Every row of a batch has an adapter of its own, so one forward pass teaches all of them; the optimiser works element by
element and every adapter has its own order, norm and end, so an adapter comes out as if it had been taught alone (up to
the last digits). The base model's weights are read, never written.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor

from parametric_memory.adapters.factors import pad_rank
from parametric_memory.adapters.inject import inject
from parametric_memory.compilers.distillation.logits import (
    Shortcut,
    answer_logits,
    batches,
    divergence,
    shortcut_is_exact,
)
from parametric_memory.compilers.distillation.teacher import Lesson
from parametric_memory.config import DistillationConfig
from parametric_memory.types import LoraFactors, stable_id

Factors: TypeAlias = Mapping[str, LoraFactors]
#: Called with the step and all adapters as they are after it.
Observe: TypeAlias = Callable[[int, list[Factors]], None]

BETAS, EPS, MAX_NORM = (0.9, 0.99), 1e-8, 1.0


@dataclass(frozen=True, slots=True)
class Pupil:
    """One adapter to be.

    Attributes:
        name: Seeds its order.
        start: Where it starts.
        lessons: What it is taught.
        gates: Per lesson one weight for each of its ranks, (rank,); None for 1.0 everywhere.
    """

    name: str
    start: Factors
    lessons: Sequence[Lesson]
    gates: Sequence[Tensor] | None = None


def teach(
    model: Any,
    pupils: Sequence[Pupil],
    config: DistillationConfig,
    *,
    first: int | None,
    observe: Observe | None = None,
) -> list[Factors]:
    """Return each pupil's factors after at most ``config.steps`` steps, in float32.

    Args:
        model: The base model, in evaluation mode.
        pupils: Their factors have the same targets; ranks may differ.
        config: Steps, rows, learning rate and ends.
        first: Number of the lowest adapted layer; None to run the whole model in every step.
        observe: See `Observe`; it costs a copy of all factors a step.
    """
    if not pupils:
        return []
    course = _Course(model, pupils, config, first)
    for step in range(1, config.steps + 1):
        active = course.active()
        if not active:
            break
        course.step(active)
        if observe:
            observe(step, course.factors())
    return course.factors()


class _Course:
    """What changes while pupils are taught: factors, moments, losses so far."""

    def __init__(self, model: Any, pupils: Sequence[Pupil], config: DistillationConfig, first: int | None) -> None:
        self._model, self._pupils, self._config = model, pupils, config
        self._device = next(model.parameters()).device
        self._lessons = list(chain.from_iterable(pupil.lessons for pupil in pupils))
        ends = torch.tensor([len(pupil.lessons) for pupil in pupils]).cumsum(0).tolist()
        self._numbers = [list(range(e - len(p.lessons), e)) for e, p in zip(ends, pupils, strict=True)]
        self._orders = [random.Random(stable_id(str(config.seed), pupil.name)) for pupil in pupils]
        self._decks: list[list[int]] = [[] for _ in pupils]
        self.losses: list[list[float]] = [[] for _ in pupils]
        self._targets = list(pupils[0].start)
        self._factors = [tensor for target in self._targets for tensor in self._stacked(target)]
        self._moments = [(torch.zeros_like(tensor), torch.zeros_like(tensor)) for tensor in self._factors]
        self._gates = self._padded_gates() if any(pupil.gates for pupil in pupils) else None
        texts = [lesson.text for lesson in self._lessons]
        exact = first is not None and bool(texts) and shortcut_is_exact(model, first, max(texts, key=len))
        self._shortcut = Shortcut(model, first, texts) if exact and first is not None else None

    def _stacked(self, target: str) -> tuple[Tensor, Tensor]:
        """Return A (pupils, rank, d_in) and B (pupils, d_out, rank); ranks that were added stay zero in both."""
        starts = [pupil.start[target] for pupil in self._pupils]
        rank = max(start.rank for start in starts)
        padded = [pad_rank(LoraFactors(s.A.float(), s.B.float()), rank) for s in starts]
        A, B = torch.stack([p.A for p in padded]), torch.stack([p.B for p in padded])
        return A.to(self._device).requires_grad_(), B.to(self._device).requires_grad_()

    def _padded_gates(self) -> Tensor:
        """Return one weight per rank for every lesson, (lessons, rank); 1 where there is no gate."""
        rank = max(A.shape[1] for A in self._factors[::2])
        gates = torch.ones(len(self._lessons), rank, device=self._device)
        for pupil, numbers in zip(self._pupils, self._numbers, strict=True):
            for number, gate in zip(numbers, pupil.gates or (), strict=bool(pupil.gates)):
                gates[number, : len(gate)] = gate.to(gates)
        return gates

    def active(self) -> list[int]:
        """Return the numbers of the pupils who go on learning."""
        return [n for n, losses in enumerate(self.losses) if self._numbers[n] and not _done(losses, self._config)]

    def factors(self) -> list[Factors]:
        """Return all factors as they are now, each with the rank it came with."""
        made: list[Factors] = []
        for number, pupil in enumerate(self._pupils):
            parts = {}
            for place, target in enumerate(self._targets):
                rank = pupil.start[target].rank
                A, B = (tensor.detach()[number] for tensor in self._factors[2 * place : 2 * place + 2])
                parts[target] = LoraFactors(A[:rank].clone(), B[:, :rank].clone())
            made.append(parts)
        return made

    def step(self, active: Sequence[int]) -> None:
        """Teach each active pupil some of its lessons."""
        chosen = [(pupil, number) for pupil in active for number in self._deal(pupil)]
        grads, losses = self._grads(chosen)
        for pupil in active:
            self.losses[pupil].append(losses[pupil])
        self._update(active, grads)

    def _grads(self, chosen: Sequence[tuple[int, int]]) -> tuple[list[Tensor], dict[int, float]]:
        """Return the gradients of all factors, and each pupil's mean loss, over pairs of a pupil and a lesson."""
        share = {pupil: 1 / count for pupil, count in Counter(pupil for pupil, _ in chosen).items()}
        sums = [torch.zeros_like(tensor) for tensor in self._factors]
        losses = dict.fromkeys(share, 0.0)
        for batch in batches([self._lessons[number] for _, number in chosen]):
            rows = [chosen[place] for place in batch]
            each = self._losses(rows) * torch.tensor([share[pupil] for pupil, _ in rows], device=self._device)
            grads = torch.autograd.grad(each.sum(), self._factors)
            sums = [total + grad for total, grad in zip(sums, grads, strict=True)]
            for (pupil, _), loss in zip(rows, each.tolist(), strict=True):
                losses[pupil] += loss
        return sums, losses

    def _deal(self, pupil: int) -> list[int]:
        """Return the next lessons of a pupil: all of them in a new order, then again."""
        count = min(self._config.rows, len(self._numbers[pupil]))
        if len(self._decks[pupil]) < count:
            self._decks[pupil] += self._orders[pupil].sample(self._numbers[pupil], len(self._numbers[pupil]))
        dealt, self._decks[pupil] = self._decks[pupil][:count], self._decks[pupil][count:]
        return dealt

    def _losses(self, rows: Sequence[tuple[int, int]]) -> Tensor:
        """Return the loss of every row, (rows,): a pupil's number and a lesson's."""
        index = torch.tensor([pupil for pupil, _ in rows], device=self._device)
        lessons = [self._lessons[number] for _, number in rows]
        own = [tensor[index] for tensor in self._factors]
        if self._gates is not None:
            gates = self._gates[[number for _, number in rows], None]
            # A target that an adapter leaves out has no ranks.
            own[1::2] = [B * gates[..., : B.shape[-1]] for B in own[1::2]]
        adapter = {t: LoraFactors(own[2 * n], own[2 * n + 1]) for n, t in enumerate(self._targets)}
        with inject(self._model, adapter):
            if self._shortcut:
                logits = self._shortcut.answer_logits([number for _, number in rows])
            else:
                logits = answer_logits(self._model, [lesson.text for lesson in lessons])
            return lesson_losses(logits, lessons, nll_weight=self._config.nll_weight)

    @torch.no_grad()
    def _update(self, active: Sequence[int], grads: Sequence[Tensor]) -> None:
        """Take one step of AdamW for each active pupil, its gradient clipped by its own norm."""
        rows = torch.tensor(active, device=self._device)
        squares = sum(grad[rows].pow(2).sum(dim=(1, 2)) for grad in grads)
        clip = (MAX_NORM / (torch.as_tensor(squares).sqrt() + 1e-6)).clamp(max=1.0)[:, None, None]
        taken = torch.tensor([len(self.losses[pupil]) for pupil in active], device=self._device)[:, None, None]
        for tensor, grad, (mean, square) in zip(self._factors, grads, self._moments, strict=True):
            g = grad[rows] * clip
            mean[rows] = m = mean[rows].lerp(g, 1 - BETAS[0])
            square[rows] = v = square[rows].lerp(g * g, 1 - BETAS[1])
            m, v = m / (1 - BETAS[0] ** taken), v / (1 - BETAS[1] ** taken)
            old = tensor[rows]
            decayed = old * (1 - self._config.learning_rate * self._config.weight_decay)
            tensor[rows] = decayed - self._config.learning_rate * m / (v.sqrt() + EPS)


def lesson_losses(logits: Tensor, lessons: Sequence[Lesson], *, nll_weight: float) -> Tensor:
    """Return one loss per lesson, (lessons,), in nats a token.

    Where the teacher answered it is the divergence from the teacher and the answer's negative log-likelihood, weighed;
    where the answer was known, the likelihood alone.

    Args:
        logits: (tokens of all answers, vocabulary).
        lessons: As many tokens as there are logits.
        nll_weight: Of the likelihood beside a divergence.
    """
    means = []
    predicted = logits.float().log_softmax(dim=-1)
    for part, lesson in zip(
        predicted.split_with_sizes([len(lesson.text.answer) for lesson in lessons]), lessons, strict=True
    ):
        answer = torch.tensor(lesson.text.answer, device=logits.device)
        nll = -part.gather(-1, answer[:, None]).mean()
        if lesson.top is None or lesson.shares is None:
            means.append(nll)
        else:
            means.append(divergence(part, lesson.top, lesson.shares).mean() + nll_weight * nll)
    return torch.stack(means)


def _done(losses: Sequence[float], config: DistillationConfig) -> bool:
    """Return whether a pupil has learned enough, or learns no more."""
    if config.patience is None or len(losses) < config.patience:
        return False
    p = config.patience
    late, early = sum(losses[-p:]) / p, losses[-2 * p : -p]
    return late < config.enough or (len(early) == p and late >= sum(early) / p)
