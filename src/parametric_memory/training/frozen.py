"""States of the frozen lower layers, which no adapter changes: of questions, and of the windows that atoms stand in.

On a CPU they are computed once, the first time a batch needs them, and kept on disk as memory-mapped float16; on a GPU
computing them anew is faster than reading them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from parametric_memory.hypernetwork.checkpoint import NetworkConfig
from parametric_memory.hypernetwork.network import Gates
from parametric_memory.hypernetwork.states import batches, pad, states_at
from parametric_memory.training.batches import Batch
from parametric_memory.training.exercises import Exercises
from parametric_memory.training.locating import Locate


@dataclass(frozen=True, slots=True)
class States:
    """What the frozen layers say of a batch, in the base model's dtype.

    Attributes:
        questions: Per layer (rows, Tq, d_model).
        windows: Per layer (W, Tw, d_model).
        gates: What ranks are to be weighed by in place of the network's own gates, if they are.
    """

    questions: dict[int, Tensor]
    windows: dict[int, Tensor]
    gates: Gates | None = None


class Frozen:
    """Reads batches with the frozen layers."""

    def __init__(
        self,
        model: nn.Module,
        config: NetworkConfig,
        exercises: Exercises,
        *,
        cache: Path | None = None,
        locate: Locate | None = None,
    ) -> None:
        """Take what is read.

        Args:
            model: The base model.
            config: Says which layers' states are needed.
            exercises: What batches are made of.
            cache: Keeps the states, those of this base model alone; without it they are computed for every batch.
            locate: Says where the atoms of a batch answer; without it, that is left to the network's own gates.
        """
        self._locate = locate
        self._model, self._exercises = model, exercises
        self._layers, self._asked = config.read_layers, config.question_layers
        self._questions = self._windows = None
        if cache is not None:
            d, name = config.d_model, exercises.digest
            layers, at = ("-".join(map(str, numbers)) for numbers in (self._layers, self._asked))
            asked, read = [len(item) for item in exercises.items], [len(window.ids) for window in exercises.windows]
            self._questions = StateCache(cache / f"questions-{name}-{at}.f16", asked, len(self._asked), d)
            self._windows = StateCache(cache / f"windows-{name}-{layers}.f16", read, len(self._layers), d)

    def read(self, batch: Batch) -> States:
        """Return the states of a batch, on the base model's device."""
        parameter = next(self._model.parameters())
        gates = self._locate(batch) if self._locate else None
        if self._questions is None or self._windows is None:
            questions = states_at(self._model, batch.ids, batch.mask, self._asked)
            windows = states_at(self._model, batch.window_ids, batch.window_mask, self._layers)
            return States(questions, windows, gates)
        items, texts = self._exercises.items, self._exercises.windows
        self._fill(self._questions, {n: items[n].read for n in batch.numbers}, self._asked)
        self._fill(self._windows, {n: texts[n].ids for n in batch.window_numbers}, self._layers)
        asked = self._questions.stacked(batch.numbers).to(parameter)
        read = self._windows.stacked(batch.window_numbers).to(parameter)
        return States(_by_layer(asked, self._asked), _by_layer(read, self._layers), gates)

    def _fill(self, cache: StateCache, texts: dict[int, list[int]], layers: Sequence[int]) -> None:
        missing = {number: ids for number, ids in texts.items() if not cache.done[number]}
        for number, states in _run(self._model, missing, layers):
            cache.put(number, states)


class StateCache:
    """States of variable-length items in one float16 file, filled on first use."""

    def __init__(self, path: Path, lengths: Sequence[int], layers: int, d_model: int) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        shape = (int(self.offsets[-1]), layers, d_model)
        done = path.with_suffix(".done.npy")
        size = int(np.prod(shape)) * 2
        if not (path.exists() and done.exists() and path.stat().st_size == size):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(done, np.zeros(len(lengths), dtype=bool))
            with path.open("wb") as file:
                file.truncate(size)
        self.states: NDArray[np.float16] = np.memmap(path, np.float16, "r+", shape=shape)
        self.done: NDArray[np.bool_] = np.load(done, mmap_mode="r+")

    def stacked(self, numbers: Sequence[int]) -> Tensor:
        """Return some items, (items, tokens, layers, d_model), right-padded with zeros."""
        rows = [self.states[self.offsets[number] : self.offsets[number + 1]] for number in numbers]
        return pad([torch.from_numpy(row.copy()) for row in rows])[0]

    def put(self, item: int, states: Tensor) -> None:
        """Keep the states of one item, (tokens, layers, d_model)."""
        self.states[self.offsets[item] : self.offsets[item + 1]] = states.float().clamp(-6e4, 6e4).half().numpy()
        self.done[item] = True


def _by_layer(states: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
    """Return states (items, tokens, layers, d_model) by the number of their layer."""
    return {layer: states[:, :, place] for place, layer in enumerate(layers)}


def _run(model: nn.Module, texts: dict[int, list[int]], layers: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Yield (number, states) of every text, in batches of like lengths."""
    device = next(model.parameters()).device
    all_numbers = list(texts)
    for batch in batches([len(ids) for ids in texts.values()], device):
        numbers = [all_numbers[place] for place in batch]
        ids, mask = pad([torch.tensor(texts[number]) for number in numbers])
        states = states_at(model, ids.to(device), mask.to(device), layers)
        stacked = torch.stack([states[layer] for layer in layers], dim=2).cpu()
        for row, number in enumerate(numbers):
            yield number, stacked[row, : len(texts[number])]
