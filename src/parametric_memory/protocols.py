"""The six replaceable things. Pass an object that has these methods; there is nothing to inherit or to register.

`parametric_memory.testing` holds a conformance suite for each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from parametric_memory.types import (
    AdapterSpec,
    Atom,
    AtomAdapter,
    AtomCode,
    AtomKey,
    Candidate,
    ComposedAdapter,
    Conversation,
    Generation,
    Passage,
    Query,
    Route,
    TokenGates,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from parametric_memory.config import GenerationConfig


@runtime_checkable
class Extractor(Protocol):
    """Reads typed atoms out of a passage."""

    def extract(self, passage: Passage) -> Sequence[Atom]:
        """Return the passage's atoms in reading order; their spans are spans of the document.

        Raises:
            ExtractionError: If the passage cannot be read.
        """
        ...


@runtime_checkable
class KeyEncoder(Protocol):
    """Places atoms and queries in one retrieval space."""

    @property
    def name(self) -> str:
        """Identity of the space: keys of different names never meet in one store."""
        ...

    @property
    def dim(self) -> int:
        """Length of a key."""
        ...

    def encode_atoms(self, statements: Sequence[str]) -> NDArray[np.float32]:
        """Return unit-norm keys, (len(statements), dim)."""
        ...

    def encode_query(self, query: str) -> NDArray[np.float32]:
        """Return one unit-norm key, (dim,)."""
        ...


@runtime_checkable
class Compiler(Protocol):
    """Turns atoms into codes that are stored, and codes into adapters that are composed."""

    @property
    def name(self) -> str:
        """Identity of the compiler and its weights: codes of another compiler are refused."""
        ...

    @property
    def spec(self) -> AdapterSpec:
        """What its adapters fit."""
        ...

    def compile(self, atoms: Sequence[Atom]) -> Sequence[AtomCode]:
        """Return one code per atom, in order. Consecutive atoms of one document are read in one another's context.

        Raises:
            CompilationError: If an atom cannot be compiled.
        """
        ...

    def materialise(self, codes: Sequence[AtomCode]) -> Sequence[AtomAdapter]:
        """Return one adapter per code, in order.

        Raises:
            CorruptAdapterError: If a payload cannot be decoded.
            AdapterMismatchError: If a code belongs to another base model or compiler.
        """
        ...


@runtime_checkable
class GatingCompiler(Compiler, Protocol):
    """A compiler that also knows, for a question, which ranks of its adapters may speak."""

    def gate(self, question: str, codes: Sequence[AtomCode], found: TokenGates | None = None) -> TokenGates:
        """Return the gates of these atoms, found among all of them at once.

        With what a token router has ``found`` in the same atoms, in their order, the ranks follow that.
        """
        ...


@runtime_checkable
class RerankingCompiler(GatingCompiler, Protocol):
    """A gating compiler that also knows how far a router may believe its gates."""

    @property
    def reranking(self) -> Mapping[str, float] | None:
        """The router's weights by name (see `parametric_memory.routing.RerankingWeights`); None: do not ask."""
        ...


@runtime_checkable
class TokenRouter(Protocol):
    """Finds the tokens of atoms that answer a question, whatever base model is asked."""

    @property
    def name(self) -> str:
        """Identity of the router and its weights."""
        ...

    @property
    def reranking(self) -> Mapping[str, float] | None:
        """The router's weights by name (see `parametric_memory.routing.RerankingWeights`); None: do not ask."""
        ...

    def read(self, question: str, atoms: Sequence[Atom]) -> TokenGates:
        """Return where these atoms answer the question, among all of them at once; ``ranks`` is empty."""
        ...


@runtime_checkable
class KeyIndex(Protocol):
    """Nearest keys by cosine. Derived data: the store rebuilds it from its database whenever they disagree."""

    def upsert(self, keys: Sequence[AtomKey]) -> None:
        """Add keys, or replace the ones that are there."""
        ...

    def search(
        self, vector: NDArray[np.float32], k: int, *, within: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return up to ``k`` (atom id, cosine) pairs, best first, of the ids in ``within`` (of all, if None)."""
        ...

    def delete(self, atom_ids: Collection[str]) -> None:
        """Remove keys; unknown ids are ignored."""
        ...

    def ids(self) -> set[str]:
        """Return the ids of all keys."""
        ...

    def clear(self) -> None:
        """Remove all keys."""
        ...

    def close(self) -> None:
        """Write what is pending and let go of files. Further calls are errors."""
        ...


@runtime_checkable
class Router(Protocol):
    """Decides which candidates answer a query: lists in, a route out, nothing else touched."""

    def route(self, query: Query, candidates: Sequence[Candidate]) -> Route:
        """Return the route, which is empty if no candidate answers the query."""
        ...


@runtime_checkable
class ThresholdRouter(Router, Protocol):
    """A router whose gate can be set, so that a calibrated threshold may open it as well as close it."""

    def with_threshold(self, threshold: float) -> Router:
        """Return the same router, but empty exactly where ``route.confidence`` is below the threshold."""
        ...


@runtime_checkable
class Backend(Protocol):
    """Runs the frozen base model. One adapter per conversation, or None for the bare base."""

    @property
    def base_model(self) -> str:
        """Name or path the base model was loaded from."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the base model's weights."""
        ...

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        adapters: Sequence[ComposedAdapter | None] | None = None,
        config: GenerationConfig | None = None,
    ) -> list[Generation]:
        """Return one generation per conversation, each under its own adapter, in one batch.

        Raises:
            AdapterMismatchError: If an adapter belongs to another base model.
            GenerationError: If the base model fails.
        """
        ...

    def stream(
        self,
        conversation: Conversation,
        *,
        adapter: ComposedAdapter | None = None,
        config: GenerationConfig | None = None,
    ) -> Iterator[str]:
        """Yield the text of one generation piece by piece, each as soon as it is computed."""
        ...

    def loglikelihood(
        self,
        conversations: Sequence[Conversation],
        answers: Sequence[str],
        *,
        adapters: Sequence[ComposedAdapter | None] | None = None,
    ) -> list[tuple[float, int]]:
        """Return, per conversation, the answer's summed log-probability (nats) and its number of tokens."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return the number of the base model's tokens in ``text``."""
        ...


@runtime_checkable
class ScoringBackend(Backend, Protocol):
    """A backend that can score answers while it generates, and reads every prompt only once for both."""

    def generate_and_score(
        self,
        conversations: Sequence[Conversation],
        answers: Sequence[str],
        *,
        adapters: Sequence[ComposedAdapter | None] | None = None,
        config: GenerationConfig | None = None,
    ) -> list[tuple[Generation, tuple[float, int]]]:
        """Return what `generate` and `loglikelihood` return, in pairs."""
        ...
