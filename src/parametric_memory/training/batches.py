"""Batches: some exercises, each with the atoms of a route, as the tensors of one training step.

Only token ids and where they belong: the states of the frozen layers are read later, on the device or from disk (see
`training.frozen`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from parametric_memory.hypernetwork.states import pad
from parametric_memory.training.exercises import Exercise, Exercises


@dataclass(frozen=True, slots=True)
class Batch:
    """One training step of ``rows`` questions over ``atoms`` different atoms in ``W`` windows.

    Attributes:
        numbers: The exercises' numbers.
        atoms: Each row's atoms, in the order in which their tokens stand in `routes`.
        window_numbers: The windows' numbers.
        window_ids: (W, Tw) token ids, right-padded.
        window_mask: (W, Tw) bool.
        places: (atoms, T) where each atom's tokens stand in the flattened windows; -1 is padding.
        chunks: (rows, C) the windows that each row's atoms stand in, but for those that answer a row that nothing is to
            answer; -1 is padding.
        routes: (rows, R) where each row's tokens stand in the flattened atoms; -1 is padding.
        ids: (rows, Tq) token ids of prompts and answers, right-padded.
        mask: (rows, Tq) bool.
        prompt_lengths: (rows,) tokens of each prompt.
        targets: (rows, Tq) the token to predict at each position; -100 where none is.
        inside: (rows, R + 1) bool, the route's tokens that say the answer; the last column says that none does.
        start: (rows, R + 1) bool, the same for the answer's first token, once per atom that holds it.
        after: (rows, R + 1) bool, the same for the first token behind the answer, where its atom goes on.
        evidence: (rows, R + 1) bool, all tokens of the atoms that answer; the last column as above.
        spanned: (rows,) bool, whether `inside` and `start` are known.
        several: (rows,) bool, whether the answer takes more than one atom.
        ending: The token that ends a turn.
    """

    numbers: list[int]
    atoms: list[list[int]]
    window_numbers: list[int]
    window_ids: Tensor
    window_mask: Tensor
    places: Tensor
    chunks: Tensor
    routes: Tensor
    ids: Tensor
    mask: Tensor
    prompt_lengths: Tensor
    targets: Tensor
    inside: Tensor
    start: Tensor
    after: Tensor
    evidence: Tensor
    spanned: Tensor
    several: Tensor
    ending: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)

    @property
    def unanswered(self) -> Tensor:
        """The rows that nothing in their route answers, (rows,) bool."""
        return self.evidence[:, -1]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def collate(
    exercises: Exercises,
    numbers: Sequence[int],
    *,
    rng: random.Random,
    distractors: Sequence[int],
    nothing: float = 0.0,
) -> Batch:
    """Make one batch.

    Args:
        exercises: What may be asked.
        numbers: Which are asked, one per row.
        rng: Chooses the distractors.
        distractors: The batch's number of distractors a row is drawn from these (the same for all rows: the fewer
            they are, the less there is to compute). Rivals come first, then other rows' atoms.
        nothing: Share of the rows with distractors whose own atoms are left out, so that nothing answers them.
    """
    items = [exercises.items[number] for number in numbers]
    pool = [atom for item in items for atom in item.example.golds]
    count = rng.choice(distractors)
    routes = [_route(exercises, item, pool, rng, count, nothing) for item in items]
    atoms = sorted({atom for route in routes for atom in route})
    windows = sorted({exercises.places[atom][0] for atom in atoms})
    rows = {window: row for row, window in enumerate(windows)}
    window_ids, window_mask = pad([torch.tensor(exercises.windows[number].ids) for number in windows])
    ids, mask = pad([torch.tensor(item.read) for item in items])
    return Batch(
        numbers=list(numbers),
        atoms=routes,
        window_numbers=windows,
        window_ids=window_ids,
        window_mask=window_mask,
        places=_places(exercises, atoms, rows, window_ids.shape[1]),
        chunks=_chunks(exercises, items, routes, rows),
        ids=ids,
        mask=mask,
        prompt_lengths=torch.tensor([len(item.prompt) for item in items]),
        targets=_targets(items, routes, ids.shape[1]),
        several=torch.tensor([len(item.example.golds) > 1 for item in items]),
        ending=exercises.ending,
        **_labels(exercises, items, routes, atoms),
    )


def _route(
    exercises: Exercises, item: Exercise, pool: Sequence[int], rng: random.Random, count: int, nothing: float
) -> list[int]:
    """Draw a row's atoms, in any order: its own, and `count` others."""
    golds = list(item.example.golds)
    # Half of the others are the hardest, half are drawn from all that rival.
    hard = list(item.rivals[: (count + 1) // 2])
    rest = [atom for atom in item.rivals if atom not in hard]
    others = hard + rng.sample(rest, min(count - len(hard), len(rest)))
    far = [atom for atom in dict.fromkeys(pool) if atom not in golds and atom not in item.rivals]
    others += rng.sample(far, min(count - len(others), len(far)))
    if golds and not (others and rng.random() < nothing):
        others += golds
    if not others:  # a question that nothing answers needs something that does not
        others = [atom for atom in item.example.look_alikes if atom in exercises.ids][:1]
    rng.shuffle(others)
    return others


def _places(exercises: Exercises, atoms: Sequence[int], rows: dict[int, int], width: int) -> Tensor:
    longest = max(len(exercises.ids[atom]) for atom in atoms)
    places = torch.full((len(atoms), longest), -1)
    for row, atom in enumerate(atoms):
        window, offset = exercises.places[atom]
        begin = rows[window] * width + offset
        length = len(exercises.ids[atom])
        places[row, :length] = torch.arange(begin, begin + length)
    return places


def _chunks(
    exercises: Exercises, items: Sequence[Exercise], routes: Sequence[Sequence[int]], rows: dict[int, int]
) -> Tensor:
    found = []
    for item, route in zip(items, routes, strict=True):
        golds = set(item.example.golds)
        # A neighbour's window may hold what answers, too.
        hidden = set() if golds <= set(route) else {exercises.places[gold][0] for gold in golds}
        own = dict.fromkeys(exercises.places[atom][0] for atom in route)
        found.append([rows[window] for window in own if window not in hidden])
    chunks = torch.full((len(items), max(1, *map(len, found))), -1)
    for row, numbers in enumerate(found):
        chunks[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.long)
    return chunks


def _targets(items: Sequence[Exercise], routes: Sequence[Sequence[int]], width: int) -> Tensor:
    """Return the answers' tokens where they are predicted; rows without their own atoms predict nothing."""
    targets = torch.full((len(items), width), -100)
    for row, (item, route) in enumerate(zip(items, routes, strict=True)):
        if item.answer and set(item.example.golds) <= set(route):
            begin = len(item.prompt) - 1
            targets[row, begin : begin + len(item.answer)] = torch.tensor(item.answer)
    return targets


def _labels(
    exercises: Exercises, items: Sequence[Exercise], routes: Sequence[Sequence[int]], atoms: Sequence[int]
) -> dict[str, Tensor]:
    longest = max(len(exercises.ids[atom]) for atom in atoms)
    first = {atom: row * longest for row, atom in enumerate(atoms)}
    R = max(sum(len(exercises.ids[atom]) for atom in route) for route in routes)
    indices = torch.full((len(items), R), -1)
    inside, start, after, evidence = (torch.zeros(len(items), R + 1, dtype=torch.bool) for _ in range(4))
    spanned = torch.zeros(len(items), dtype=torch.bool)
    for row, (item, route) in enumerate(zip(items, routes, strict=True)):
        at, golds = 0, set(item.example.golds)
        answered = bool(golds) and golds <= set(route)
        spanned[row] = bool(item.spans) or not answered
        for atom in route:
            length = len(exercises.ids[atom])
            indices[row, at : at + length] = torch.arange(first[atom], first[atom] + length)
            evidence[row, at : at + length] = atom in golds
            if atom in item.spans:
                begin, end = item.spans[atom]
                inside[row, at + begin : at + end] = True
                start[row, at + begin] = True
                if end < length:
                    after[row, at + end] = True
            at += length
        if not answered:
            inside[row, -1] = start[row, -1] = evidence[row, -1] = True
    labels = {"inside": inside, "start": start, "after": after, "evidence": evidence}
    return {"routes": indices, "spanned": spanned, **labels}
