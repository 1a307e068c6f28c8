"""The document compiler, Doc-to-LoRA (arXiv 2602.15902): a LoRA of fixed rank per chunk of a document.

Here an atom is a chunk: a passage, as `parametric_memory.ingest.PassageExtractor` reads it. Each is read by itself,
behind its title and headings; one that is longer than the hypernetwork's chunks is read in several. What is stored is
the latents, one vector for each rank and layer; `materialise` turns them into a LoRA.

The bias, a LoRA that no document changes, belongs once into whatever is composed. So every adapter carries it as its
last ranks, and `gate` weighs these by one part in n where n adapters are composed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from parametric_memory.adapters.factors import concat
from parametric_memory.adapters.payload import pack, unpack
from parametric_memory.compilers.checks import failure, refuse_empty, refuse_foreign
from parametric_memory.errors import CheckpointError, CorruptAdapterError
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.document import DocumentHypernetwork
from parametric_memory.hypernetwork.states import batches, pad, states_at
from parametric_memory.hypernetwork.windows import atom_ids, windows
from parametric_memory.types import AdapterSpec, Atom, AtomAdapter, AtomCode, LoraFactors, TokenGates

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type


class DocumentCompiler:
    """Compiles chunks of documents with a trained hypernetwork for the base model it was trained on."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        checkpoint: Checkpoint,
        *,
        fingerprint: str,
        layerwise: bool = False,
    ) -> None:
        """Take a base model, told by its fingerprint, and a checkpoint that was trained on it.

        Args:
            model: The base model.
            tokenizer: Its.
            checkpoint: Of a document compiler.
            fingerprint: The base model's.
            layerwise: Encode one layer after the other, which takes a fraction of the memory and is slower on a GPU.

        Raises:
            AdapterMismatchError: If the checkpoint was trained on another base model.
            CheckpointError: If it is of an atom compiler.
        """
        checkpoint.check_base(fingerprint)
        if not isinstance(checkpoint.network, DocumentHypernetwork):
            raise CheckpointError(
                f"compiling documents for {checkpoint.spec.base_model}: the checkpoint is of an atom compiler; open it "
                'with compiler="hypernetwork", or train one with `pmem train hypernetwork --compiler document`'
            )
        self._model, self._tokenizer, self._checkpoint, self._layerwise = model, tokenizer, checkpoint, layerwise
        self._device = next(model.parameters()).device
        self._network = checkpoint.network.to(self._device)

    @property
    def name(self) -> str:
        """``document:`` and the digest of the weights."""
        return f"document:{self._checkpoint.digest}"

    @property
    def spec(self) -> AdapterSpec:
        """What its adapters fit."""
        return self._checkpoint.spec

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint in use, with the prompt it was trained with."""
        return self._checkpoint

    @torch.inference_mode()
    def compile(self, atoms: Sequence[Atom]) -> list[AtomCode]:
        """Return one code per chunk, in order.

        Raises:
            CompilationError: If a chunk has no text, or the base model fails on it.
        """
        refuse_empty(atoms, what="chunk")
        pieces = [self._pieces(atom, ids) for atom, ids in zip(atoms, self._ids(atoms), strict=True)]
        read = iter(self._encode([piece for some in pieces for piece in some]))
        codes = [torch.stack([next(read) for _ in some]) for some in pieces]
        for atom, code in zip(atoms, codes, strict=True):
            if not bool(code.isfinite().all()):
                raise failure(atom, "its code is not finite; report this with the text", what="chunk")
        return [
            AtomCode(atom.id, self.spec, self.name, pack({"code": code}))
            for atom, code in zip(atoms, codes, strict=True)
        ]

    @torch.inference_mode()
    def materialise(self, codes: Sequence[AtomCode]) -> list[AtomAdapter]:
        """Return one adapter per code: the ranks of its chunk, and after them those of the bias.

        Raises:
            CorruptAdapterError: If a payload cannot be decoded.
            AdapterMismatchError: If a code was made by another compiler.
        """
        if not codes:
            return []
        latents = [self._decode(code) for code in codes]
        counts = [len(z) for z in latents]
        parts = [
            _joined(layer, bias, counts)
            for layer, bias in zip(self._network.factors(torch.cat(latents)), self._network.bias(), strict=True)
        ]
        return [
            AtomAdapter(code.atom_id, self.spec, dict(zip(self.spec.targets, factors, strict=True)))
            for code, factors in zip(codes, zip(*parts, strict=True), strict=True)
        ]

    def gate(
        self,
        question: str,  # noqa: ARG002
        codes: Sequence[AtomCode],
        found: TokenGates | None = None,  # noqa: ARG002
        *,
        of: int | None = None,
    ) -> TokenGates:
        """Return gates that let every chunk speak, and together count the bias once; no chunk is likelier than another.

        Args:
            question: Changes nothing.
            codes: Of the chunks that are composed.
            found: Changes nothing.
            of: How many are composed in all, where these are only some of them.

        Raises:
            CorruptAdapterError: If a payload cannot be decoded.
            AdapterMismatchError: If a code was made by another compiler.
        """
        if not codes:
            return TokenGates((), (), 1.0)
        rank, part = self._network.config.rank, 1.0 / (of or len(codes))
        ranks = (len(self._decode(code)) * rank for code in codes)
        shares = (1.0 / len(codes),) * len(codes)
        return TokenGates(tuple((1.0,) * own + (part,) * rank for own in ranks), shares, 0.0)

    def _ids(self, atoms: Sequence[Atom]) -> list[list[int]]:
        return atom_ids(self._tokenizer, [atom.text for atom in atoms])

    def _pieces(self, atom: Atom, ids: Sequence[int]) -> list[list[int]]:
        """Return what is read of a chunk: its tokens behind its context; several such of like lengths if it is long."""
        longest = self._network.config.max_tokens
        count = -(-len(ids) // (longest - longest // 4))  # a context takes a quarter at most
        size = -(-len(ids) // count)
        cut = [ids[begin : begin + size] for begin in range(0, len(ids), size)]
        made = [windows(self._tokenizer, atom.context, [piece], max_tokens=longest) for piece in cut]
        return [window.ids for [window] in made]

    def _encode(self, pieces: Sequence[list[int]]) -> list[Tensor]:
        """Return the latents of every piece, (K, rank, width), in half precision on the CPU."""
        found: dict[int, Tensor] = {}
        for numbers in batches([len(piece) for piece in pieces], self._device):
            ids, mask = pad([torch.tensor(pieces[number], device=self._device) for number in numbers])
            states = states_at(self._model, ids, mask, self._network.config.read_layers)
            codes = self._network.encode(states, mask, layerwise=self._layerwise)
            found |= dict(zip(numbers, codes.half().cpu(), strict=True))
        return [found[number] for number in range(len(pieces))]

    def _decode(self, code: AtomCode) -> Tensor:
        """Return a code's latents, (pieces, K, rank, width) float32."""
        refuse_foreign(code, self.name, self.spec, what="chunk")
        tensors, _ = unpack(code.payload)
        c = self._network.config
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        pieces = len(tensors.get("code", ()))
        if not pieces or shapes != {"code": (pieces, c.layers, c.rank, c.width)}:
            raise CorruptAdapterError(
                f"reading the code of chunk {code.atom_id}: it holds {shapes}, expected a code (pieces, {c.layers}, "
                f"{c.rank}, {c.width}); compile its document again"
            )
        return tensors["code"].float().to(self._device)


def _joined(pieces: LoraFactors, bias: LoraFactors, counts: Sequence[int]) -> list[LoraFactors]:
    """Return each chunk's factors of one layer: those of its pieces one after the other, then the bias.

    Args:
        pieces: A is (pieces of all chunks, rank, d_in) and B is (pieces of all chunks, d_model, rank).
        bias: 2-D factors.
        counts: Pieces per chunk.
    """
    each = iter([LoraFactors(A, B) for A, B in zip(pieces.A, pieces.B, strict=True)])
    return [concat([*(next(each) for _ in range(count)), bias], [1.0] * (count + 1)) for count in counts]
