"""Compilers: atoms in, codes out; codes in, adapters out."""

from parametric_memory.compilers.distillation import DistillationCompiler
from parametric_memory.compilers.document import DocumentCompiler
from parametric_memory.compilers.hypernetwork import HypernetworkCompiler

__all__ = ["DistillationCompiler", "DocumentCompiler", "HypernetworkCompiler"]
