"""What figures hold for: the command, the versions, the machine. Times depend on these, answers should not."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from parametric_memory import __version__
from parametric_memory.memory import ParametricMemory

_PACKAGES = ("torch", "transformers", "sentence-transformers", "chromadb", "numpy")


def circumstances(memory: ParametricMemory | None = None) -> dict[str, Any]:
    """Return what to keep beside every figure; without a memory, nothing of device and dtype."""
    model = getattr(memory.backend, "model", None) if memory else None
    return {
        "command": command(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": {
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": device_name(model),
            "dtype": str(getattr(model, "dtype", "")),
        },
    }


def command() -> str:
    """Return the command that this process was started with."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Return the versions of this library, of Python and of the packages that times depend on."""
    found = {"parametric-memory": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device_name(model: Any) -> str:
    """Return the device of a model, a GPU with its name; empty without a model."""
    device = getattr(model, "device", None)
    if device is not None and device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return "" if device is None else str(device)
