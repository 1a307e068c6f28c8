"""The document hypernetwork: a chunk's states at every adapted layer in, its code and one LoRA per layer out.

Doc-to-LoRA (arXiv 2602.15902). A perceiver, shared by the layers, reads what the frozen base model makes of a chunk:
layer l's latents see layer l's states and nothing else, one latent for each rank. A layer's own head turns a latent
into a row of A and a column of B::

    A_r = s^A_r · row(h_r) / ‖x‖        B_r = α s^B_r · column(h_r)        h = normalise(z + MLP_l(z))

s^B begins at zero, so a new hypernetwork changes nothing. A memory of several chunks is their LoRAs, concatenated along
the rank, and one `bias`, a LoRA that is learned and depends on no document.

The latents z are a chunk's code: they are what is stored. Rows of A are orthogonal to the sink and scaled for inputs of
any norm, as those of the atoms are (see `parametric_memory.hypernetwork.network`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, pad, scaled_dot_product_attention

from parametric_memory.hypernetwork.network import heads_for, rms, sizes_of
from parametric_memory.types import LoraFactors

#: Multiplies B, as in the paper; it makes the learned scale of B move as fast as the rest.
ALPHA = 2**5.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentHypernetworkConfig:
    """Sizes of a document hypernetwork; it fits one base model.

    Attributes:
        d_model: Width of the base model's states.
        d_in: Width of what its target modules are given.
        first_layer: The lowest adapted layer; 0 if all are.
        layers: Number of adapted layers.
        rank: Of a chunk's LoRA, and of the bias.
        width: Of a latent.
        blocks: Cross-attention blocks of the perceiver.
        heads: Attention heads of a block.
        max_tokens: Longest chunk; a longer text is read as several.
        dropout: Used in training only.
    """

    d_model: int
    d_in: int
    first_layer: int
    layers: int
    rank: int = 8
    width: int = 320
    blocks: int = 8
    heads: int = 5
    max_tokens: int = 512
    dropout: float = 0.1

    @property
    def question_layers(self) -> tuple[int, ...]:
        """The layer at whose input questions are read."""
        return (self.first_layer,)

    @property
    def read_layers(self) -> tuple[int, ...]:
        """The layers at whose inputs chunks are read: the adapted ones."""
        return tuple(range(self.first_layer, self.first_layer + self.layers))


class DocumentHypernetwork(nn.Module):
    """Encodes chunks, and emits their factors and the bias."""

    sink: Tensor
    input_norm: Tensor

    def __init__(self, config: DocumentHypernetworkConfig) -> None:
        super().__init__()
        self.config, c = config, config
        w, K, emitted = c.width, c.layers, c.d_in + c.d_model
        self.read = nn.Linear(c.d_model, w)
        self.read_norm = nn.LayerNorm(w)
        self.dropout = nn.Dropout(c.dropout)
        self.latents = nn.Parameter(torch.randn(c.rank, w) * 0.5)
        self.blocks = nn.ModuleList(_Block(w, c.heads) for _ in range(c.blocks))
        self.norm = nn.LayerNorm(w)
        self.widen = nn.Parameter(torch.randn(K, w, 4 * w) / math.sqrt(w))
        self.narrow = nn.Parameter(torch.randn(K, 4 * w, w) * 0.1 / math.sqrt(4 * w))
        self.head = nn.Parameter(torch.randn(K, w, emitted) / math.sqrt(w))
        self.scale_a = nn.Parameter(torch.ones(K, c.rank))
        self.scale_b = nn.Parameter(torch.zeros(K, c.rank))
        self.bias_a = nn.Parameter(torch.randn(K, c.rank, c.d_in))
        self.bias_b = nn.Parameter(torch.zeros(K, c.d_model, c.rank))
        # Facts of the base model, filled in by `network.measure_inputs`.
        self.register_buffer("sink", torch.zeros(K, c.d_in))
        self.register_buffer("input_norm", torch.ones(K))

    def encode(self, states: Mapping[int, Tensor], mask: Tensor, *, layerwise: bool = False) -> Tensor:
        """Return the codes of chunks.

        Args:
            states: Per adapted layer (chunks, T, d_model), the base model's states at its input.
            mask: (chunks, T) bool, False at padding.
            layerwise: Read one layer after the other: about a K-th of the memory, the same codes to float error.

        Returns:
            (chunks, K, rank, width).
        """
        layers = self.config.read_layers
        if layerwise:
            return torch.stack([self._latents(states[layer], mask) for layer in layers], dim=1)
        together = self._latents(torch.cat([states[layer] for layer in layers]), mask.repeat(len(layers), 1))
        return together.reshape(len(layers), -1, *together.shape[1:]).transpose(0, 1)

    def factors(self, codes: Tensor) -> list[LoraFactors]:
        """Return one LoRA per chunk and adapted layer, lowest layer first.

        Args:
            codes: (..., K, rank, width).

        Returns:
            Per layer, A is (..., rank, d_in) and B is (..., d_model, rank).
        """
        made = []
        for layer, z in enumerate(codes.unbind(-3)):
            h = z + gelu(z @ self.widen[layer]) @ self.narrow[layer]
            # Of length √width, so that what the head emits is of order 1 whatever the width.
            emitted = normalize(h, dim=-1) * math.sqrt(self.config.width) @ self.head[layer]
            row, column = emitted[..., : self.config.d_in], emitted[..., self.config.d_in :]
            column = column * (ALPHA / math.sqrt(self.config.d_model)) * self.scale_b[layer, :, None]
            made.append(LoraFactors(self._keys(layer, row * self.scale_a[layer, :, None]), column.mT))
        return made

    def bias(self) -> list[LoraFactors]:
        """Return the LoRA that every memory has once, whatever is in it: A is (rank, d_in), B is (d_model, rank)."""
        return [LoraFactors(self._keys(n, self.bias_a[n]), self.bias_b[n]) for n in range(self.config.layers)]

    def _latents(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return (rows, rank, width) for the states (rows, T, d_model) of one layer a row."""
        read = self.dropout(self.read_norm(self.read(rms(states))))
        z = self.latents.expand(len(read), -1, -1)
        for block in self.blocks:
            z = block(z, read, mask)
        normed: Tensor = self.norm(z)
        return normed

    def _keys(self, layer: int, rows: Tensor) -> Tensor:
        """Return rows of A for inputs of any norm, orthogonal to the sink."""
        sink = self.sink[layer]
        rows = rows / self.input_norm[layer]
        return rows - (rows @ sink)[..., None] * sink


class _Block(nn.Module):
    """Latents look at a chunk's tokens and at one another, then each by itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, latents: Tensor, read: Tensor, mask: Tensor) -> Tensor:
        """Return the latents, (rows, rank, width), after a look at (rows, T, width) where the mask says so."""
        z = self.norm(latents)
        key, value = self.key_value(torch.cat([z, read], dim=1)).chunk(2, dim=-1)
        seen = pad(mask, (z.shape[1], 0), value=True)[:, None, None]
        q, k, v = (part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in (self.query(z), key, value))
        found = scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)
        latents = latents + self.out(found)
        changed: Tensor = latents + self.mlp(latents)
        return changed


def document_config_for(
    model: nn.Module, *, layers: int, rank: int = 8, width: int = 320, blocks: int = 8
) -> DocumentHypernetworkConfig:
    """Return the sizes of a hypernetwork that adapts the last `layers` layers' ``down_proj`` of this base model."""
    d_model, d_in, depth = sizes_of(model)
    return DocumentHypernetworkConfig(
        d_model=d_model,
        d_in=d_in,
        first_layer=depth - layers,
        layers=layers,
        rank=rank,
        width=width,
        blocks=blocks,
        heads=heads_for(width),
    )
