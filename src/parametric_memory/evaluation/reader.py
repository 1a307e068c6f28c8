"""Readers: LoRAs that answer from the text in the prompt, as short as answers from weights are; one per base model.

A reader is a PEFT folder that `pmem train reader` made. Those that come with the package are found by the fingerprint
of the base model's weights. What a reader answers with is an ordinary adapter: as large as a composed one, in the same
modules. So a system with it and a system of atoms differ in where the knowledge stands, not in style.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from parametric_memory.adapters import import_peft
from parametric_memory.errors import AdapterError, ConfigError
from parametric_memory.protocols import Backend
from parametric_memory.types import AdapterSpec, ComposedAdapter

#: Readers that come with the package, by the name of their base model.
SHIPPED = Path(__file__).parent / "readers"


def shipped_reader(fingerprint: str) -> Path | None:
    """Return the folder of the reader that comes with the package for this base model, if there is one."""
    for sidecar in sorted(SHIPPED.glob("*/atom.json")):
        if json.loads(sidecar.read_text(encoding="utf-8"))["base_fingerprint"] == fingerprint:
            return sidecar.parent
    return None


def load_reader(backend: Backend, folder: Path | None = None) -> ComposedAdapter | None:
    """Return a base model's reader, None if none comes with the package.

    Args:
        backend: Runs the base model.
        folder: A reader of one's own, in place of the shipped one.

    Raises:
        AdapterMismatchError: If the folder was made for another base model.
        AdapterError: If its files are missing or broken.
    """
    folder = folder or shipped_reader(backend.fingerprint)
    if folder is None:
        return None
    return import_peft(folder, spec=AdapterSpec(backend.base_model, backend.fingerprint, _targets(folder)))


def need_reader(backend: Backend, folder: Path | None = None) -> ComposedAdapter:
    """Return a base model's reader, as `load_reader` does.

    Raises:
        ConfigError: If there is none, naming the command that makes one.
    """
    reader = load_reader(backend, folder)
    if reader is None:
        raise ConfigError(
            f"reading with a reader for {backend.base_model} ({backend.fingerprint}): none comes with the package; "
            f"make one with `pmem train reader --base {backend.base_model} --data DIR --out DIR` and move its folder "
            f"`reader` to {SHIPPED / Path(backend.base_model).name}, or leave out the systems that need it"
        )
    return reader


def reader_digest(backend: Backend, folder: Path | None = None) -> str:
    """Return a digest of the reader's weights; empty if there is no reader."""
    folder = folder or shipped_reader(backend.fingerprint)
    if folder is None:
        return ""
    return hashlib.blake2b((folder / "adapter_model.safetensors").read_bytes(), digest_size=6).hexdigest()


def _targets(folder: Path) -> tuple[str, ...]:
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return tuple(config["target_modules"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise AdapterError(
            f"reading the reader {folder}: {error}; it is a PEFT folder as `pmem train reader` writes"
        ) from error
