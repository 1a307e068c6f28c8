"""States of the frozen base model: read them at some layers, and go on from one of them.

A *state at layer l* is the input of decoder layer l, (batch, tokens, d_model); layer 0's is the token embedding.
Reading stops at the last layer asked for, so that the layers above it cost nothing. It works on any transformers
decoder whose layers stand in one list; continuing needs Llama's layer signature (Llama, Qwen, Mistral, SmolLM).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from parametric_memory.errors import UnsupportedModelError


class _LastLayerReached(Exception):  # noqa: N818 - control flow, not an error
    """Ends a forward pass as soon as the last wanted state is known."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is kept of one forward pass: each module's input, and the module at which the pass ends."""

    last: nn.Module | None
    kept: dict[nn.Module, Tensor]


# Per context, as adapters are: another thread that runs the same model is neither read nor stopped.
_reading: ContextVar[_Reading | None] = ContextVar("parametric_memory_reading", default=None)
_installing = threading.Lock()


def decoder_of(model: nn.Module) -> nn.Module:
    """Return the module that holds the list of decoder layers.

    Raises:
        UnsupportedModelError: If there is none.
    """
    for module in model.modules():
        if isinstance(getattr(module, "layers", None), nn.ModuleList):
            return module
    raise UnsupportedModelError(
        f"looking for the decoder layers of {type(model).__name__}: no module has a ModuleList named 'layers'; "
        "use a Llama-like causal LM"
    )


def layers_of(model: nn.Module) -> nn.ModuleList:
    """Return the decoder layers, lowest first."""
    layers = decoder_of(model).layers
    assert isinstance(layers, nn.ModuleList)
    return layers


def _keep_input(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    reading = _reading.get()
    if reading is None or module not in reading.kept:
        return
    reading.kept[module] = args[0] if args else kwargs["hidden_states"]
    if module is reading.last:
        raise _LastLayerReached


@contextmanager
def inputs_kept(modules: Sequence[nn.Module], *, last: nn.Module | None = None) -> Iterator[dict[nn.Module, Tensor]]:
    """Keep what each module is given inside the block; with `last`, forward passes end there."""
    with _installing:
        for module in modules:
            if _keep_input not in module._forward_pre_hooks.values():
                module.register_forward_pre_hook(_keep_input, with_kwargs=True)
    reading = _Reading(last, dict.fromkeys(modules, torch.empty(0)))
    token = _reading.set(reading)
    try:
        with suppress(_LastLayerReached):
            yield reading.kept
    finally:
        _reading.reset(token)


def batches(lengths: Sequence[int], device: torch.device) -> Iterator[list[int]]:
    """Yield the numbers of texts in batches of like lengths, the longest first.

    A batch has as many tokens, padding included, as one forward pass reads best: a GPU wants many; a CPU is busy with
    a few hundred, and pays for padding.

    Args:
        lengths: Tokens of each text.
        device: Where they are read.
    """
    tokens = 512 if device.type == "cpu" else 4096
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    while order:
        count = max(1, tokens // max(1, lengths[order[0]]))
        yield order[:count]
        order = order[count:]


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Right-pad rows of (length, ...) with zeros; return them, (rows, longest, ...), and their mask."""
    padded = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows], device=padded.device)
    return padded, torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None]


@torch.no_grad()
def states_at(model: nn.Module, ids: Tensor, mask: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
    """Return the states at `layers` of right-padded tokens.

    Args:
        model: A causal LM of transformers.
        ids: (batch, tokens) token ids.
        mask: (batch, tokens) bool, False at padding.
        layers: Layer numbers; the pass stops at the highest.

    Returns:
        Per layer (batch, tokens, d_model) in the model's dtype.
    """
    modules = {number: layers_of(model)[number] for number in layers}
    with inputs_kept(list(modules.values()), last=modules[max(layers)]) as kept:
        decoder_of(model)(input_ids=ids, attention_mask=mask.long(), use_cache=False)
    return {number: kept[module] for number, module in modules.items()}


def continue_from(model: nn.Module, states: Tensor, mask: Tensor, layer: int) -> Tensor:
    """Run the layers from `layer` to the last, and the final norm, on the states at `layer`.

    Args:
        model: A causal LM of transformers with Llama's layer signature.
        states: (batch, tokens, d_model), right-padded.
        mask: (batch, tokens) bool, False at padding.
        layer: The first layer to run.

    Returns:
        (batch, tokens, d_model): what the LM head is given. Differentiable in whatever is injected.
    """
    decoder: Any = decoder_of(model)
    tokens = states.shape[1]
    positions = torch.arange(tokens, device=states.device)[None]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=states.device).tril()
    allowed = causal[None, None] & mask[:, None, None, :]
    # Additive, which every attention implementation understands.
    bias = torch.zeros(allowed.shape, dtype=states.dtype, device=states.device).masked_fill(
        ~allowed, torch.finfo(states.dtype).min
    )
    rotary = decoder.rotary_emb(states, positions)
    for block in decoder.layers[layer:]:
        out = block(states, attention_mask=bias, position_ids=positions, position_embeddings=rotary, use_cache=False)
        states = out[0] if isinstance(out, tuple) else out
    normed: Tensor = decoder.norm(states)
    return normed


def logits_of(model: nn.Module, hidden: Tensor) -> Tensor:
    """Return the logits, (…, vocabulary), of what `continue_from` returns, capped as Gemma 2 caps them."""
    model_: Any = model
    logits: Tensor = model_.get_output_embeddings()(hidden)
    cap = getattr(model_.config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


@torch.no_grad()
def module_inputs(model: nn.Module, ids: Tensor, targets: Sequence[str]) -> dict[str, Tensor]:
    """Return what each target module is given when the bare model reads `ids` (1, tokens): (tokens, d_in) by target."""
    modules = {target: model.get_submodule(target) for target in targets}
    ids = ids.to(next(model.parameters()).device)
    with inputs_kept(list(modules.values())) as kept:
        decoder_of(model)(input_ids=ids, use_cache=False)
    return {target: kept[module][0].float() for target, module in modules.items()}
