"""The token router: which tokens of which atoms answer a question, whatever base model is asked.

It goes on from the key encoder, whose upper layers were trained further to read a question and an atom together (see
`parametric_memory.routing.spans`). What it finds becomes gates of the adapters' ranks, shares of the atoms for the
router, and citations to the very words. One such router serves every base model.

On disk it is a folder with ``config.json``, ``model.safetensors`` (fp16; only what differs from the key encoder) and a
card, ``README.md``. How far a router may believe it is measured later, and kept beside it in ``reranking.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModel, AutoTokenizer

from parametric_memory.adapters.spec import fingerprint
from parametric_memory.errors import CheckpointError, UnsupportedModelError
from parametric_memory.hypernetwork.checkpoint import read_reranking
from parametric_memory.routing.key_encoders import quietly
from parametric_memory.routing.spans import Pair, SpanNetwork, SpanScores, Tokenizer, inside, pairs_of
from parametric_memory.types import Atom, TokenGates, TokenShare, stated

FORMAT = 1
#: Token routers that come with the package, by the name of their key encoder.
SHIPPED = Path(__file__).parent / "token_routers"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a token router comes from.

    Attributes:
        encoder: Name of the key encoder that it goes on from.
        fingerprint: Of that encoder's weights.
        training: How it was trained, and how it did.
    """

    encoder: str
    fingerprint: str
    training: Mapping[str, Any] = field(default_factory=dict)


