"""What a command works on: the whole memory with its base model, or its store alone, which opens in no time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from parametric_memory.cli.printing import stderr
from parametric_memory.config import MemoryConfig, load_config

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory
    from parametric_memory.memory.compiler import CompilerKind
    from parametric_memory.store import AtomStore


def open_memory(
    folder: Path,
    *,
    base: str | None,
    checkpoint: Path | None,
    config: Path | None,
    compiler: CompilerKind | None = None,
    documents: Path | None = None,
    make: bool = False,
) -> ParametricMemory:
    """Load the models and open the memory.

    Args:
        folder: Where it is.
        base: Name of the base model; the built-in one, if None.
        checkpoint: Folder of the hypernetwork; the one that comes with the package, if None.
        config: TOML file with all other settings.
        compiler: What turns atoms into weights; if None, what the memory was made with.
        documents: Folder of a document compiler to compare with; the one that the settings name, if None.
        make: Make the memory if it is not there.

    Raises:
        StoreNotFoundError: If there is no memory in the folder and none is to be made.
    """
    settings = _settings(config)
    if documents is not None:
        settings = replace(settings, document_checkpoint=str(documents))
    with _loading():
        from parametric_memory import ParametricMemory
        from parametric_memory.backends import BUILTIN_BASE
        from parametric_memory.store import AtomStore

        if not make:
            AtomStore.inspect(folder)
        return ParametricMemory.from_pretrained(
            base or BUILTIN_BASE, path=folder, compiler=compiler, checkpoint=checkpoint, config=settings
        )


@contextmanager
def open_store(folder: Path, *, config: Path | None) -> Iterator[AtomStore]:
    """Open the store of a memory for the length of a block, without any model.

    Raises:
        StoreNotFoundError: If there is no memory in the folder.
    """
    settings = _settings(config)
    from parametric_memory.store import AtomStore

    manifest = AtomStore.inspect(folder)
    store = AtomStore.open(
        folder,
        spec=manifest.spec,
        key_encoder=manifest.key_encoder,
        dim=manifest.dim,
        compiler=manifest.compiler,
        config=settings.store,
    )
    try:
        yield store
    finally:
        store.close()


def _settings(config: Path | None) -> MemoryConfig:
    return load_config(config) if config else MemoryConfig()


@contextmanager
def _loading() -> Iterator[None]:
    """Show on a terminal that models are being loaded."""
    console = stderr()
    if not console.is_terminal:
        yield
        return
    with console.status("loading the models"):
        yield
