"""Rows of numbers in one byte each, and a scale a row: half the bytes of float16, for under a hundredth of error."""

from __future__ import annotations

import torch
from torch import Tensor

_LEVELS = 127
#: The smallest normal float16: no scale is zero, none loses digits.
_SMALLEST = 2.0**-14


def to_int8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return finite rows (..., n) as int8, symmetric about 0, and their scales (..., 1) as float16.

    No number is further than half a step (a 254th of the largest of its row) from what `from_int8` returns, but for
    rounding of the scale itself.
    """
    scale = (rows.abs().amax(dim=-1, keepdim=True) / _LEVELS).clamp(min=_SMALLEST).half()
    return (rows / scale.float()).round().clamp(-_LEVELS, _LEVELS).to(torch.int8), scale


def from_int8(numbers: Tensor, scale: Tensor) -> Tensor:
    """Return what `to_int8` was given, (..., n) float32."""
    return numbers.float() * scale.float()