class SpanRouter:
    """Reads questions and atoms with a trained network; see `parametric_memory.protocols.TokenRouter`.

    Args:
        network: Trained; it will ask for no gradient any more.
        tokenizer: Its encoder's.
        digest: Names its weights.
        reranking: How far a router may believe it (see `parametric_memory.routing.RerankingWeights`), if it is known.
    """

    def __init__(
        self,
        network: SpanNetwork,
        tokenizer: Tokenizer,
        *,
        digest: str = "untrained",
        reranking: Mapping[str, float] | None = None,
    ) -> None:
        self._network, self._tokenizer = network.eval().requires_grad_(False), tokenizer
        self._digest, self._reranking = digest, reranking

    @property
    def name(self) -> str:
        """``token-router:`` and the digest of the weights."""
        return f"token-router:{self._digest}"

    @property
    def reranking(self) -> Mapping[str, float] | None:
        """How far a router may believe it, if anybody has measured it."""
        return self._reranking

    @torch.inference_mode()
    def read(self, question: str, atoms: Sequence[Atom]) -> TokenGates:
        """Return which tokens of these atoms answer the question, among all of them at once; without ranks."""
        return self.read_texts([(question, list(map(_said, atoms)))])[0]

    @torch.inference_mode()
    def read_texts(self, asked: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> list[TokenGates]:
        """Return what `read` does for each of several questions, read together.

        Args:
            asked: Each with the text and the context of its atoms.
        """
        pairs = [pairs_of(self._tokenizer, question, *zip(*texts, strict=True)) for question, texts in asked if texts]
        scores = self._network(list(chain(*pairs))).scores.split([len(own) for own in pairs]) if pairs else ()
        found = map(_token_gates, pairs, map(SpanScores, scores))
        return [next(found) if texts else TokenGates((), (), 1.0) for _, texts in asked]

    @torch.inference_mode()
    def extract(self, question: str, atoms: Sequence[Atom]) -> str:
        """Return the most probable answer among the spans of these atoms, word for word; empty if they have none."""
        pairs = self._pairs(question, atoms) if atoms else []
        if not any(pair.spans for pair in pairs):
            return ""
        scores = self._network(pairs).scores
        number, first, last = (int(place) for place in torch.unravel_index(scores.argmax(), scores.shape))
        spans = pairs[number].spans
        return atoms[number].text[spans[first].start : spans[last].end]

    def _pairs(self, question: str, atoms: Sequence[Atom]) -> list[Pair]:
        return pairs_of(self._tokenizer, question, *zip(*map(_said, atoms), strict=True))


def _token_gates(pairs: Sequence[Pair], scores: SpanScores) -> TokenGates:
    """Return what scores of some pairs say of their tokens, and of each of them."""
    probabilities, nothing = scores.probabilities()
    shares = probabilities.sum(dim=(1, 2)).tolist()
    within = inside(probabilities).tolist()
    starts, ends = (probabilities.sum(dim=dim).tolist() for dim in (2, 1))
    tokens = tuple(
        tuple(map(TokenShare, pair.spans, *found)) for pair, *found in zip(pairs, within, starts, ends, strict=True)
    )
    return TokenGates((), tuple(shares), float(nothing), tokens)


def _said(atom: Atom) -> tuple[str, str]:
    """Return an atom's text, and what stands before it in its statement."""
    return atom.text, atom.context if atom.statement == stated(atom.text, atom.context) else ""


def begin(folder: Path | str, *, frozen: int) -> tuple[SpanNetwork, Tokenizer]:
    """Return an untrained network on an encoder, and its tokenizer; the lowest layers of the encoder are to stay.

    Args:
        folder: Where the encoder is.
        frozen: How many of its layers, beside the embeddings, ask for no gradient.

    Raises:
        UnsupportedModelError: If the encoder is not built as BERT is, or its tokenizer does not say where tokens stand.
    """
    with quietly():
        encoder: Any = AutoModel.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    layers = getattr(getattr(encoder, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList) or not tokenizer.is_fast:
        raise UnsupportedModelError(
            f"making a token router of {folder}: {type(encoder).__name__} with {type(tokenizer).__name__} is not built "
            "as BERT is (encoder.layer), or the tokenizer is not a fast one; use another key encoder"
        )
    encoder.pooler = None
    encoder.embeddings.requires_grad_(False)
    layers[:frozen].requires_grad_(False)
    return SpanNetwork(encoder), tokenizer


def load_weights(network: SpanNetwork, folder: Path) -> str:
    """Put a saved token router's weights into a network on its encoder; return their digest.

    Raises:
        CheckpointError: If they are missing or damaged, or of another encoder.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format"] > FORMAT:
            raise CheckpointError(
                f"loading {folder}: its format is {config['format']}, this version reads {FORMAT}: upgrade"
            )
        if (found := fingerprint(network.encoder)) != config["fingerprint"]:
            raise CheckpointError(
                f"loading {folder}: it goes on from the key encoder {config['encoder']} ({config['fingerprint']}), "
                f"this one has other weights ({found}); train one for it with `pmem train router`"
            )
        weights = (folder / "model.safetensors").read_bytes()
        trained = {name: tensor.float() for name, tensor in safetensors.torch.load(weights).items()}
        # Strict: what the encoder does not have is refused.
        network.load_state_dict(network.state_dict() | trained)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"loading the token router {folder}: {error}; it needs config.json and model.safetensors as "
            "`pmem train router` writes them"
        ) from error
    return hashlib.blake2b(weights, digest_size=6).hexdigest()


def save_token_router(network: SpanNetwork, folder: Path, provenance: Provenance, *, card: str = "") -> None:
    """Write a trained network: what asks for a gradient, rounded to fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = {
        name: tensor.detach().cpu().half().contiguous()
        for name, tensor in network.named_parameters()
        if tensor.requires_grad
    }
    safetensors.torch.save_file(trained, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "format": FORMAT,
        "encoder": provenance.encoder,
        "fingerprint": provenance.fingerprint,
        "training": dict(provenance.training),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if card:
        (folder / "README.md").write_text(card, encoding="utf-8")


def load_token_router(folder: Path, encoder: Path | str, *, device: str = "cpu") -> SpanRouter:
    """Read a token router.

    Args:
        folder: What `save_token_router` wrote.
        encoder: Where the key encoder is that it goes on from.
        device: Where it reads.

    Raises:
        CheckpointError: If a file is missing or damaged, or the encoder is another one.
    """
    network, tokenizer = begin(encoder, frozen=0)
    digest = load_weights(network, folder)
    reranking = read_reranking(folder, digest)
    return SpanRouter(network.to(device), tokenizer, digest=digest, reranking=reranking)


def shipped_token_router(encoder: str) -> Path | None:
    """Return the folder of the token router that comes with the package for this key encoder, if there is one."""
    for path in sorted(SHIPPED.glob("*/config.json")):
        if json.loads(path.read_text(encoding="utf-8"))["encoder"] == encoder:
            return path.parent
    return None
