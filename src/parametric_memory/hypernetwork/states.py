"""States of the frozen base model: read them at some layers, and go on from one of them.

A *state at layer l* is the input of decoder layer l, (batch, tokens, d_model); layer 0's is the token embedding.
Reading stops at the last layer asked for, so that the layers above it cost nothing. It works on any transformers
decoder whose layers stand in one list; continuing needs Llama's layer signature (Llama, Qwen, Mistral, SmolLM).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from parametric_memory.errors import UnsupportedModelError


class _LastLayerReached(Exception):  # noqa: N818 - control flow, not an error
    """Ends a forward pass as soon as the last wanted state is known."""


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


@contextmanager
def _inputs_kept(modules: dict[Any, nn.Module], kept: dict[Any, Tensor], *, last: Any = None) -> Iterator[None]:
    """Keep what each module is given; with `last`, stop the pass there."""

    def keep(name: Any) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            kept[name] = args[0] if args else kwargs["hidden_states"]
            if name == last:
                raise _LastLayerReached

        return hook

    handles = [module.register_forward_pre_hook(keep(name), with_kwargs=True) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
    kept: dict[int, Tensor] = {}
    with _inputs_kept(modules, kept, last=max(layers)), suppress(_LastLayerReached):
        decoder_of(model)(input_ids=ids, attention_mask=mask.long(), use_cache=False)
    return kept


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


@torch.no_grad()
def module_inputs(model: nn.Module, ids: Tensor, targets: Sequence[str]) -> dict[str, Tensor]:
    """Return what each target module is given when the bare model reads `ids` (1, tokens): (tokens, d_in) by target."""
    kept: dict[str, Tensor] = {}
    with _inputs_kept({target: model.get_submodule(target) for target in targets}, kept):
        decoder_of(model)(input_ids=ids, use_cache=False)
    return {target: value[0].float() for target, value in kept.items()}
