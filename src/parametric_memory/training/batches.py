"""Examples as tensors: token ids, cached states of the frozen lower layers, and batches with distractors.

Everything below the first adapted layer is frozen and unadapted, so its states are computed once per question and once
per document window, the first time a batch needs them, and kept on disk as memory-mapped float16.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from parametric_memory.config import PromptConfig
from parametric_memory.hypernetwork.chat import prompt_ids
from parametric_memory.hypernetwork.network import HypernetworkConfig
from parametric_memory.hypernetwork.states import pad, states_at
from parametric_memory.hypernetwork.windows import Window, atom_ids, windows
from parametric_memory.training.corpus import Corpus, Example, Place
from parametric_memory.training.run import shuffled

logger = logging.getLogger(__name__)
Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type
MAX_READ = 2048


@dataclass(frozen=True, slots=True)
class Batch:
    """One training step.

    Attributes:
        atom_ids: (atoms, T) token ids of every atom of the batch, right-padded.
        atom_states: Per layer (atoms, T, d_model).
        atom_mask: (atoms, T) bool.
        routes: (rows, R) indices into the flattened (atoms * T) tokens; -1 is padding.
        states: (rows, Tq, d_model) at the first adapted layer, prompt and answer.
        mask: (rows, Tq) bool.
        prompt_lengths: (rows,) tokens of each prompt.
        targets: (rows, Tq) the token to predict at each position; -100 where none is.
        inside: (rows, R + 1) bool, the route's tokens that belong to the answer; the last column says that none does.
        start: (rows, R + 1) bool, the same for the answer's first token.
    """

    atom_ids: Tensor
    atom_states: dict[int, Tensor]
    atom_mask: Tensor
    routes: Tensor
    states: Tensor
    mask: Tensor
    prompt_lengths: Tensor
    targets: Tensor
    inside: Tensor
    start: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        moved = {name: getattr(self, name) for name in self.__slots__}
        for name, value in moved.items():
            moved[name] = {k: v.to(device) for k, v in value.items()} if isinstance(value, dict) else value.to(device)
        return Batch(**moved)


class StateCache:
    """States of variable-length items in one float16 file, filled on first use."""

    def __init__(self, path: Path, lengths: Sequence[int], layers: int, d_model: int) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        shape = (int(self.offsets[-1]), layers, d_model)
        done = path.with_suffix(".done.npy")
        size = int(np.prod(shape)) * 2
        if not (path.exists() and done.exists() and path.stat().st_size == size and len(np.load(done)) == len(lengths)):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(done, np.zeros(len(lengths), dtype=bool))
            with path.open("wb") as file:
                file.truncate(size)
        self.states: NDArray[np.float16] = np.memmap(path, np.float16, "r+", shape=shape)
        self.done: NDArray[np.bool_] = np.load(done, mmap_mode="r+")

    def __getitem__(self, item: int) -> NDArray[np.float16]:
        """Return (tokens, layers, d_model)."""
        return self.states[self.offsets[item] : self.offsets[item + 1]]

    def put(self, item: int, states: Tensor) -> None:
        """Keep the states of one item, (tokens, layers, d_model)."""
        self.states[self.offsets[item] : self.offsets[item + 1]] = states.float().clamp(-6e4, 6e4).half().numpy()
        self.done[item] = True


class ExampleBatches:
    """Turns examples into batches. The order depends on the seed and the epoch, the distractors on the step."""

    def __init__(
        self,
        corpus: Corpus,
        examples: Sequence[Example],
        *,
        model: nn.Module,
        tokenizer: Tokenizer,
        config: HypernetworkConfig,
        prompt: PromptConfig,
        cache: Path,
        limit: int | None = None,
    ) -> None:
        self.corpus, self.model, self.config = corpus, model, config
        self.ids = atom_ids(tokenizer, corpus.texts)
        usable = [e for e in examples if e.places and 0 < len(self.ids[e.anchor]) <= config.max_tokens]
        prompts = [prompt_ids(tokenizer, prompt.conversation(example.question)) for example in usable]
        answers = tokenizer([" " + example.answer for example in usable], add_special_tokens=False).input_ids
        end = end_of_turn(tokenizer)
        self.questions = [(list(p), [*a, end]) for p, a in zip(prompts, answers, strict=True)]
        keep = [i for i, (p, a) in enumerate(self.questions) if len(p) + len(a) <= 160]
        self.questions, self.examples = [self.questions[i] for i in keep], [usable[i] for i in keep]
        spans = tokenizer(
            [" " + corpus.texts[e.anchor] for e in self.examples], add_special_tokens=False, return_offsets_mapping=True
        )
        self.spans = [_token_span(o, e.places[0]) for o, e in zip(spans["offset_mapping"], self.examples, strict=True)]
        self._windows, self._place = self._make_windows(tokenizer)
        drawn = range(len(self.examples))
        # A sample, not the first ones: files follow one another.
        self._drawn = drawn if limit is None else sorted(random.Random(0).sample(drawn, min(limit, len(drawn))))
        d = config.d_model
        self._atom_cache = StateCache(cache / "atoms.f16", [len(w.ids) for w in self._windows], 2, d)
        self._question_cache = StateCache(
            cache / "questions.f16", [len(p) + len(a) - 1 for p, a in self.questions], 1, d
        )

    def _make_windows(self, tokenizer: Tokenizer) -> tuple[list[Window], dict[int, tuple[int, int]]]:
        """Pack the documents that examples need into windows; return them and each atom's (window, offset)."""
        made: list[Window] = []
        place: dict[int, tuple[int, int]] = {}
        for document in sorted({self.corpus.document_of[e.anchor] for e in self.examples}):
            atoms = [a for a in self.corpus.documents[document] if 0 < len(self.ids[a]) <= self.config.max_tokens]
            context = self.corpus.contexts[document]
            for window in windows(tokenizer, context, [self.ids[atom] for atom in atoms]):
                for index, offset in window.pieces:
                    place[atoms[index]] = (len(made), offset)
                made.append(window)
        return made, place

    def __len__(self) -> int:
        return len(self._drawn)

    def order(self, seed: int, epoch: int, size: int) -> list[list[int]]:
        """Return one epoch's batches of example numbers (see `run.shuffled`)."""
        return shuffled(self._drawn, size=size, seed=seed, epoch=epoch, length=self._length)

    def _length(self, number: int) -> int:
        return sum(map(len, self.questions[number]))

    def batch(
        self, numbers: Sequence[int], *, rng: random.Random, distractors: Sequence[int], drop_gold: float = 0.0
    ) -> Batch:
        """Make one batch.

        Args:
            numbers: Example numbers, one per row.
            rng: Chooses the distractors.
            distractors: A row's number of distractors is drawn from these: sentences of the same document first, then
                other rows' atoms.
            drop_gold: Share of the rows with distractors whose own atom is left out, so that nothing answers them.
        """
        golds = [self.examples[number].anchor for number in numbers]
        routes = [self._route(gold, golds, rng, rng.choice(distractors), drop_gold) for gold in golds]
        atoms = sorted({atom for route in routes for atom in route})
        self._fill_atoms(atoms)
        self._fill_questions(numbers)
        T = max(len(self.ids[atom]) for atom in atoms)
        ids, mask = pad([torch.tensor(self.ids[atom]) for atom in atoms])
        states = torch.zeros(len(atoms), T, 2, self.config.d_model)
        for row, atom in enumerate(atoms):
            window, offset = self._place[atom]
            states[row, : len(self.ids[atom])] = torch.from_numpy(
                self._atom_cache[window][offset : offset + len(self.ids[atom])].astype(np.float32)
            )
        layers = (self.config.middle_layer, self.config.first_layer)
        question_states, question_mask = pad(
            [torch.from_numpy(self._question_cache[n][:, 0].astype(np.float32)) for n in numbers]
        )
        return Batch(
            atom_ids=ids,
            atom_states={layer: states[:, :, i] for i, layer in enumerate(layers)},
            atom_mask=mask,
            states=question_states,
            mask=question_mask,
            prompt_lengths=torch.tensor([len(self.questions[n][0]) for n in numbers]),
            targets=self._targets(numbers, routes, question_mask.shape[1]),
            **self._labels(numbers, routes, {atom: row * T for row, atom in enumerate(atoms)}),
        )

    def _route(self, gold: int, others: Sequence[int], rng: random.Random, count: int, drop_gold: float) -> list[int]:
        near = [atom for atom in self.corpus.siblings(gold) if atom in self._place]
        route = rng.sample(near, min(count, len(near)))
        far = [atom for atom in others if atom != gold and atom not in near]
        route += rng.sample(far, min(count - len(route), len(far)))
        if not (route and rng.random() < drop_gold):
            route.insert(rng.randint(0, len(route)), gold)
        return list(dict.fromkeys(route))

    def _targets(self, numbers: Sequence[int], routes: Sequence[Sequence[int]], width: int) -> Tensor:
        """Return the answers' tokens where they are predicted; rows without their own atom predict nothing."""
        targets = torch.full((len(numbers), width), -100)
        for row, number in enumerate(numbers):
            prompt, answer = self.questions[number]
            if self.examples[number].anchor in routes[row]:
                targets[row, len(prompt) - 1 : len(prompt) - 1 + len(answer)] = torch.tensor(answer)
        return targets

    def _labels(
        self, numbers: Sequence[int], routes: Sequence[Sequence[int]], first: dict[int, int]
    ) -> dict[str, Tensor]:
        R = max(sum(len(self.ids[atom]) for atom in route) for route in routes)
        indices = torch.full((len(numbers), R), -1)
        inside = torch.zeros(len(numbers), R + 1, dtype=torch.bool)
        start = torch.zeros(len(numbers), R + 1, dtype=torch.bool)
        for row, (number, route) in enumerate(zip(numbers, routes, strict=True)):
            at, gold = 0, self.examples[number].anchor
            for atom in route:
                length = len(self.ids[atom])
                indices[row, at : at + length] = torch.arange(first[atom], first[atom] + length)
                if atom == gold:
                    begin, end = self.spans[number]
                    inside[row, at + begin : at + end] = True
                    start[row, at + begin] = True
                at += length
            if gold not in route:
                inside[row, -1] = start[row, -1] = True
        return {"routes": indices, "inside": inside, "start": start}

    def _fill_atoms(self, atoms: Sequence[int]) -> None:
        missing = sorted({self._place[a][0] for a in atoms if not self._atom_cache.done[self._place[a][0]]})
        layers = (self.config.middle_layer, self.config.first_layer)
        for item, states in self._run([self._windows[i].ids for i in missing], layers):
            self._atom_cache.put(missing[item], states)

    def _fill_questions(self, numbers: Sequence[int]) -> None:
        missing = [n for n in numbers if not self._question_cache.done[n]]
        texts = [[*self.questions[n][0], *self.questions[n][1][:-1]] for n in missing]
        for item, states in self._run(texts, (self.config.first_layer,)):
            self._question_cache.put(missing[item], states)

    def _run(self, texts: Sequence[Sequence[int]], layers: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield (number, states) of every text, in batches of like lengths."""
        device = next(self.model.parameters()).device
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        while order:
            # Longest first: a batch holds at most MAX_READ tokens, padding included.
            count = max(1, MAX_READ // len(texts[order[-1]]))
            numbers, order = order[-count:], order[:-count]
            ids, mask = pad([torch.tensor(texts[number]) for number in numbers])
            states = states_at(self.model, ids.to(device), mask.to(device), layers)
            stacked = torch.stack([states[layer] for layer in layers], dim=2).cpu()
            for row, number in enumerate(numbers):
                yield number, stacked[row, : len(texts[number])]


def end_of_turn(tokenizer: Tokenizer) -> int:
    """Return the token that ends an assistant's turn."""
    return int(tokenizer.eos_token_id)


def _token_span(offsets: Sequence[tuple[int, int]], place: Place) -> tuple[int, int]:
    """Return the half-open range of the atom's tokens that overlap the answer (texts are tokenised behind a space)."""
    inside = [i for i, (a, b) in enumerate(offsets) if a < place.end + 1 and b > place.begin + 1]
    return inside[0], inside[-1] + 1
