"""Tensors and a little metadata as bytes, and back: what a compiler puts into `AtomCode.payload`.

The bytes are safetensors, so reading them runs no code. Equal tensors and metadata give equal bytes. A flipped bit
inside a tensor cannot be seen here: the store keeps a checksum beside the payload.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from parametric_memory.errors import CorruptAdapterError
from parametric_memory.types import Metadata, Scalar


def pack(tensors: Mapping[str, Tensor], metadata: Metadata | None = None) -> bytes:
    """Return the tensors, in their dtypes, and the metadata as safetensors bytes."""
    # One JSON entry: safetensors takes strings alone, and writes several entries in random order.
    header = {"metadata": json.dumps(dict(metadata or {}), sort_keys=True)}
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(copies, header)


def unpack(payload: bytes) -> tuple[dict[str, Tensor], dict[str, Scalar]]:
    """Return what `pack` was given; tensors are on the CPU.

    Raises:
        CorruptAdapterError: If the bytes are not such a payload, whole and unbroken.
    """
    try:
        tensors = safetensors.torch.load(payload)
        length = int.from_bytes(payload[:8], "little")
        metadata = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["metadata"])
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise CorruptAdapterError(
            f"reading an adapter payload of {len(payload)} bytes: {error}; compile its atom again"
        ) from error
    return tensors, metadata
