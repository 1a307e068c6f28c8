"""Adapters: the algebra of LoRA factors, many adapters as one, and one active during a `with`.

Tensors of low rank in, the same out. Nothing here knows where factors come from, and no weight of a base model is ever
changed.
"""

from parametric_memory.adapters.compose import compose
from parametric_memory.adapters.factors import concat, dense, frobenius_norm, pad_rank, scale, stack, truncate
from parametric_memory.adapters.inject import Adapter, inject
from parametric_memory.adapters.payload import pack, unpack
from parametric_memory.adapters.peft_format import export_peft, import_peft
from parametric_memory.adapters.spec import fingerprint, spec_for

__all__ = [
    "Adapter",
    "compose",
    "concat",
    "dense",
    "export_peft",
    "fingerprint",
    "frobenius_norm",
    "import_peft",
    "inject",
    "pack",
    "pad_rank",
    "scale",
    "spec_for",
    "stack",
    "truncate",
    "unpack",
]
