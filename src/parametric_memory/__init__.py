"""Parametric memory: documents compiled into atom adapters, answers from weights.

Importing this package is cheap: heavy libraries load when a `ParametricMemory` is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from parametric_memory.memory import ParametricMemory

__all__ = ["ParametricMemory", "__version__"]


def __getattr__(name: str) -> object:
    """Import `ParametricMemory` on first use, so that ``import parametric_memory`` stays cheap."""
    if name == "ParametricMemory":
        from parametric_memory.memory import ParametricMemory

        return ParametricMemory
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
