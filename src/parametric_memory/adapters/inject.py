"""Make adapters active for the length of a `with` block: base model in, base model plus ΔW inside, base model out.

Nothing is merged and no weight is touched. A forward hook on each target module adds ``(x Aᵀ) Bᵀ`` to its output; what
it adds is looked up in a context variable, so every thread and every asyncio task sees only its own adapter. The hook
stays on the module after the first block and does nothing wherever no adapter is active.

Two things follow from "per context":

* A new thread starts without adapters. Start it with `contextvars.copy_context().run` from inside the block.
* A generator runs in the context of whoever calls `next`: yielding from inside the block would leak the adapter to
  the caller between two pieces. Start the work inside the block, and yield outside it::

    with inject(model, adapter):
        context = contextvars.copy_context()
    Thread(target=context.run, args=(partial(model.generate, streamer=streamer, **inputs),)).start()
    yield from streamer

Activation checkpointing runs layers again during `backward`: on the CPU call it inside the block; on a GPU that happens
in threads of autograd's own, which have no adapters, so do not combine the two there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from parametric_memory.adapters.factors import stack
from parametric_memory.errors import AdapterError, UnsupportedModelError
from parametric_memory.types import AtomAdapter, ComposedAdapter, LoraFactors

Adapter: TypeAlias = ComposedAdapter | AtomAdapter | Mapping[str, LoraFactors]


@contextmanager
def inject(model: nn.Module, adapter: Adapter | Sequence[Adapter | None] | None) -> Iterator[None]:
    """Run the block with an adapter active on ``model``, in this thread or asyncio task only.

    Gradients reach the factors. A nested block on the same model replaces the adapter and restores it at its end.

    Args:
        model: The base model; its targets are `nn.Linear`, something with its shape attributes, or GPT-2's `Conv1D`.
        adapter: One adapter for all rows; or a sequence with one per row of the batch, where None is a row of the bare
            base model, bit for bit; or None for the bare base model. A mapping of factors by target is an adapter
            too, and its factors may be 3-D, one per row (see `LoraFactors`).

    Raises:
        UnsupportedModelError: If the model has no such module, or it is not a linear layer.
        AdapterError: If factors do not fit their module; inside the block, if a batch has not one row per adapter.
    """
    updates = {target: _Update(model, target, factors) for target, factors in _by_target(adapter).items()}
    modules = {target: _module(model, target) for target in updates}
    for target, update in updates.items():
        _check_shapes(modules[target], update)
    for module in modules.values():
        _install(module)
    others = {module: update for module, update in _active.get().items() if update.model is not model}
    token = _active.set(others | {modules[target]: update for target, update in updates.items()})
    try:
        yield
    finally:
        _active.reset(token)


@dataclass(frozen=True, slots=True, eq=False)
class _Update:
    """What one module adds to its output: one update for all rows, or one (or None) per row."""

    model: nn.Module
    target: str
    factors: LoraFactors | tuple[LoraFactors | None, ...]
    placed: dict[tuple[object, ...], tuple[LoraFactors, Tensor | None]] = field(default_factory=dict)

    @property
    def parts(self) -> list[LoraFactors]:
        rows = self.factors if isinstance(self.factors, tuple) else (self.factors,)
        return [row for row in rows if row is not None]

    def add_to(self, output: Tensor, x: Tensor) -> Tensor:
        """Return ``output + (x Aᵀ) Bᵀ``; rows without an update keep their bits."""
        factors, present = self.placed_for(x)
        if factors.A.dim() == 2:
            return output + linear(linear(x, factors.A), factors.B).to(output)
        rows = factors.A.shape[0]
        if x.shape[0] != rows:
            raise AdapterError(
                f"running {self.target}: {rows} adapters were injected, one per row, but the batch has {x.shape[0]} "
                "rows; pass one adapter per row (repeat each for its beams or returned sequences)"
            )
        flat = x.reshape(rows, -1, x.shape[-1])  # (rows, positions, d_in)
        update = torch.bmm(torch.bmm(flat, factors.A.mT), factors.B.mT).reshape(output.shape)
        adapted = output + update.to(output)
        if present is None:
            return adapted
        # Adding zeros would turn -0.0 into 0.0.
        return torch.where(present.to(output.device).reshape(rows, *[1] * (output.dim() - 1)), adapted, output)

    def placed_for(self, x: Tensor) -> tuple[LoraFactors, Tensor | None]:
        """Return the factors on x's device, in its dtype, and which rows have some (None if all)."""
        key = (x.device, x.dtype, torch.is_inference_mode_enabled())
        if key in self.placed:
            return self.placed[key]
        present = None
        if isinstance(self.factors, tuple):
            placed = stack([row and _to(row, x) for row in self.factors])
            if None in self.factors:
                present = torch.tensor([row is not None for row in self.factors], device=x.device)
        else:
            placed = _to(self.factors, x)
        # What is being trained changes between two forward passes: only constants may be kept.
        if not any(part.A.requires_grad or part.B.requires_grad for part in self.parts):
            self.placed[key] = placed, present
        return placed, present


