"""Which compiler a memory works with: told by the caller, or by the store that is already there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from parametric_memory.backends import BUILTIN_KEY_ENCODER, HuggingFaceBackend, resolve_key_encoder
from parametric_memory.compilers import DistillationCompiler, DocumentCompiler, HypernetworkCompiler
from parametric_memory.config import IngestConfig, MemoryConfig, PromptConfig
from parametric_memory.errors import CheckpointError, ConfigError, StoreNotFoundError
from parametric_memory.hypernetwork.checkpoint import load_checkpoint, shipped_checkpoint
from parametric_memory.ingest import PassageExtractor, RuleExtractor
from parametric_memory.protocols import Compiler, Extractor, TokenRouter
from parametric_memory.routing.span_router import load_token_router, shipped_token_router
from parametric_memory.store import AtomStore

CompilerKind: TypeAlias = Literal["hypernetwork", "distillation", "document"]


def compiler_kind(path: Path | str, wanted: str | None) -> str:
    """Return the kind that is wanted, or that of the store at a path; a hypernetwork if neither says.

    Raises:
        ConfigError: If what is wanted is no kind of compiler.
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


def extractor_for(compiler: Compiler, config: IngestConfig) -> Extractor:
    """Return what makes the atoms of a compiler: chunks for one of documents, sentences for any other."""
    if isinstance(compiler, DocumentCompiler):
        return PassageExtractor()
    return RuleExtractor(max_chars=config.max_atom_chars)


def compiler_for(
    backend: HuggingFaceBackend, kind: str, *, checkpoint: str | Path | None, config: MemoryConfig
) -> tuple[Compiler, PromptConfig]:
    """Return a compiler for the backend's base model, and the wording that its adapters are made for.

    Args:
        backend: Holds the base model.
        kind: ``hypernetwork``, ``document`` or ``distillation``.
        checkpoint: Folder of a hypernetwork; the one in the package if None. Distillation has none.
        config: Of distillation, and the document compiler's checkpoint where none is given.

    Raises:
        CheckpointError: If there is no hypernetwork of this kind for this base model.
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
            model, tokenizer, base_model=backend.base_model, fingerprint=fingerprint, config=config.distillation
        )
        return distillation, distillation.prompt
    if kind == "document":
        trained = load_checkpoint(_document_folder(backend, checkpoint or config.document_checkpoint))
        return DocumentCompiler(model, tokenizer, trained, fingerprint=fingerprint), trained.prompt
    folder = Path(checkpoint) if checkpoint else shipped_checkpoint(fingerprint)
    if folder is None:
        raise CheckpointError(
            f"loading the compiler for {backend.base_model}: the package has no checkpoint for this base model; use "
            'compiler="distillation" (--compiler distillation), which needs none and takes seconds an atom, or train '
            "one with `pmem train hypernetwork --base …` and pass its folder as checkpoint="
        )
    trained = load_checkpoint(folder)
    return HypernetworkCompiler(model, tokenizer, trained, fingerprint=fingerprint), trained.prompt


def token_router_for(
    compiler: Compiler,
    key_encoder: str,
    folder: str,
    *,
    config: MemoryConfig,
    device: str,
    cache_dir: str | Path | None = None,
) -> TokenRouter | None:
    """Return the token router of a memory's settings; None if there is none, or its compiler has no use for one.

    That of the built-in key encoder serves any other one, too: it reads texts, whatever the keys are.

    Args:
        compiler: Of the memory.
        key_encoder: Its key encoder's name.
        folder: Where that encoder is.
        config: Says which.
        device: Where the token router reads.
        cache_dir: Where the built-in key encoder is unpacked.

    Raises:
        CheckpointError: If it is not there, or the encoder has other weights than it was trained on; if there is none,
            and the compiler has no gates of its own.
        BackendError: If the built-in key encoder is needed for it, and not installed.
    """
    if not isinstance(compiler, HypernetworkCompiler):
        return None
    if (found := _token_router_folder(key_encoder, config)) is not None:
        if found == shipped_token_router(BUILTIN_KEY_ENCODER):
            folder = resolve_key_encoder(BUILTIN_KEY_ENCODER, cache_dir=cache_dir)
        return load_token_router(found, folder, device=device)
    if not compiler.finds:
        raise CheckpointError(
            f"opening a memory without a token router: {compiler.name} has no gates of its own, so nothing would find "
            "the words that answer; leave token_router out, or name a checkpoint that has gates"
        )
    return None


def _token_router_folder(key_encoder: str, config: MemoryConfig) -> Path | None:
    """Return the folder of the token router that is told, or else of one that comes with the package, if any."""
    if config.token_router:
        return Path(config.token_router) if config.token_router != "none" else None
    return shipped_token_router(key_encoder) or shipped_token_router(BUILTIN_KEY_ENCODER)


def _document_folder(backend: HuggingFaceBackend, given: str | Path | None) -> Path:
    folder = Path(given) if given else shipped_checkpoint(backend.fingerprint, "document")
    if folder is None:
        raise CheckpointError(
            f"loading the document compiler for {backend.base_model}: the package has no checkpoint for this base "
            "model; train one with `pmem train hypernetwork --compiler document --base …` and pass its folder as "
            "checkpoint= (--checkpoint); to compare with it, as --document-checkpoint or document_checkpoint in the "
            "configuration"
        )
    return folder
