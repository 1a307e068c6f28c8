"""Training of a token router: the key encoder's upper layers go on learning, to find answers in atoms."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parametric_memory.routing.spans import SpanNetwork
from parametric_memory.training.pairings import Pairing, Pairings, span_terms
from parametric_memory.training.run import fast_dtype, means
from parametric_memory.training.single_run import Pace, SingleRun

#: The heads are new, and learn so many times as fast as what was trained before.
HEADS = 10.0
#: What is validated on: atoms beside those that answer, and how many of the questions are made to have no answer.
KINDS: dict[str, dict[str, Any]] = {
    "alone": {"others": 0},
    "neighbours": {"others": 3},
    "nothing": {"others": 3, "nothing": 1.0},
    "twisted": {"others": 3, "twists": 1.0},
    "unled": {"others": 3},
    "led": {"others": 3, "hops": 1.0},
}
#: Kinds of questions that one atom answers and others lead to.
LED = ("unled", "led")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRouterConfig(Pace):
    """How long, how fast, and on what.

    Attributes:
        examples: Questions that are drawn from; all if None.
        synthetic: Questions about a synthetic world beside them.
        others: A step's number of atoms beside those that answer is drawn from these.
        nothing: Share of the questions that nothing answers, where there are others.
        twists: Share of the questions that are changed so that nothing answers them, where they can be.
        hops: Share of the questions that atoms lead to which are asked as a further hop asks them, where there are any.
        validation: Held-out questions that are validated on, of each kind.
        frozen: The encoder's lowest layers, which stay as they are.
        reserve: Leave out a fifth of the documents, for compilers that are to be trained on what the router finds.
    """

    steps: int = 1300
    batch_size: int = 32
    learning_rate: float = 1e-4
    warmup: int = 65
    evaluate_every: int = 250
    examples: int | None = None
    synthetic: int = 4000
    others: tuple[int, ...] = (0, 1, 2, 3, 7)
    nothing: float = 0.15
    twists: float = 0.25
    hops: float = 0.5
    validation: int = 256
    frozen: int = 2
    reserve: bool = False


class TokenRouterTrainer(SingleRun):
    """A run that trains a token router."""

    def __init__(
        self, network: SpanNetwork, train: Pairings, validation: Pairings, config: TokenRouterConfig, out: Path
    ) -> None:
        self.network, self.train, self.config = network, train, config
        network.encoder.set_attn_implementation("eager")  # the fastest for pairs as short as these
        groups: list[dict[str, Any]] = [
            {"params": [parameter for parameter in network.encoder.parameters() if parameter.requires_grad]},
            {"params": [*network.ends.parameters(), *network.fits.parameters()], "share": HEADS},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
        super().__init__(network, optimizer, config, train.lengths(), out)
        asked = _some(range(len(validation)), config)
        led = _some([n for n, example in enumerate(validation.examples) if validation.leading(example)], config)
        self.validation = {
            name: validation.draw(led if name in LED else asked, random.Random(0), near=1.0, **kind)
            for name, kind in KINDS.items()
        }
        # A question in which nothing can be changed is none of that kind.
        self.validation["twisted"] = [pairing for pairing in self.validation["twisted"] if not pairing.golds]

    def terms(self, numbers: list[int]) -> dict[str, Tensor]:
        """Return the loss of some questions, with atoms that the step decides."""
        rng = random.Random(f"{self.config.seed}/{self.step}")
        count = rng.choice(self.config.others)
        config = self.config
        shares = {"nothing": config.nothing, "twists": config.twists, "hops": config.hops}
        drawn = self.train.draw(numbers, rng, others=count, **shares)
        self.network.train()
        return self._read(drawn)

    @torch.no_grad()
    def validated(self) -> dict[str, float]:
        """Return the mean terms of every kind of held-out questions."""
        self.network.eval()
        found: dict[str, float] = {}
        for name, pairings in self.validation.items():
            if not pairings:
                continue
            rows = [{k: float(v) for k, v in self._read(part).items()} for part in _parts(pairings)]
            # Where no question is of a kind (nothing answers any), there is no rate.
            counted = {term for row in rows for term, value in row.items() if not math.isnan(value)}
            found |= {f"{term}_{name}": value for term, value in means(rows).items() if term in counted}
        return found

    def _read(self, pairings: list[Pairing]) -> dict[str, Tensor]:
        fast = fast_dtype()
        with torch.autocast(self.device.type, dtype=fast, enabled=fast != torch.float32):
            scores = self.network([pair for pairing in pairings for pair in pairing.pairs])
        return span_terms(scores, pairings)


def _some(numbers: Sequence[int], config: TokenRouterConfig) -> list[int]:
    return random.Random(config.seed).sample(numbers, min(config.validation, len(numbers)))


def _parts(pairings: list[Pairing], size: int = 32) -> Iterator[list[Pairing]]:
    for begin in range(0, len(pairings), size):
        yield pairings[begin : begin + size]
