"""Signatures: answers, times and findings that are kept count for a run only if theirs are what the run's would be.

What they depend on comes in: a memory, a system, questions, documents. Out goes what JSON can hold, or a hash of it. A
thing that is missing here makes a run report what was measured with something else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from parametric_memory import __version__
from parametric_memory.evaluation.datasets import CorpusDocument, Question
from parametric_memory.evaluation.systems import GENERATION, READING, depends_on
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import stable_id


def parts_of(memory: ParametricMemory) -> dict[str, Any]:
    """Return the names of a memory's parts, and those of its settings that answers depend on."""
    model = getattr(memory.backend, "model", None)
    config = asdict(memory.config)
    return {
        "base_model": memory.backend.base_model,
        "base_fingerprint": memory.backend.fingerprint,
        "compiler": memory.compiler.name,
        "token_router": memory.token_router.name if memory.token_router else None,
        "router": called(memory.router),
        "key_encoder": memory.key_encoder.name,
        "extractor": called(memory.extractor),
        "dtype": str(getattr(model, "dtype", "")),
        "prompt": asdict(memory.prompt),
        "generation": asdict(GENERATION),
        "config": {name: config[name] for name in ("ingest", "routing", "max_rank", "fallback", "unknown")},
        "version": __version__,
    }


def compiled_by(memory: ParametricMemory) -> dict[str, Any]:
    """Return those of a memory's parts that what it stores depends on: not how it is searched, and asked."""
    parts = parts_of(memory)
    asking = {"token_router", "router", "prompt", "generation", "config"}
    stored = {name: part for name, part in parts.items() if name not in asking}
    return stored | {"ingest": parts["config"]["ingest"]}


def dependencies(system: str, memory: ParametricMemory) -> dict[str, Any]:
    """Return all that a system's answers depend on, besides the questions and the documents.

    Who only reads, asks no compiler and no router.
    """
    parts = parts_of(memory)
    if system in READING:
        unused = dict.fromkeys(("compiler", "token_router", "router"))
        parts |= {**unused, "config": {"ingest": parts["config"]["ingest"]}}
    return parts | {"of its own": depends_on(system, memory)}


def called(part: object) -> str:
    """Return what tells a part from others of its kind: its fields, or its name (or class) and its settings."""
    if is_dataclass(part):
        return repr(part)
    kind = type(part)
    name = str(getattr(part, "name", f"{kind.__module__}.{kind.__qualname__}"))
    config = getattr(part, "config", None)
    return name if config is None else f"{name}:{stable_id(repr(config))[:12]}"


def texts_of(things: Iterable[Question | CorpusDocument]) -> list[str]:
    """Return all of questions, or of documents, that an answer may depend on."""
    return [text for one in things for text in (_id(one), one.title, one.document)]


def signature(settings: Mapping[str, Any], *texts: str) -> str:
    """Return a hash of settings, which JSON can hold, and of texts."""
    return stable_id(json.dumps(settings, sort_keys=True), *texts)[:16]


def _id(one: Question | CorpusDocument) -> str:
    return one.id if isinstance(one, Question) else one.doc_id
