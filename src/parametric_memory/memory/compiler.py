"""Which compiler a memory works with: told by the caller, or by the store that is already there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from parametric_memory.backends import HuggingFaceBackend
from parametric_memory.compilers import DistillationCompiler, HypernetworkCompiler
from parametric_memory.config import DistillationConfig, PromptConfig
from parametric_memory.errors import CheckpointError, ConfigError, StoreNotFoundError
from parametric_memory.hypernetwork.checkpoint import load_checkpoint, shipped_checkpoint
from parametric_memory.protocols import Compiler
from parametric_memory.store import AtomStore

CompilerKind: TypeAlias = Literal["hypernetwork", "distillation"]


def compiler_kind(path: Path | str, wanted: str | None) -> str:
    """Return the kind that is wanted, or that of the store at a path; a hypernetwork if neither says.

    Raises:
        ConfigError: If it is neither a hypernetwork nor distillation that is wanted.
    """
    if wanted is not None and wanted not in get_args(CompilerKind):
        raise ConfigError(
            f"choosing a compiler: {wanted!r} is none, expected one of {', '.join(get_args(CompilerKind))}"
        )
    if wanted is not None:
        return wanted
    try:
        kind = AtomStore.inspect(Path(path)).compiler.partition(":")[0]
    except StoreNotFoundError:
        return "hypernetwork"
    return kind if kind in get_args(CompilerKind) else "hypernetwork"


def compiler_for(
    backend: HuggingFaceBackend, kind: str, *, checkpoint: str | Path | None, config: DistillationConfig
) -> tuple[Compiler, PromptConfig]:
    """Return a compiler for the backend's base model, and the wording that its adapters are made for.

    Args:
        backend: Holds the base model.
        kind: ``hypernetwork`` or ``distillation``.
        checkpoint: Folder of a hypernetwork; the one in the package if None. Distillation has none.
        config: Of distillation.

    Raises:
        CheckpointError: If there is no hypernetwork for this base model.
        ConfigError: If a checkpoint is given for distillation.
        AdapterMismatchError: If the checkpoint was trained on another base model.
        UnsupportedModelError: If the base model has no modules that distillation can adapt.
    """
    model, tokenizer, fingerprint = backend.model, backend.tokenizer, backend.fingerprint
    if kind == "distillation":
        if checkpoint is not None:
            raise ConfigError(
                f"distilling with the checkpoint {checkpoint}: distillation has none; leave it out, or compile with "
                "the hypernetwork"
            )
        distillation = DistillationCompiler(
            model, tokenizer, base_model=backend.base_model, fingerprint=fingerprint, config=config
        )
        return distillation, distillation.prompt
    folder = Path(checkpoint) if checkpoint else shipped_checkpoint(fingerprint)
    if folder is None:
        raise CheckpointError(
            f"loading the compiler for {backend.base_model}: the package has no checkpoint for this base model; use "
            'compiler="distillation" (--compiler distillation), which needs none and takes seconds an atom, or train '
            "one with `pmem train hypernetwork --base …` and pass its folder as checkpoint="
        )
    trained = load_checkpoint(folder)
    return HypernetworkCompiler(model, tokenizer, trained, fingerprint=fingerprint), trained.prompt