# Keyed by the modules themselves: an id could be given to another module while a copied context still holds it.
_active: ContextVar[Mapping[nn.Module, _Update]] = ContextVar(
    "parametric_memory_active_adapters", default=MappingProxyType({})
)
_installing = threading.Lock()


def _add_update(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
    update = _active.get().get(module)
    if update is None:
        return None
    return update.add_to(output, args[0] if args else next(iter(kwargs.values())))


def _install(module: nn.Module) -> None:
    """Put the hook on a module once. The hook is a plain function: it keeps no model alive and survives deepcopy."""
    with _installing:
        if _add_update not in module._forward_hooks.values():
            module.register_forward_hook(_add_update, with_kwargs=True)


def _by_target(
    adapter: Adapter | Sequence[Adapter | None] | None,
) -> dict[str, LoraFactors | tuple[LoraFactors | None, ...]]:
    """Return what each target adds; rows are gathered by target."""
    if adapter is None:
        return {}
    if not isinstance(adapter, Sequence):
        return dict(_factors(adapter))
    rows = [{} if row is None else _factors(row) for row in adapter]
    targets = dict.fromkeys(target for row in rows for target in row)
    return {target: tuple(row.get(target) for row in rows) for target in targets}


def _factors(adapter: Adapter) -> Mapping[str, LoraFactors]:
    return adapter if isinstance(adapter, Mapping) else adapter.factors


def _to(factors: LoraFactors, x: Tensor) -> LoraFactors:
    return LoraFactors(factors.A.to(x), factors.B.to(x))


def _module(model: nn.Module, target: str) -> nn.Module:
    try:
        return model.get_submodule(target)
    except AttributeError as error:
        names = [name for name, _ in model.named_modules()]
        close = ", ".join(get_close_matches(target, names)) or "nothing of a similar name"
        raise UnsupportedModelError(
            f"injecting an adapter into {type(model).__name__}: it has no module {target!r}, but {close}; "
            "was the adapter made for another base model?"
        ) from error


def _check_shapes(module: nn.Module, update: _Update) -> None:
    d_in, d_out = sizes(module, update.target)
    dims = (2,) if isinstance(update.factors, tuple) else (2, 3)
    for part in update.parts:
        A, B = tuple(part.A.shape), tuple(part.B.shape)
        if len(A) not in dims or A[-1] != d_in or (*A[:-2], d_out, A[-2]) != B:
            raise AdapterError(
                f"injecting into {update.target}, which maps {d_in} features to {d_out}: A is {A} and B is {B}, "
                f"expected (rank, {d_in}) and ({d_out}, rank); was the adapter made for another base model?"
            )


def sizes(module: nn.Module, target: str) -> tuple[int, int]:
    """Return (d_in, d_out) of a linear module without a look at its weight, which may be quantised or offloaded.

    Raises:
        UnsupportedModelError: If it is not one.
    """
    for names in (("in_features", "out_features"), ("nx", "nf")):  # Linear; GPT-2's Conv1D
        if all(hasattr(module, name) for name in names):
            d_in, d_out = (int(getattr(module, name)) for name in names)
            return d_in, d_out
    raise UnsupportedModelError(f"adapting {target}: it is a {type(module).__name__}, not a linear layer")
