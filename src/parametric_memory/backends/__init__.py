"""Backends: what runs the frozen base model, and where base models and key encoders are found."""

from parametric_memory.backends.huggingface import HuggingFaceBackend
from parametric_memory.backends.models import BUILTIN_BASE, BUILTIN_KEY_ENCODER, resolve, resolve_key_encoder

__all__ = ["BUILTIN_BASE", "BUILTIN_KEY_ENCODER", "HuggingFaceBackend", "resolve", "resolve_key_encoder"]
