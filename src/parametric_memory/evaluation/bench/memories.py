"""Memories to measure, opened by what describes them: in this process, or in a child, since a description is a pickle.

`Pretrained` is what `ParametricMemory.from_pretrained` opens. `RandomWeights` has the architecture of a configuration
and nothing learned: its answers are noise, its times are those of the real thing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from parametric_memory.adapters import spec_for
from parametric_memory.backends import (
    BUILTIN_BASE,
    BUILTIN_KEY_ENCODER,
    HuggingFaceBackend,
    resolve,
    resolve_key_encoder,
)
from parametric_memory.compilers.hypernetwork import HypernetworkCompiler
from parametric_memory.config import MemoryConfig, PromptConfig
from parametric_memory.errors import BackendError
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.network import AtomHypernetwork, config_for
from parametric_memory.memory import ParametricMemory
from parametric_memory.protocols import KeyEncoder
from parametric_memory.routing import RerankingRouter, SentenceTransformerEncoder, SimilarityRouter

#: Opens a memory at a path; made if it is not there.
Opener: TypeAlias = Callable[[Path], ParametricMemory]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A base model and its checkpoint, by name; see `ParametricMemory.from_pretrained`."""

    base: str = BUILTIN_BASE
    checkpoint: Path | None = None
    config: MemoryConfig = field(default_factory=MemoryConfig)
    device: str | None = None
    dtype: str | None = None

    def __call__(self, path: Path) -> ParametricMemory:
        """Load the models and open the memory."""
        return ParametricMemory.from_pretrained(
            self.base,
            path=path,
            checkpoint=self.checkpoint,
            config=self.config,
            device=self.device,
            dtype=dtype_of(self.dtype),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWeights:
    """An architecture without its weights, and an untrained hypernetwork of fitting size.

    Attributes:
        architecture: A folder with transformers' ``config.json``, or that file. If the folder has a tokenizer, it is
            used; else the built-in base model's, and a smaller vocabulary is widened to hold it.
        layers: Adapted layers, counted from the last.
        width: Width of a code.
        config: All settings of the memory.
        device: By default a GPU if there is one.
        dtype: By default bfloat16 on a GPU and float32 elsewhere.
        key_encoder: By default the built-in one, with its weights.
        seed: Of the weights.
    """

    architecture: Path
    layers: int = 6
    width: int = 320
    config: MemoryConfig = field(default_factory=MemoryConfig)
    device: str | None = None
    dtype: str | None = None
    key_encoder: KeyEncoder | None = None
    seed: int = 0

    def __call__(self, path: Path) -> ParametricMemory:
        """Build the models and open the memory.

        Raises:
            BackendError: If there is no configuration, or transformers knows no causal LM for it.
        """
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype_of(self.dtype) or (torch.bfloat16 if device.startswith("cuda") else torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model, tokenizer = self._base(device, dtype)
            # A device for the whole model, random numbers of its own: the hypernetwork is made where it will run.
            sizes = config_for(model, layers=min(self.layers, model.config.num_hidden_layers), width=self.width)
            network = AtomHypernetwork(sizes).eval().requires_grad_(False)
        backend = HuggingFaceBackend(model, tokenizer, base_model=f"random:{self._file.parent.name}")
        spec = spec_for(model, backend.base_model, last=sizes.layers)
        checkpoint = Checkpoint(network, spec, PromptConfig(), digest="untrained")
        compiler = HypernetworkCompiler(model, tokenizer, checkpoint, fingerprint=backend.fingerprint)
        return ParametricMemory(
            backend=backend,
            compiler=compiler,
            key_encoder=self.key_encoder or _built_in_keys(device),
            path=path,
            prompt=checkpoint.prompt,
            config=self.config,
        )

    @property
    def _file(self) -> Path:
        path = self.architecture.expanduser().resolve()
        return path / "config.json" if path.is_dir() else path

    def _base(self, device: str, dtype: torch.dtype) -> tuple[Any, Any]:
        """Return the model, its weights drawn where it is to run, and a tokenizer."""
        try:
            config = AutoConfig.from_pretrained(self._file, local_files_only=True)
            tokenizer = self._tokenizer()
            if config.vocab_size < len(tokenizer):
                logger.info(
                    "widening the vocabulary of %s from %d to %d", self._file, config.vocab_size, len(tokenizer)
                )
                config.vocab_size = len(tokenizer)
            make: Any = AutoModelForCausalLM  # its methods are not annotated
            with torch.device(device):
                model = make.from_config(config, dtype=dtype)
        except (OSError, ValueError, AttributeError, KeyError) as error:
            raise BackendError(
                f"building the architecture of {self._file}: {str(error).partition(chr(10))[0]}; give the config.json "
                "of a causal LM of transformers, or the folder it is in"
            ) from error
        return model.eval(), tokenizer

    def _tokenizer(self) -> Any:
        own = any((self._file.parent / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
        source = str(self._file.parent) if own else resolve(BUILTIN_BASE)
        return AutoTokenizer.from_pretrained(source, local_files_only=True)


def beside(memory: ParametricMemory, path: Path, *, index: str | None = None) -> ParametricMemory:
    """Return a memory at another path that shares this one's models and never abstains.

    An empty route costs next to nothing, so a memory that abstained would look fast.

    Args:
        memory: Whose models.
        path: Of the store; made if it is not there.
        index: Which key index; that of the memory's settings, if None.
    """
    routing = replace(memory.config.routing, abstain_below=0.0)
    store = replace(memory.config.store, index=index or memory.config.store.index)
    ours = isinstance(memory.router, SimilarityRouter | RerankingRouter)
    config = replace(memory.config, routing=routing, store=store, unknown=None)
    return memory.beside(path, config=config, router=None if ours else memory.router)


def dtype_of(name: str | None) -> torch.dtype | None:
    """Return torch's dtype of this name; None for None.

    Raises:
        BackendError: If there is none.
    """
    found = getattr(torch, name, None) if name else None
    if name and not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise BackendError(f"choosing the dtype {name!r}: it is none of weights; use bfloat16, float16 or float32")
    return found


def _built_in_keys(device: str) -> KeyEncoder:
    return SentenceTransformerEncoder(resolve_key_encoder(BUILTIN_KEY_ENCODER), name=BUILTIN_KEY_ENCODER, device=device)
