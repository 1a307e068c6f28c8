"""The hypernetwork: an atom's frozen features in, its code, its micro-LoRA and its gates for a question out.

Per-token micro-LoRA: an atom of T tokens has 2T or 3T ranks in each of the last K layers' ``down_proj``.

* Rank t, a *continuing* rank: ``A = s W^A u_t`` is a key (which state should say this token next) and
  ``B = W^B u_t + c E[token_t]`` a value (a learned part plus the token's own unembedding direction), where u is the
  atom's code. ΔW is then a linear attention over the atom's tokens, written as a LoRA.
* Rank T + t, a *starting* rank: A is one learned probe, the same for all atoms, that recognises the position where an
  answer starts, and B is ``c' E[token_t]``.
* Rank 2T + t, an *ending* rank, where there are any: A is that of rank t, and B is ``c'' E[end of turn]``: where an
  answer ends before token t, the turn ends in its place.

A linear attention has no softmax; the gates bring it: for a question, `gates` finds which tokens answer it, over the
tokens of all atoms of a route at once (and "none of these"), and weighs the ranks (Doc-to-Atom's mask, arXiv
2606.12400, made to depend on the query and refined to tokens). Gates are folded into B, so what is injected is a
plain LoRA.

The rows of A are orthogonal to the sink, the one large vector that position 0 feeds to ``down_proj`` whatever the
prompt: the attention sink stays as the base model has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from parametric_memory.hypernetwork.states import layers_of, module_inputs
from parametric_memory.types import LoraFactors


@dataclass(frozen=True, slots=True, kw_only=True)
class HypernetworkConfig:
    """Sizes of a hypernetwork; it fits one base model.

    Attributes:
        d_model: Width of the base model's states.
        d_in: Width of what its target modules are given.
        first_layer: The lowest adapted layer; atoms and questions are read at its input.
        middle_layer: A second layer at whose input atoms are read.
        layers: Number of adapted layers.
        width: Width of a code.
        encoder_layers: Self-attention layers over an atom's tokens.
        gate_layers: Cross-attention layers from atoms' tokens to the question's; 0 if it has no gates of its own, and
            ranks are weighed by what a token router finds.
        heads: Attention heads of both.
        max_tokens: Longest piece of an atom that is encoded at once; longer atoms are encoded in pieces.
        dropout: Used in training only.
        gated: Continuing ranks are weighed by the gates; else all of them speak for every question.
        floored: A continuing rank keeps a learned floor; else its gate may close it.
        starts: Starting ranks speak; else continuing ranks have to begin an answer, too.
        ends: There are ending ranks; else what follows an answer is left to the base model.
        question_words: Gates read a question as atoms are read, its tokens' embeddings among it, so that they can tell
            which of its words an atom repeats; else at the first adapted layer alone.
    """

    d_model: int
    d_in: int
    first_layer: int
    middle_layer: int
    layers: int
    width: int = 320
    encoder_layers: int = 2
    gate_layers: int = 2
    heads: int = 5
    max_tokens: int = 128
    dropout: float = 0.1
    gated: bool = True
    floored: bool = True
    starts: bool = True
    ends: bool = False
    question_words: bool = False

    @property
    def ranks(self) -> int:
        """Ranks of a token."""
        return 3 if self.ends else 2

    @property
    def read_layers(self) -> tuple[int, ...]:
        """The layers at whose inputs atoms are read, beside their token embeddings."""
        return self.middle_layer, self.first_layer

    @property
    def question_layers(self) -> tuple[int, ...]:
        """The layers at whose inputs questions are read; the last is the first adapted layer."""
        return self.read_layers if self.question_words else (self.first_layer,)


class Measured(Protocol):
    """A hypernetwork that knows, per adapted layer, the sink (d_in,) and the mean norm of the target's inputs."""

    sink: Tensor
    input_norm: Tensor


