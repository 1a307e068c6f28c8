"""A base model and its tokenizer from a name: what is on this machine is taken before the hub is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from parametric_memory.backends.models import BUILTIN_BASE, quietly, resolve
from parametric_memory.errors import BackendError, MissingDependencyError


def load(
    name: str | Path,
    *,
    device: str | None,
    dtype: torch.dtype | None,
    device_map: str | dict[str, Any] | None,
    cache_dir: str | Path | None,
) -> tuple[Any, Any]:
    """Return a causal language model and its tokenizer; see `HuggingFaceBackend.from_pretrained`.

    Raises:
        BackendError: If the model is neither here nor reachable, or cannot be loaded.
        MissingDependencyError: If ``device_map`` is given and accelerate is not installed.
    """
    if device_map is not None and device is not None:
        raise BackendError(f"loading {str(name)!r}: device={device!r} and device_map={device_map!r} exclude each other")
    source = resolve(name, cache_dir=cache_dir)
    device = device or _best_device()
    options: dict[str, Any] = {"dtype": dtype or _dtype_for(device)}
    if device_map is not None:
        _require_accelerate()
        options["device_map"] = device_map
    try:
        model = _local_first(AutoModelForCausalLM.from_pretrained, source, **options)
        tokenizer = _local_first(AutoTokenizer.from_pretrained, source)
        model = model if device_map is not None else model.to(device)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        advice = (
            "the folder needs config.json, safetensors weights and the tokenizer's files, as save_pretrained writes"
            if Path(source).is_dir()
            else f"if it is a hub id, go online once so that it is cached; or give a folder, or {BUILTIN_BASE!r}"
        )
        raise BackendError(f"loading the base model {str(name)!r}: {first_line(error)}; {advice}") from error
    return model, tokenizer


def _local_first(load: Callable[..., Any], source: str, **options: Any) -> Any:
    """Load what is on this machine without asking the network; only what is not there is fetched."""
    try:
        with quietly():
            return load(source, local_files_only=True, **options)
    except OSError:
        if Path(source).is_dir():
            raise
        return load(source, **options)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype_for(device: str) -> torch.dtype:
    return torch.bfloat16 if device.startswith("cuda") else torch.float32


def _require_accelerate() -> None:
    try:
        import accelerate  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("accelerate", extra="train", purpose="device_map") from error


def first_line(error: BaseException) -> str:
    """Return what an error says, without what follows its first line."""
    return str(error).strip().partition("\n")[0]
