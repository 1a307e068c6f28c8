"""The nouns of the library: frozen records that every room passes to the next.

No tensor library is imported here; arrays appear only in annotations.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Scalar: TypeAlias = str | int | float | bool
Metadata: TypeAlias = Mapping[str, Scalar]


class Message(TypedDict):
    """One turn of a conversation, in the shape that chat templates take.

    A conversation that ends with an assistant's turn is continued from there, not answered anew.
    """

    role: str
    content: str


Conversation: TypeAlias = Sequence[Message]

#: Metadata keys that say whose knowledge it is; they are part of a document's identity.
SCOPE_KEYS = ("user_id", "agent_id", "run_id")

#: Half of a character, as a broken JSON escape or a file name that is no UTF-8 leaves it.
_HALF = re.compile("[\ud800-\udfff]")


def whole(text: str) -> str:
    """Return text with U+FFFD in place of half characters, which nothing can store; all others stay where they are."""
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", text)


def stable_id(*parts: str) -> str:
    """Return 32 hex characters that depend on the parts and on nothing else."""
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def stated(text: str, context: str = "") -> str:
    """Return a text as it is said under a context: "Handbook > Offices: Berlin opens at nine."."""
    joint = " " if context.endswith(("?", "!", ".", ":")) else ": "
    return f"{context}{joint}{text}" if context else text


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of characters: ``text[start:end]``."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"a span needs 0 <= start <= end, got {self.start}..{self.end}")

    def of(self, text: str) -> str:
        """Return the characters of ``text`` that this span covers."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Document:
    """A text as it was read; citations are spans of ``text``.

    ``blocks`` is what the reader knows of the structure: paragraphs, headings, list items, table rows, in order.
    """

    id: str
    text: str
    source: str = ""
    title: str = ""
    metadata: Metadata = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()

    @classmethod
    def of(
        cls,
        text: str,
        *,
        source: str = "",
        title: str = "",
        metadata: Metadata | None = None,
        blocks: tuple[Block, ...] = (),
    ) -> Document:
        """Make a document whose id depends on its scope and on its source, or on its text if it has none.

        Half characters become U+FFFD (see `whole`).
        """
        metadata = dict(metadata or {})
        text, source, title = whole(text), whole(source), whole(title)
        scope = [f"{key}={metadata[key]}" for key in SCOPE_KEYS if key in metadata]
        return cls(stable_id(source or text, *scope), text, source, title, metadata, blocks)


class BlockKind(StrEnum):
    """What a piece of a document is, as its format marks it."""

    PARAGRAPH = "paragraph"
    HEADING = "heading"
    LIST_ITEM = "list_item"
    TABLE_ROW = "table_row"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Block:
    """A structural piece of a document: where it is, what it is, and the headings it stands under.

    ``headings`` is the path from the outermost to the innermost heading. ``cells`` pairs a table row's column names
    with its values. ``lead`` is the sentence that introduces a list ("To reset the router:").
    """

    kind: BlockKind
    span: Span
    headings: tuple[str, ...] = ()
    cells: tuple[tuple[str, str], ...] = ()
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of blocks of one document that belongs together: the unit that an extractor reads.

    ``text == document.text[span.start:span.end]``; block spans are spans of the document, not of the passage.
    """

    document_id: str
    text: str
    span: Span
    title: str = ""
    blocks: tuple[Block, ...] = ()


class AtomKind(StrEnum):
    """The type of a unit of knowledge."""

    FACT = "fact"
    DEFINITION = "definition"
    ATTRIBUTE = "attribute"
    RELATION = "relation"
    EVENT = "event"
    PROCEDURE = "procedure"


@dataclass(frozen=True, slots=True)
class Atom:
    """One self-contained unit of knowledge.

    Attributes:
        id: Depends on the document's id, the statement and its occurrence: the same sentence keeps its atom.
        kind: Its type.
        statement: One sentence that stands by itself, title and headings resolved in: what people see, and keys are of.
        text: The sentence alone, without title and headings: what the compiler turns into weights.
        context: The title and headings that were resolved into the statement ("Handbook > Offices").
        document_id: Where it comes from.
        span: The characters of the document that it was read from: the citation.
        position: Its place among the atoms of its document, from 0.
        source: The document's source (a path, a URL), for citations.
        metadata: The document's metadata.
    """

    id: str
    kind: AtomKind
    statement: str
    text: str
    document_id: str
    span: Span
    context: str = ""
    position: int = 0
    source: str = ""
    metadata: Metadata = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the atom in the shape that memory libraries share: its statement is called ``memory``."""
        return {
            "id": self.id,
            "memory": self.statement,
            "kind": str(self.kind),
            "source": self.source,
            "document_id": self.document_id,
            "span": [self.span.start, self.span.end],
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True)
class AtomKey:
    """Where an atom lies in the retrieval space: (dim,) float32, unit norm."""

    atom_id: str
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """What an adapter fits: adapters compose only if their specs are equal.

    ``targets`` are full module names of the base model, in the order of the layers.
    """

    base_model: str
    base_fingerprint: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AtomCode:
    """What is stored of a compiled atom: a compact code that its compiler turns into factors on demand.

    ``compiler`` names the compiler and its checkpoint (``"hypernetwork:4f0c…"``); ``payload`` is safetensors bytes.
    """

    atom_id: str
    spec: AdapterSpec
    compiler: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """A low-rank update ``ΔW = B @ A`` of one module; every scale is folded into B.

    A is (rank, d_in) and B is (d_out, rank), as in PEFT. With one adapter per row of a batch both carry a leading
    batch dimension.
    """

    A: Tensor
    B: Tensor

    @property
    def rank(self) -> int:
        """Number of rows of A."""
        return int(self.A.shape[-2])