@dataclass(frozen=True, slots=True)
class Gates:
    """Log-probabilities over the tokens of a row's atoms; the last column is "none of these".

    ``inside`` says whether a token belongs to the answer, ``start`` whether it is the answer's first: (rows, R + 1).
    ``after`` says whether it is the first one behind the answer, if that is known.
    """

    inside: Tensor
    start: Tensor
    after: Tensor | None = None


class AtomHypernetwork(nn.Module):
    """Encodes atoms, emits their factors, and gates them for a question."""

    sink: Tensor
    input_norm: Tensor

    def __init__(self, config: HypernetworkConfig) -> None:
        super().__init__()
        self.config, c = config, config
        d, K = c.width, c.layers
        self.read = nn.Linear(4 * c.d_model, d)
        self.position = nn.Embedding(c.max_tokens, d)
        self.dropout = nn.Dropout(c.dropout)
        self.encoder = nn.ModuleList(_encoder_layer(c) for _ in range(c.encoder_layers))
        self.norm = nn.LayerNorm(d)
        self.key = nn.Parameter(torch.randn(K, d, c.d_in) * 0.5 / math.sqrt(d))
        self.value = nn.Parameter(torch.randn(K, d, c.d_model) * 0.01 / math.sqrt(d))
        # Scales are learned as logarithms: a step then changes a large one and a small one by the same share.
        self.log_key = nn.Parameter(torch.full((K,), 0.4).log())
        self.log_copy = nn.Parameter(torch.full((K,), 12.0).log())
        # In the last layer a token's direction adds to its logit alone, so starting ranks begin there.
        self.log_start = nn.Parameter(torch.tensor([4.0] * (K - 1) + [150.0]).log())
        if c.ends:
            self.log_end = nn.Parameter(torch.full((K,), 12.0).log())
        self.probe = nn.Parameter(torch.zeros(K, c.d_in))
        self.floor = nn.Parameter(torch.tensor(-2.0))
        if c.gate_layers:
            self.question = nn.Linear((4 if c.question_words else 1) * c.d_model, d)
            self.cross = nn.ModuleList(_decoder_layer(c) for _ in range(c.gate_layers))
            self.gate_norm = nn.LayerNorm(d)
            self.gate = nn.Linear(d, 2)
            self.nothing = nn.Parameter(torch.zeros(1, 1, d))
        # Facts of the base model, filled in by `calibrate`.
        self.register_buffer("sink", torch.zeros(K, c.d_in))
        self.register_buffer("input_norm", torch.ones(K))

    def encode(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the codes of atoms.

        Args:
            features: (atoms, T, 4 * d_model) as `features` makes them; T is at most ``max_tokens``.
            mask: (atoms, T) bool, False at padding.

        Returns:
            (atoms, T, width), zero at padding.
        """
        u = self.dropout(self.read(features) + self.position.weight[: features.shape[1]])
        for layer in self.encoder:
            u = layer(u, src_key_padding_mask=~mask)
        codes: Tensor = self.norm(u) * mask[..., None]
        return codes

    def factors(
        self, codes: Tensor, tokens: Tensor, gates: Tensor | None = None, *, ending: Tensor | None = None
    ) -> list[LoraFactors]:
        """Return one micro-LoRA per adapted layer, lowest first.

        Args:
            codes: (..., T, width).
            tokens: (..., T, d_model), the tokens' unembedding directions (see `directions`); zero at padding.
            gates: One weight per rank, (..., 2T) or (..., 3T), folded into B. All starting ranks have the same A, so
                with their gates known they are returned as one rank, the weighted sum of their B; an ending rank has
                that of a continuing one, and is added to it.
            ending: (d_model,), the direction of the token that ends a turn; needed where there are ending ranks.

        Returns:
            Factors of rank 2T or 3T, or T + 1 with gates: A is (..., rank, d_in), B is (..., d_model, rank).
        """
        T = codes.shape[-2]
        keys, probes = self._keys()
        values = torch.einsum("...td,ldo->l...to", codes, self.value)
        made = []
        for layer in range(self.config.layers):
            speak = values[layer] + self.log_copy[layer].exp() * tokens
            start = self.log_start[layer].exp() * tokens
            end = self._end(layer, ending)
            if gates is not None:
                speak = gates[..., :T, None] * speak
                start = (gates[..., None, T : 2 * T].to(start) @ start).to(speak)
                if end is not None:
                    speak = speak + gates[..., 2 * T :, None] * end
            key, probe = codes @ keys[layer], probes[layer].expand(*start.shape[:-1], -1)
            A, B = [key, probe.to(codes)], [speak, start]
            if end is not None and gates is None:
                A.append(key)
                B.append(end.to(speak).expand_as(speak))
            made.append(LoraFactors(torch.cat(A, dim=-2), torch.cat(B, dim=-2).transpose(-1, -2)))
        return made

    def _end(self, layer: int, ending: Tensor | None) -> Tensor | None:
        """Return what each of a layer's ending ranks says, (d_model,); None if there are none."""
        if not self.config.ends:
            return None
        assert ending is not None, "a network with ending ranks has to know what ends a turn"
        return self.log_end[layer].exp() * ending

    def _keys(self) -> tuple[Tensor, Tensor]:
        """Return W^A and the probe of every layer, for inputs of any norm, orthogonal to the sink."""
        norm = self.input_norm[:, None]
        key = self.key * (self.log_key.exp() / self.input_norm)[:, None, None]
        key = key - torch.einsum("ldi,li->ld", key, self.sink)[..., None] * self.sink[:, None]
        probe = self.probe / norm
        return key, probe - (probe * self.sink).sum(dim=-1, keepdim=True) * self.sink

    def gates(self, codes: Tensor, mask: Tensor, question: Tensor, question_mask: Tensor) -> Gates:
        """Find which tokens of a row's atoms answer its question; a network without ``gate_layers`` cannot.

        Args:
            codes: (rows, R, width), the codes of all atoms of a row, one after the other.
            mask: (rows, R) bool, False at padding.
            question: (rows, Tq, features), the prompt as `question_features` has it.
            question_mask: (rows, Tq) bool, False at padding.
        """
        rows = codes.shape[0]
        x = torch.cat([codes, self.nothing.expand(rows, -1, -1).to(codes)], dim=1)
        mask = pad(mask, (0, 1), value=True)
        asked = self.question(question)
        for layer in self.cross:
            x = layer(x, asked, tgt_key_padding_mask=~mask, memory_key_padding_mask=~question_mask)
        logits = self.gate(self.gate_norm(x)).float().masked_fill(~mask[..., None], -1e4)
        inside, start = logits.log_softmax(dim=1).unbind(-1)
        return Gates(inside, start)

    def rank_gates(self, gates: Gates) -> Tensor:
        """Return one weight per rank, (rows, 2R): R continuing ranks, then R starting ranks; then R ending ranks.

        A continuing rank keeps a learned floor, so that the rest of an atom stays within reach of an answer that is
        not a span of it.
        """
        inside, starting = gates.inside.exp(), gates.start[:, :-1].exp()
        # "None of these" is in the maximum: if nothing answers, every gate closes.
        relative = inside[:, :-1] / inside.amax(dim=1, keepdim=True)
        # What a token router found may lie on another device than the network.
        floor = (torch.sigmoid(self.floor) * float(self.config.floored)).to(inside.device)
        answered = 1 - inside[:, -1:]
        continuing = answered * (floor + (1 - floor) * relative)
        if not self.config.gated:
            continuing = torch.ones_like(continuing)
        weights = [continuing, starting * float(self.config.starts)]
        if self.config.ends:
            weights.append(torch.zeros_like(starting) if gates.after is None else gates.after[:, :-1].exp())
        return torch.cat(weights, dim=1)


def features(states: Mapping[int, Tensor], config: HypernetworkConfig) -> Tensor:
    """Return what the encoder reads, (..., T, 4 * d_model), from states at layer 0, the middle and the first layer.

    Each is RMS-normalised; the token before goes with each token, so that a key can know what it follows.
    """
    embedding = rms(states[0])
    before = pad(embedding[..., :-1, :], (0, 0, 1, 0))
    return torch.cat([embedding, before, rms(states[config.middle_layer]), rms(states[config.first_layer])], dim=-1)


def question_features(states: Mapping[int, Tensor], config: HypernetworkConfig) -> Tensor:
    """Return what gates read of a question, (..., Tq, d_model), or (..., Tq, 4 * d_model) with ``question_words``.

    Args:
        states: At ``question_layers``, and with ``question_words`` at layer 0: the embeddings.
        config: Says which.
    """
    return features(states, config) if config.question_words else rms(states[config.first_layer])


def grown(network: AtomHypernetwork, config: HypernetworkConfig) -> AtomHypernetwork:
    """Return a network of other settings that makes of the same codes what this one does, until it is trained on.

    It may read questions as atoms are read, have ending ranks, adapt more layers below, drop out more or less, and be
    without its gates. New layers say nothing yet; it reads atoms where its first layer is then, and `measure_inputs`
    has to measure what the new ones are given.

    Args:
        network: It is returned itself if nothing differs.
        config: What else differs, such as its width, is refused.

    Raises:
        RuntimeError: If the weights do not fit.
    """
    own = network.config
    if own == config:
        return network
    made = AtomHypernetwork(config)
    state, new = network.state_dict(), made.state_dict()
    if not config.gate_layers:
        state = {name: weights for name, weights in state.items() if name.partition(".")[0] not in _GATES}
    elif config.question_words and not own.question_words:
        # The first layer's states come last among the features.
        state["question.weight"] = pad(state["question.weight"], (3 * config.d_model, 0))
    if config.ends and not own.ends:
        state["log_end"] = new["log_end"][config.layers - own.layers :]
    for name in _PER_LAYER & state.keys():
        more = new[name][: config.layers - own.layers]
        state[name] = torch.cat([torch.zeros_like(more) if name in _SILENT else more, state[name]])
    made.load_state_dict(state)
    return made


def grows(own: HypernetworkConfig, config: HypernetworkConfig) -> bool:
    """Return whether a network can become one of other settings (see `grown`)."""
    free = ("layers", "first_layer", "middle_layer", "dropout", "ends", "question_words", "gate_layers")
    more = (own.layers, own.ends, own.question_words), (config.layers, config.ends, config.question_words)
    same = replace(config, **{name: getattr(own, name) for name in free}) == own
    gates = config.gate_layers in {0, own.gate_layers}
    return same and gates and all(before <= now for before, now in zip(*more, strict=True))


#: What a network has once for every adapted layer, lowest first; without the latter, a layer says nothing.
_PER_LAYER = {"key", "value", "log_key", "log_copy", "log_start", "log_end", "probe", "sink", "input_norm"}
_SILENT = {"key", "probe"}
#: What finds, for a question, which tokens answer it.
_GATES = {"question", "cross", "gate_norm", "gate", "nothing"}


def directions(model: nn.Module, ids: Tensor) -> Tensor:
    """Return the unembedding directions of tokens, (..., d_model) float32, of mean norm 1 over the vocabulary."""
    weight: Tensor = model.get_output_embeddings().weight  # type: ignore[operator]
    sample = weight[:: max(1, len(weight) // 4096)].float()
    found: Tensor = weight[ids].float() / sample.norm(dim=-1).mean()
    return found


def config_for(
    model: nn.Module, *, layers: int, width: int = 320, dropout: float = 0.1, gate_layers: int = 2, **switches: bool
) -> HypernetworkConfig:
    """Return the sizes of a hypernetwork that adapts the last `layers` layers' ``down_proj`` of this base model.

    Args:
        model: The base model.
        layers: How many layers are adapted.
        width: Of a code.
        dropout: In training.
        gate_layers: Of its own gates; 0 if it has none.
        switches: ``gated``, ``floored``, ``starts``, ``ends``, ``question_words`` (see `HypernetworkConfig`).
    """
    d_model, d_in, depth = sizes_of(model)
    first = depth - layers
    return HypernetworkConfig(
        d_model=d_model,
        d_in=d_in,
        first_layer=first,
        middle_layer=first // 2,
        layers=layers,
        width=width,
        heads=heads_for(width),
        dropout=dropout,
        gate_layers=gate_layers,
        **switches,
    )


def sizes_of(model: nn.Module) -> tuple[int, int, int]:
    """Return the width of a base model's states, of what its ``down_proj`` is given, and its number of layers."""
    blocks = layers_of(model)
    down = blocks[-1].get_submodule("mlp.down_proj")
    return int(down.out_features), int(down.in_features), len(blocks)  # type: ignore[arg-type]


def heads_for(width: int) -> int:
    """Return a number of attention heads that divides a width."""
    return next(n for n in (5, 4, 6, 2, 1) if width % n == 0)


@torch.no_grad()
def calibrate(
    network: AtomHypernetwork,
    model: nn.Module,
    targets: Sequence[str],
    prompts: Sequence[Tensor],
    answers: Sequence[Tensor],
) -> None:
    """Fill in what a new hypernetwork must know of its base model: the sink, the inputs' norms, the start probe.

    The probe is a ridge regression from a target's input to "the next token is the answer's first" (1 there, 0
    elsewhere), over prompts followed by their answers.

    Args:
        network: Changed in place.
        model: The base model.
        targets: Its adapted modules, lowest first.
        prompts: Token ids of some prompts, (tokens,) each.
        answers: Token ids of their answers.
    """
    texts = [torch.cat(pair) for pair in zip(prompts, answers, strict=True)]
    starts = [torch.arange(1, len(ids)) == len(prompt) - 1 for ids, prompt in zip(texts, prompts, strict=True)]
    start = torch.cat(starts).float()
    for layer, x in enumerate(measure_inputs(network, model, targets, texts)):
        start = start.to(x)
        gram = x.T @ x
        ridge = 0.02 * gram.diagonal().mean() * torch.eye(len(gram), device=x.device)
        probe = torch.linalg.solve(gram + ridge, x.T @ start)
        sink = network.sink[layer].to(x)
        probe = probe - (probe @ sink) * sink
        at_start = (x @ probe)[start > 0].mean()
        network.probe.data[layer] = probe / at_start * network.input_norm[layer].to(x)


@torch.no_grad()
def measure_inputs(
    network: Measured, model: nn.Module, targets: Sequence[str], texts: Sequence[Tensor]
) -> list[Tensor]:
    """Fill in the sinks and the norms of what the targets are given, where they are not known, and return the inputs.

    Args:
        network: Changed in place.
        model: The base model.
        targets: Its adapted modules, lowest first.
        texts: Token ids, (tokens,) each.

    Returns:
        Per target (positions, d_in), of all texts together, without position 0 of each.
    """
    inputs: dict[str, list[Tensor]] = {target: [] for target in targets}
    for ids in texts:
        for target, x in module_inputs(model, ids[None], targets).items():
            inputs[target].append(x)
    made = [torch.cat([one[1:] for one in inputs[target]]) for target in targets]
    for layer in unmeasured(network):
        sink = inputs[targets[layer]][0][0]
        network.sink[layer] = sink / sink.norm()
        network.input_norm[layer] = made[layer].norm(dim=-1).mean()
    return made


def unmeasured(network: Measured) -> list[int]:
    """Return the adapted layers, by their place, of which a network does not know what they are given."""
    return [layer for layer, sink in enumerate(network.sink) if not bool(sink.any())]


def rms(x: Tensor) -> Tensor:
    """Return vectors, (..., d), each divided by its root mean square."""
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + 1e-6)


def _encoder_layer(c: HypernetworkConfig) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        c.width, c.heads, 3 * c.width, c.dropout, activation="gelu", batch_first=True, norm_first=True
    )


def _decoder_layer(c: HypernetworkConfig) -> nn.TransformerDecoderLayer:
    return nn.TransformerDecoderLayer(
        c.width, c.heads, 2 * c.width, c.dropout, activation="gelu", batch_first=True, norm_first=True
    )
