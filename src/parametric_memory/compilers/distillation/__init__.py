"""Gradient context distillation: statements in, adapters out, for any causal LM and without a trained compiler."""

from parametric_memory.compilers.distillation.compiler import DistillationCompiler

__all__ = ["DistillationCompiler"]
