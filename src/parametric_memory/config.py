"""Every setting of the library: frozen dataclasses, and one function that reads them from TOML.

Mistakes of a file are reported all at once, with the table and key they stand in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, TypeVar

from parametric_memory.errors import ConfigError
from parametric_memory.types import Message

Settings = TypeVar("Settings")

#: What an answer is made from (see `parametric_memory.ParametricMemory.ask`).
Mode: TypeAlias = Literal["atoms", "hybrid", "hybrid_unsure", "in_context", "closed_book"]
#: What happens if a memory abstains: it says so, the bare base model answers, or `AbstainedError` is raised.
Fallback: TypeAlias = Literal["unknown", "base", "raise"]


class Table:
    """A table of the TOML file; a key that it does not have is a mistake."""

    __slots__ = ()
    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestConfig(Table):
    """How documents are read and split.

    Attributes:
        max_bytes: Files larger than this are refused with `UnreadableDocumentError`.
        passage_chars: Longest passage, in characters; an extractor sees one passage at a time.
        max_atom_chars: Longer sentences are split at clause boundaries.
    """

    max_bytes: int = 64 * 2**20
    passage_chars: int = 1600
    max_atom_chars: int = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingConfig(Table):
    """How many candidates are looked at and how few are taken.

    Attributes:
        candidates: Atoms that the similarity stage returns, per kind of search.
        neighbours: Atoms beside those in their documents that become candidates, too, at most so many.
        reranked: Candidates, the most similar ones, that a compiler's gates read before the route is made; 0 for none.
            Only a compiler whose checkpoint says how much its gates are to be believed is asked.
        max_atoms: Longest route.
        hops: Most rounds of searching and routing for a question; beyond the first, for what the best atom names and
            the question does not. 1 for one.
        newest_wins: Of statements that say the same, or give a fact different values, only the newest is taken.
        weights: ``equal``: all atoms of a route weigh 1; ``odds``: the best weighs 1, others by their odds to its.
        gates: Among which atoms the gates of a route's ranks are found: ``selected`` ones or all ``reranked`` ones.
        dense_weight: Share of the keys' cosine in an atom's similarity to the query; the rest is BM25.
        margin: Atoms whose score (log-odds that they answer) is further than this below the best are left out.
        abstain_below: Confidence (the best score as a probability) under which the route is empty; of a memory that was
            calibrated, the calibration's threshold counts in its place.
        abstain_at: Target error rate of a calibrated memory: of the questions that it cannot answer, at most this share
            is taken on. None for the rate that it was calibrated with.
        unsure_below: Probability that the memory answers (the confidence, or what a calibration makes of it) under
            which the mode ``hybrid_unsure`` shows the base model a snippet.
    """

    candidates: int = 16
    neighbours: int = 0
    reranked: int = 8
    max_atoms: int = 4
    hops: int = 1
    newest_wins: bool = True
    weights: Literal["equal", "odds"] = "equal"
    gates: Literal["selected", "reranked"] = "selected"
    dense_weight: float = 0.7
    margin: float = 0.8
    abstain_below: float = 0.4
    abstain_at: float | None = None
    unsure_below: float = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationConfig(Table):
    """How an answer is generated. ``temperature=0`` is greedy; ``stop`` ends it before any of these strings."""

    max_new_tokens: int = 48
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig(Table):
    """The wording around a question. A compiler's checkpoint names the one it was trained with.

    Attributes:
        system: System message when the answer comes from weights, or from nothing.
        reading: System message when there are passages in the prompt.
        prefix: Opens the assistant's turn and is not part of the answer: after it a base model answers with the words
            alone, spelled as in running text.
    """

    system: str = "Answer briefly."
    reading: str = "Answer the question with a short span copied from the passage."
    prefix: str = "Answer:"

    def conversation(self, question: str, passages: Sequence[str] = ()) -> list[Message]:
        """Return the turns around a question, ending in the opened assistant's turn."""
        asked = f"Passage: {' '.join(passages)}\nQuestion: {question}" if passages else question
        turns: list[Message] = [
            {"role": "system", "content": self.reading if passages else self.system},
            {"role": "user", "content": asked},
        ]
        return [*turns, {"role": "assistant", "content": self.prefix}] if self.prefix else turns


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationConfig(Table):
    """How atoms are distilled into adapters by gradient steps (see `parametric_memory.compilers.distillation`).

    Attributes:
        rank: Of a new adapter, on every target.
        layers: Adapted layers, counted from the last; None, or more than there are, for all of them.
        module: The adapted module of a layer; None for the one that closes its MLP, whatever it is called.
        templates: Most exercises that are made from an atom's own words.
        questions: Questions about an atom that the base model itself writes.
        steps: Most optimiser steps.
        rows: Exercises of one atom in a step.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW, on both factors.
        top_k: Tokens of the teacher's distribution that are kept at a position; the rest counts as one.
        nll_weight: Weight of the answers' likelihood beside the divergence from the teacher.
        patience: An atom is done when its mean loss over so many steps is no lower than over those before; None never.
        enough: It is also done when that mean is below this (nats a token).
        seed: Of the exercises, their order and the first factors.
    """

    rank: int = 8
    layers: int | None = 6
    module: str | None = None
    templates: int = 12
    questions: int = 2
    steps: int = 32
    rows: int = 4
    learning_rate: float = 1e-2
    weight_decay: float = 0.0
    top_k: int = 16
    nll_weight: float = 1.0
    patience: int | None = 8
    enough: float = 0.05
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig(Table):
    """Where keys are searched: ``chroma`` (approximate, scales) or ``numpy`` (exact, in memory)."""

    index: str = "chroma"
    lock_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig(Table):
    """All settings of a `ParametricMemory`.

    Attributes:
        max_rank: Rank budget of a composed adapter; beyond it, composition truncates (QR + SVD) and says so.
        snippet_tokens: Most tokens (the base model's) of the snippet that the hybrid modes put into the prompt.
        fallback: What happens when the route is empty. ``unknown``: the words below are the answer. ``base``: the bare
            base model answers, bit for bit as without a memory. ``raise``: an `AbstainedError`.
        unknown: The words of ``unknown``; None lets the bare base model answer then, too.
        document_checkpoint: Folder of a trained document compiler: of memories of documents, and of what is compared.
        token_router: Folder of a token router trained on the memory's key encoder; None for the one in the package,
            and ``none`` for none: a checkpoint's own gates then find the answer's tokens, if it has gates.
    """

    ingest: IngestConfig = field(default_factory=IngestConfig)
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    max_rank: int = 512
    snippet_tokens: int = 64
    fallback: Fallback = "unknown"
    unknown: str | None = "I don't know."
    document_checkpoint: str | None = None
    token_router: str | None = None


def load_config(path: Path) -> MemoryConfig:
    """Read a `MemoryConfig` from a TOML file.

    Raises:
        ConfigError: If the file cannot be read, or naming every wrong or unknown key in it.
    """
    return read_toml(path, MemoryConfig)


def read_toml(path: Path, kind: type[Settings]) -> Settings:
    """Read a frozen dataclass of settings from a TOML file; what the file leaves out keeps its default.

    Raises:
        ConfigError: If the file cannot be read, or naming every wrong or unknown key in it.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"reading the configuration {path}: {error}") from error
    try:
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        raise ConfigError(f"the configuration {path} has {len(problems)} problem(s):", problems=problems) from error
