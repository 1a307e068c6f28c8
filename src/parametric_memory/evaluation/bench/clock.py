"""Time on a device: a GPU works behind the caller's back, so every reading waits until it is done.

`Clock.now` gives seconds; `Laps` gives milliseconds by stage, with a reading at both ends of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Reads the time when everything that was asked of the device so far is done.

    Args:
        device: Where the work runs.
        synchronise: Waits for the device; by default what torch has for it, and nothing on a CPU.
    """

    def __init__(self, device: torch.device | str = "cpu", *, synchronise: Callable[[], object] | None = None) -> None:
        self._synchronise = synchronise or _synchroniser(torch.device(device))

    def now(self) -> float:
        """Return seconds since some moment, once the device is idle."""
        self._synchronise()
        return time.perf_counter()


class Laps:
    """Milliseconds by stage, in the order in which stages were entered; a stage entered twice adds up."""

    def __init__(self, clock: Clock) -> None:
        self.ms: dict[str, float] = {}
        self._clock = clock

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as a stage."""
        began = self._clock.now()
        try:
            yield
        finally:
            self.ms[stage] = self.ms.get(stage, 0.0) + (self._clock.now() - began) * 1000


def _synchroniser(device: torch.device) -> Callable[[], object]:
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None
