"""A hypernetwork on disk: a folder with ``config.json``, ``model.safetensors`` (fp16) and a card, ``README.md``.

A checkpoint belongs to one base model, told by the fingerprint of its weights, and to the prompt it was trained with.
Its config says which compiler it is for; one that does not is for atoms.
How far a router may believe its gates is measured later (``runs/fit_reranker.py``) and kept beside the weights that it
was measured with, in ``reranking.json``.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import safetensors.torch
from safetensors import SafetensorError

from parametric_memory.config import PromptConfig
from parametric_memory.errors import AdapterMismatchError, CheckpointError
from parametric_memory.hypernetwork.document import DocumentHypernetwork, DocumentHypernetworkConfig
from parametric_memory.hypernetwork.network import AtomHypernetwork, HypernetworkConfig
from parametric_memory.types import AdapterSpec

FORMAT = 1
#: Checkpoints that come with the package, by the name of their base model.
SHIPPED = Path(__file__).parent / "checkpoints"
#: Which hypernetwork a compiler runs.
Network: TypeAlias = AtomHypernetwork | DocumentHypernetwork
NetworkConfig: TypeAlias = HypernetworkConfig | DocumentHypernetworkConfig
_RERANKING = "reranking.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained hypernetwork and what it belongs to.

    Attributes:
        network: The hypernetwork.
        spec: What its adapters fit.
        prompt: The wording that it was trained with.
        digest: Names its weights.
        training: How it was trained, and how it did.
        reranking: The weights of a router that believes its gates; None if nobody has fitted any.
    """

    network: Network
    spec: AdapterSpec
    prompt: PromptConfig
    digest: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    reranking: Mapping[str, float] | None = None

    @property
    def compiler(self) -> str:
        """The kind of compiler it is for: ``hypernetwork`` (of atoms) or ``document``."""
        return "document" if isinstance(self.network, DocumentHypernetwork) else "hypernetwork"

    def check_base(self, fingerprint: str) -> None:
        """Refuse a base model that it was not trained on.

        Raises:
            AdapterMismatchError: If the fingerprints differ.
        """
        if self.spec.base_fingerprint != fingerprint:
            raise AdapterMismatchError(
                f"using a hypernetwork trained on {self.spec.base_model}: the loaded base model has other "
                "weights; load that base model, or train a hypernetwork for this one with `pmem train hypernetwork`",
                expected=self.spec.base_fingerprint,
                actual=fingerprint,
            )


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, card: str = "") -> None:
    """Write a checkpoint; the weights are rounded to fp16.

    Args:
        checkpoint: What to write; its digest is ignored.
        folder: Made if it is not there.
        card: The README.md: data, licences, time, machine, scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().cpu().half().contiguous() for name, tensor in checkpoint.network.state_dict().items()
    }
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "format": FORMAT,
        "compiler": checkpoint.compiler,
        "hypernetwork": asdict(checkpoint.network.config),
        "spec": asdict(checkpoint.spec),
        "prompt": asdict(checkpoint.prompt),
        "training": dict(checkpoint.training),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if card:
        (folder / "README.md").write_text(card, encoding="utf-8")


def load_checkpoint(folder: Path | str) -> Checkpoint:
    """Read a checkpoint; the network is float32, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: If the folder lacks a file, or its weights are damaged or not of the shape its config says.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format"] > FORMAT:
            raise CheckpointError(
                f"loading {folder}: its format is {config['format']}, this version reads {FORMAT}: upgrade"
            )
        network = _network(config)
        spec = AdapterSpec(**config["spec"] | {"targets": tuple(config["spec"]["targets"])})
        prompt = PromptConfig(**config["prompt"])
        weights = (folder / "model.safetensors").read_bytes()
        state = {name: tensor.float() for name, tensor in safetensors.torch.load(weights).items()}
        network.load_state_dict(state)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"loading the hypernetwork checkpoint {folder}: {error}; it needs config.json and model.safetensors as "
            "`pmem train hypernetwork` writes them"
        ) from error
    digest = hashlib.blake2b(weights, digest_size=6).hexdigest()
    reranking = read_reranking(folder, digest)
    return Checkpoint(network.eval().requires_grad_(False), spec, prompt, digest, config["training"], reranking)


def save_reranking(folder: Path, digest: str, weights: Mapping[str, float], *, fitted: Mapping[str, Any]) -> None:
    """Write the weights of a router that believes the gates of what is in a folder.

    Args:
        folder: That of a checkpoint, or of a token router.
        digest: Of the weights that it was fitted with: another checkpoint in this folder will not be believed as much.
        weights: By the names of `parametric_memory.routing.RerankingWeights`.
        fitted: On what, and what came of it.
    """
    made = {"digest": digest, "weights": dict(weights), "fitted": dict(fitted)}
    (folder / _RERANKING).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def read_reranking(folder: Path, digest: str) -> Mapping[str, float] | None:
    """Return what `save_reranking` wrote for these weights; None if there is nothing, or it was for others.

    Raises:
        CheckpointError: If the file is damaged.
    """
    path = folder / _RERANKING
    if not path.is_file():
        return None
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        weights = {str(name): float(value) for name, value in read["weights"].items()}
        fitted_with = read["digest"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"loading the router's weights {path}: {error}; remove the file, or fit them with runs/fit_reranker.py"
        ) from error
    if fitted_with != digest:
        logger.warning("%s was fitted with other weights (%s, not %s): left aside", path, fitted_with, digest)
        return None
    return weights


def shipped_checkpoint(fingerprint: str, compiler: str = "hypernetwork") -> Path | None:
    """Return the folder of the checkpoint that comes with the package for this base model, if there is one."""
    for path in sorted(SHIPPED.glob("*/config.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        if (config["spec"]["base_fingerprint"], _compiler(config)) == (fingerprint, compiler):
            return path.parent
    return None


def _compiler(config: Mapping[str, Any]) -> str:
    return str(config.get("compiler", "hypernetwork"))


def _network(config: Mapping[str, Any]) -> Network:
    if _compiler(config) == "document":
        return DocumentHypernetwork(DocumentHypernetworkConfig(**config["hypernetwork"]))
    return AtomHypernetwork(HypernetworkConfig(**config["hypernetwork"]))