@dataclass(frozen=True, slots=True)
class AtomAdapter:
    """The micro-LoRA of one atom: factors by target module."""

    atom_id: str
    spec: AdapterSpec
    factors: Mapping[str, LoraFactors]


@dataclass(frozen=True, slots=True)
class ComposedAdapter:
    """Many atoms' factors as one adapter; ``truncated`` is the relative error by target, where ranks were cut off."""

    spec: AdapterSpec
    factors: Mapping[str, LoraFactors]
    atom_ids: tuple[str, ...]
    truncated: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """A question on its way through the memory; ``vector`` is its key, (dim,) float32, unit norm."""

    text: str
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TokenShare:
    """A token of an atom's text, and how probably it is the answer's.

    Attributes:
        span: Characters of ``atom.text``.
        share: Probability that it is part of the answer.
        start: Probability that the answer starts with it; 0.0 where that is not known.
        end: Probability that it ends with it; 0.0 where that is not known.
    """

    span: Span
    share: float
    start: float = 0.0
    end: float = 0.0


@dataclass(frozen=True, slots=True)
class AtomGates:
    """What token gates say of one candidate, found among all candidates of its question at once (see `TokenGates`).

    Attributes:
        ranks: One weight per rank of its adapter; empty if no compiler was asked.
        share: Probability that it holds the answer, rather than another candidate or none.
        nothing: Probability that no candidate does: the same for all of them.
        tokens: Where in its text.
    """

    ranks: tuple[float, ...]
    share: float
    nothing: float
    tokens: tuple[TokenShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """An atom that the similarity stage returned.

    Attributes:
        atom: The atom.
        dense: Cosine of its key and the query's.
        lexical: BM25; 0.0 if the search by words did not return it.
        updated: When it was stored or last changed, in seconds since the epoch; 0.0 if that is not known.
        gates: What the compiler's gates say of it, if it has been asked.
    """

    atom: Atom
    dense: float
    lexical: float
    updated: float = 0.0
    gates: AtomGates | None = None


@dataclass(frozen=True, slots=True)
class TokenGates:
    """Which tokens of some atoms answer a question.

    ``ranks`` has one weight per rank of each atom's adapter, ``shares`` each atom's probability to hold the answer, and
    ``nothing`` the probability that none of them does; shares and nothing sum to 1. ``tokens`` says how probably each
    token of each atom's text is part of the answer, where it is known which they are; else it is empty, as ``ranks``
    is where no compiler was asked.
    """

    ranks: tuple[tuple[float, ...], ...]
    shares: tuple[float, ...]
    nothing: float
    tokens: tuple[tuple[TokenShare, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class RoutedAtom:
    """An atom with the router's score and weight, and why it was taken or left.

    ``rank_gates`` weighs each rank of its adapter, ``share`` is its probability to hold the answer and ``tokens`` says
    where in its text, where token gates were found (see `TokenGates`). ``dense`` and ``lexical`` are the candidate's
    own scores, where they were kept: the keys' cosine and BM25.
    """

    atom: Atom
    score: float
    weight: float = 1.0
    rank_gates: tuple[float, ...] | None = None
    share: float | None = None
    reason: str = ""
    tokens: tuple[TokenShare, ...] = ()
    dense: float | None = None
    lexical: float | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Which atoms answer a query, which do not, and why.

    ``confidence`` is compared with ``threshold``; below it the route is empty and ``abstained`` is true. ``timings``
    are milliseconds by stage, where they were taken; routes that differ in nothing else are equal. ``hops`` are the
    questions of further hops that found something.
    """

    query: str
    selected: tuple[RoutedAtom, ...]
    rejected: tuple[RoutedAtom, ...] = ()
    abstained: bool = False
    confidence: float = 0.0
    threshold: float = 0.0
    timings: Mapping[str, float] = field(default_factory=dict, compare=False)
    hops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Citation:
    """Where an answer stands: ``text == document.text[span.start:span.end]``."""

    atom_id: str
    document_id: str
    source: str
    span: Span
    text: str

    def record(self) -> dict[str, Any]:
        """Return the citation as JSON has it."""
        return {
            "atom_id": self.atom_id,
            "document_id": self.document_id,
            "source": self.source,
            "span": [self.span.start, self.span.end],
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; ``knowledge_tokens`` are those of retrieved text in the prompt: 0 when it is in weights."""

    prompt_tokens: int
    completion_tokens: int
    knowledge_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """What a backend returns for one prompt."""

    text: str
    usage: Usage
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, the atoms it stood on, what it cost in tokens and in milliseconds per stage."""

    text: str
    route: Route
    usage: Usage
    citations: tuple[Citation, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    mode: str = "atoms"

    @property
    def abstained(self) -> bool:
        """Whether the memory held nothing that answers the question."""
        return self.route.abstained

    def record(self) -> dict[str, Any]:
        """Return how the answer came about, as JSON has it: its route, its citations, and what it cost."""
        return {
            "mode": self.mode,
            "abstained": self.abstained,
            "confidence": self.route.confidence,
            "threshold": self.route.threshold,
            "atoms": [
                {
                    "id": routed.atom.id,
                    "statement": routed.atom.statement,
                    "kind": str(routed.atom.kind),
                    "source": routed.atom.source,
                    "score": routed.score,
                    "share": routed.share,
                }
                for routed in self.route.selected
            ],
            "citations": [citation.record() for citation in self.citations],
            "knowledge_tokens": self.usage.knowledge_tokens,
            "timings_ms": dict(self.timings),
        }
