"""Everything this library raises on purpose, one tree.

ParametricMemoryError
├── ConfigError(ValueError)              every problem of a configuration, not the first
├── MissingDependencyError(ImportError)  names the extra to install
├── IngestError                          carries document_id, span
│   ├── UnreadableDocumentError
│   ├── ExtractionError
│   └── CompilationError
├── StoreError
│   ├── StoreNotFoundError
│   ├── StoreVersionError
│   ├── StoreLockedError                 names the holder
│   ├── AtomNotFoundError(LookupError)
│   ├── DocumentNotFoundError(LookupError)
│   ├── ScopeConflictError
│   └── CorruptAdapterError
├── AdapterError
│   ├── AdapterMismatchError             carries expected, actual
│   └── UnsupportedModelError
├── BackendError
│   └── GenerationError
├── AbstainedError(LookupError)          carries the route; only where the caller asks for it
└── TrainingError
    ├── NonFiniteLossError               names the batch
    └── CheckpointError

A message says what was being done, what was found against what was expected, and what to do next.
Abstaining is not an error: it is a `Route` without atoms. Only with ``fallback="raise"`` it becomes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parametric_memory.types import Route, Span


class ParametricMemoryError(Exception):
    """Base of all errors of this library."""


class ConfigError(ParametricMemoryError, ValueError):
    """A configuration is wrong; `problems` lists every mistake that was found."""

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        super().__init__("\n  - ".join([message, *problems]))
        self.problems = tuple(problems)


class MissingDependencyError(ParametricMemoryError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package!r}, which is not installed: pip install 'parametric-memory[{extra}]'"
        )
        self.extra = extra


class IngestError(ParametricMemoryError):
    """Reading, splitting, extracting or compiling one document failed; other documents are unaffected."""

    def __init__(self, message: str, *, document_id: str | None = None, span: Span | None = None) -> None:
        super().__init__(message)
        self.document_id = document_id
        self.span = span


class UnreadableDocumentError(IngestError):
    """A file is missing, empty, encrypted, too large, or not what its name says."""


class ExtractionError(IngestError):
    """An extractor could not read atoms out of a passage."""


class CompilationError(IngestError):
    """A compiler could not turn an atom into an adapter."""


class StoreError(ParametricMemoryError):
    """The store could not do what was asked; what it held before is unchanged."""


class StoreNotFoundError(StoreError):
    """There is no store at this path."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of this library."""


class StoreLockedError(StoreError):
    """Another process is writing to this store; `holder` says which."""

    def __init__(self, message: str, *, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class AtomNotFoundError(StoreError, LookupError):
    """No atom has this id."""


class DocumentNotFoundError(StoreError, LookupError):
    """No document has this id."""


class ScopeConflictError(StoreError):
    """A document of the same id is stored already, and is another user's, agent's or run's."""


class CorruptAdapterError(StoreError):
    """A stored code does not match its checksum or cannot be decoded."""


class AdapterError(ParametricMemoryError):
    """An adapter cannot be used the way it was asked to be."""


class AdapterMismatchError(AdapterError):
    """An adapter, checkpoint or store belongs to another base model."""

    def __init__(self, message: str, *, expected: object, actual: object) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class UnsupportedModelError(AdapterError):
    """The base model has no module that this adapter or compiler needs."""


class BackendError(ParametricMemoryError):
    """The base model could not be loaded or run."""


class GenerationError(BackendError):
    """The base model failed while it was generating."""


class AbstainedError(ParametricMemoryError, LookupError):
    """Nothing in the memory answers a question, and the caller wanted that to be an error; `route` says why."""

    def __init__(self, message: str, *, route: Route) -> None:
        super().__init__(message)
        self.route = route


class TrainingError(ParametricMemoryError):
    """Training could not start or go on; the last checkpoint is intact."""


class NonFiniteLossError(TrainingError):
    """A loss became NaN or infinite; the message names the batch."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, incomplete, or of another kind."""
