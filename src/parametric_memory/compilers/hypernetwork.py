"""The atom compiler: one forward pass of the frozen base model over the text, then the hypernetwork, gives the codes.

Atoms of one document are read together, in windows, so that each has seen its context. What is stored is the code (one
short vector per token, and the token ids); `materialise` turns it into a micro-LoRA of two or three ranks per token,
and `gate` says for a question how much each of these ranks may speak.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from parametric_memory.adapters.payload import pack, unpack
from parametric_memory.adapters.quantise import from_int8, to_int8
from parametric_memory.compilers.checks import failure, refuse_empty, refuse_foreign
from parametric_memory.errors import CheckpointError, CorruptAdapterError
from parametric_memory.hypernetwork.chat import end_of_turn, prompt_ids
from parametric_memory.hypernetwork.checkpoint import Checkpoint
from parametric_memory.hypernetwork.locating import gates_of, placed, token_spans
from parametric_memory.hypernetwork.network import AtomHypernetwork, Gates, directions, features, question_features
from parametric_memory.hypernetwork.states import batches, pad, states_at
from parametric_memory.hypernetwork.windows import Window, atom_ids, windows
from parametric_memory.types import AdapterSpec, Atom, AtomAdapter, AtomCode, LoraFactors, TokenGates, TokenShare

Tokenizer: TypeAlias = Any  # transformers' tokenizers share no public type

#: Questions whose states are kept: an ask gates its candidates and then its route.
_QUESTIONS = 8


@dataclass(frozen=True, slots=True)
class _Piece:
    """At most ``max_tokens`` tokens of an atom: its number, and the tokens."""

    atom: int
    ids: list[int]


class HypernetworkCompiler:
    """Compiles atoms with a trained hypernetwork for the base model it was trained on."""

    def __init__(
        self, model: nn.Module, tokenizer: Tokenizer, checkpoint: Checkpoint, *, fingerprint: str, exact: bool = False
    ) -> None:
        """Take a base model, told by its fingerprint, and a checkpoint that was trained on it.

        Codes are stored as int8 with a scale a token, with `exact` as float16: twice the bytes. Either reads both.

        Raises:
            AdapterMismatchError: If the checkpoint was trained on another base model.
            CheckpointError: If it is of a document compiler.
        """
        checkpoint.check_base(fingerprint)
        if not isinstance(checkpoint.network, AtomHypernetwork):
            raise CheckpointError(
                f"compiling atoms for {checkpoint.spec.base_model}: the checkpoint is of a document compiler; open it "
                'with compiler="document"'
            )
        self._model, self._tokenizer, self._checkpoint, self._exact = model, tokenizer, checkpoint, exact
        self._device = next(model.parameters()).device
        self._network = checkpoint.network.to(self._device)
        self._ending = directions(model, torch.tensor([end_of_turn(tokenizer)], device=self._device))[0]
        self._read = lru_cache(_QUESTIONS)(self._read_question)

    @property
    def name(self) -> str:
        """``hypernetwork:`` and the digest of the weights."""
        return f"hypernetwork:{self._checkpoint.digest}"

    @property
    def spec(self) -> AdapterSpec:
        """What its adapters fit."""
        return self._checkpoint.spec

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint in use, with the prompt it was trained with."""
        return self._checkpoint

    @property
    def reranking(self) -> Mapping[str, float] | None:
        """How far a router may believe the gates, if the checkpoint knows."""
        return self._checkpoint.reranking

    @property
    def finds(self) -> bool:
        """Whether it has gates of its own; else it says what a token router finds."""
        return self._network.config.gate_layers > 0

    @torch.inference_mode()
    def compile(self, atoms: Sequence[Atom]) -> list[AtomCode]:
        """Return one code per atom, in order.

        Raises:
            CompilationError: If an atom has no text, or the base model fails on it.
        """
        refuse_empty(atoms)
        tokens = atom_ids(self._tokenizer, [atom.text for atom in atoms])
        pieces = self._pieces(tokens)
        parts: list[list[Tensor]] = [[] for _ in atoms]
        for piece, code in zip(pieces, self._encode(atoms, pieces), strict=True):
            parts[piece.atom].append(code)
        codes = [torch.cat(part) for part in parts]
        for atom, code in zip(atoms, codes, strict=True):
            if not bool(code.isfinite().all()):
                raise failure(atom, "its code is not finite; report this with the text")
        return [
            AtomCode(atom.id, self.spec, self.name, self._pack(code, ids))
            for atom, code, ids in zip(atoms, codes, tokens, strict=True)
        ]

    @torch.inference_mode()
    def materialise(self, codes: Sequence[AtomCode]) -> list[AtomAdapter]:
        """Return one adapter per code: rank 2T for an atom of T tokens, or 3T if the network has ending ranks.

        Raises:
            CorruptAdapterError: If a payload cannot be decoded.
            AdapterMismatchError: If a code was made by another compiler.
        """
        if not codes:
            return []
        us, tokens = zip(*map(self._decode, codes), strict=True)
        # All atoms at once: the network's keys are made for the call, not for each of its atoms.
        spoken = directions(self._model, torch.cat(tokens))
        together = self._network.factors(torch.cat(us), spoken, ending=self._ending)
        parts = [_split(factors, [len(u) for u in us], self._network.config.ranks) for factors in together]
        return [
            AtomAdapter(code.atom_id, self.spec, dict(zip(self.spec.targets, factors, strict=True)))
            for code, factors in zip(codes, zip(*parts, strict=True), strict=True)
        ]

    @torch.inference_mode()
    def gate(self, question: str, codes: Sequence[AtomCode], found: TokenGates | None = None) -> TokenGates:
        """Find which tokens of these atoms answer the question, among all of them at once.

        What a token router has `found` in them counts in place of the checkpoint's own gates, unless the base model's
        tokenizer cannot say where its tokens stand. Without gates of its own, such tokens stand nowhere.

        Raises:
            CheckpointError: If it has no gates of its own, and no token router has found anything.
            CorruptAdapterError: If a payload cannot be decoded.
            AdapterMismatchError: If a code was made by another compiler.
        """
        if not codes:
            return TokenGates((), (), 1.0)
        us, tokens = zip(*map(self._decode, codes), strict=True)
        spans, lengths = token_spans(self._tokenizer, tokens), [len(u) for u in us]
        if found is not None and (all(map(len, spans)) or not self.finds):
            return replace(found, ranks=self._split_ranks(gates_of(found, placed(spans, lengths)), lengths))
        if not self.finds:
            raise CheckpointError(
                f"finding what answers in {len(codes)} atoms: {self.name} has no gates of its own; give the memory a "
                "token router (token_router=), or a checkpoint that has gates"
            )
        asked = self._read(question)
        seen = torch.ones(asked.shape[:2], dtype=torch.bool, device=self._device)
        together = torch.cat(us)[None]
        present = torch.ones(together.shape[:2], dtype=torch.bool, device=self._device)
        gates = self._network.gates(together, present, asked, seen)
        shares = gates.inside[0, :-1].exp().split_with_sizes(lengths)
        return TokenGates(
            ranks=self._split_ranks(gates, lengths),
            shares=tuple(float(share.sum()) for share in shares),
            nothing=float(gates.inside[0, -1].exp()),
            tokens=tuple(tuple(map(TokenShare, own, share.tolist())) for own, share in zip(spans, shares, strict=True)),
        )

    def _split_ranks(self, gates: Gates, lengths: Sequence[int]) -> tuple[tuple[float, ...], ...]:
        """Return each atom's weights, first of all its continuing ranks; those of a network stand kind by kind."""
        kinds = self._network.rank_gates(gates)[0].chunk(self._network.config.ranks)
        split = zip(*(kind.split_with_sizes(list(lengths)) for kind in kinds), strict=True)
        return tuple(tuple(torch.cat(own).tolist()) for own in split)

    def _read_question(self, question: str) -> Tensor:
        """Return what gates read of a question's prompt, (1, tokens, features): no adapter's doing."""
        ids = prompt_ids(self._tokenizer, self._checkpoint.prompt.conversation(question))
        read, config = torch.tensor([ids], device=self._device), self._network.config
        layers = sorted({0, *config.question_layers})
        states = states_at(self._model, read, torch.ones_like(read, dtype=torch.bool), layers)
        return question_features(states, config)

    def _pieces(self, ids: Sequence[list[int]]) -> list[_Piece]:
        """Cut the atoms' tokens into pieces that the encoder can take."""
        longest = self._network.config.max_tokens
        return [
            _Piece(number, tokens[begin : begin + longest])
            for number, tokens in enumerate(ids)
            for begin in range(0, len(tokens), longest)
        ]

    def _encode(self, atoms: Sequence[Atom], pieces: Sequence[_Piece]) -> list[Tensor]:
        """Return the code of every piece, (tokens, width)."""
        codes: dict[int, Tensor] = {}
        c = self._network.config
        layers = (0, c.middle_layer, c.first_layer)
        for batch in self._batches(atoms, pieces):
            ids, mask = pad([torch.tensor(window.ids, device=self._device) for _, window in batch])
            states = states_at(self._model, ids, mask, layers)
            places = [(first + n, row, at) for row, (first, w) in enumerate(batch) for n, at in w.pieces]
            spans = [(row, slice(at, at + len(pieces[number].ids))) for number, row, at in places]
            cut = [{layer: states[layer][row, span] for layer in layers} for row, span in spans]
            read, present = pad([features(part, c) for part in cut])
            for (number, _, _), code in zip(places, self._network.encode(read, present), strict=True):
                codes[number] = code[: len(pieces[number].ids)]
        return [codes[number] for number in range(len(pieces))]

    def _batches(self, atoms: Sequence[Atom], pieces: Sequence[_Piece]) -> Iterator[list[tuple[int, Window]]]:
        """Yield windows, with the number of their first piece, in batches of like lengths."""
        made: list[tuple[int, Window]] = []
        first = 0
        for (_, context), group in groupby(pieces, key=lambda p: (atoms[p.atom].document_id, atoms[p.atom].context)):
            together = [piece.ids for piece in group]
            made += [(first, window) for window in windows(self._tokenizer, context, together)]
            first += len(together)
        for batch in batches([len(window.ids) for _, window in made], self._device):
            yield [made[number] for number in batch]

    def _pack(self, code: Tensor, ids: Sequence[int]) -> bytes:
        """Return the payload of a code, (T, width), and its token ids."""
        tokens = torch.tensor(ids, dtype=torch.int32)
        if self._exact:
            return pack({"code": code.half(), "tokens": tokens})
        numbers, scale = to_int8(code)
        return pack({"code": numbers, "scale": scale, "tokens": tokens})

    def _decode(self, code: AtomCode) -> tuple[Tensor, Tensor]:
        """Return a code's vectors, (T, width) float32, and its token ids, (T,)."""
        refuse_foreign(code, self.name, self.spec)
        tensors, _ = unpack(code.payload)
        length = len(tensors.get("tokens", ()))
        # A code in float16 needs no scale.
        scale = tensors.pop("scale", torch.ones(length, 1))
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        expected = {"code": (length, self._network.config.width), "tokens": (length,)}
        if shapes != expected or scale.shape != (length, 1):
            raise CorruptAdapterError(
                f"reading the code of atom {code.atom_id}: it holds {shapes}, expected tokens (T,) and a code "
                f"(T, {self._network.config.width}); compile its document again"
            )
        return from_int8(tensors["code"], scale).to(self._device), tensors["tokens"].long().to(self._device)


def _split(together: LoraFactors, lengths: Sequence[int], kinds: int) -> list[LoraFactors]:
    """Return each atom's factors, given those of all: first the continuing ranks of all atoms, then the next kind's.

    Args:
        together: A is (kinds R, d_in) and B is (d_out, kinds R), for R tokens in all.
        lengths: Tokens per atom.
        kinds: Ranks of a token.
    """
    A = zip(*(kind.split_with_sizes(lengths) for kind in together.A.chunk(kinds)), strict=True)
    B = zip(*(kind.split_with_sizes(lengths, dim=1) for kind in together.B.chunk(kinds, dim=1)), strict=True)
    return [LoraFactors(torch.cat(a), torch.cat(b, dim=1)) for a, b in zip(A, B, strict=True)]
