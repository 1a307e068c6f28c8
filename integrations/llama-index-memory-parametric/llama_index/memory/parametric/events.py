"""What a memory does for an answer, as events of LlamaIndex's instrumentation: route, compose, generate.

They are told in the span of the call that they belong to, beside LlamaIndex's own events of queries and LLMs. One
`llama_index.core.instrumentation` handler on the root dispatcher sees all of them.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # as its docs have it
from llama_index.core.instrumentation.events import BaseEvent

from parametric_memory.conversation import Reply, Task

dispatcher = get_dispatcher(__name__)

_ROUTING = ("encode", "search", "route", "gate")
_COMPOSING = ("materialise", "compose")


class MemoryRouteEvent(BaseEvent):
    """A question was routed.

    Attributes:
        question: As it was looked up.
        mode: ``closed_book`` if nothing was looked up.
        abstained: Whether the memory holds nothing that answers.
        confidence: Compared with ``threshold``.
        threshold: Below it the memory abstains.
        atoms: The route: id, statement, kind, source, score, share.
        timings_ms: By stage.
    """

    question: str
    mode: str
    abstained: bool
    confidence: float
    threshold: float
    atoms: list[dict[str, Any]]
    timings_ms: dict[str, float]

    @classmethod
    def class_name(cls) -> str:
        """Return the name that serialised events carry."""
        return "MemoryRouteEvent"


class MemoryComposeEvent(BaseEvent):
    """The adapters of a route were made and composed.

    Attributes:
        atom_ids: Whose adapters.
        rank: Of the composed adapter, on each target.
        truncated: Relative error by target, where ranks were cut off.
        timings_ms: By stage.
    """

    atom_ids: list[str]
    rank: int
    truncated: dict[str, float]
    timings_ms: dict[str, float]

    @classmethod
    def class_name(cls) -> str:
        """Return the name that serialised events carry."""
        return "MemoryComposeEvent"


class MemoryGenerateEvent(BaseEvent):
    """The base model has spoken, with the adapter injected; not told where the memory abstains in its own words.

    Attributes:
        model: The base model.
        prompt_tokens: That it read.
        completion_tokens: That it wrote.
        knowledge_tokens: Of these that it read, from the memory's documents: 0 when they are in weights.
        finish_reason: ``stop``, ``length`` or ``tool_calls``.
        milliseconds: Until the last token.
    """

    model: str
    prompt_tokens: int
    completion_tokens: int
    knowledge_tokens: int
    finish_reason: str
    milliseconds: float

    @classmethod
    def class_name(cls) -> str:
        """Return the name that serialised events carry."""
        return "MemoryGenerateEvent"


def tell_prepared(task: Task) -> None:
    """Tell how a question was routed, and what was composed of the route."""
    record = task.answer.record()
    timings = record["timings_ms"]
    facts = {key: record[key] for key in ("mode", "abstained", "confidence", "threshold", "atoms")}
    question = task.answer.route.query
    dispatcher.event(MemoryRouteEvent(question=question, **facts, timings_ms=_stages(timings, _ROUTING)))
    adapter = task.adapter
    if adapter is not None:
        dispatcher.event(
            MemoryComposeEvent(
                atom_ids=list(adapter.atom_ids),
                rank=max((factors.rank for factors in adapter.factors.values()), default=0),
                truncated=dict(adapter.truncated),
                timings_ms=_stages(timings, _COMPOSING),
            )
        )


def tell_generated(reply: Reply, *, model: str) -> None:
    """Tell what the base model read and wrote."""
    usage, timings = reply.answer.usage, reply.answer.timings
    if "generate" not in timings:
        return
    dispatcher.event(
        MemoryGenerateEvent(
            model=model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            knowledge_tokens=usage.knowledge_tokens,
            finish_reason=reply.finish_reason,
            milliseconds=timings["generate"],
        )
    )


def _stages(timings: dict[str, float], names: tuple[str, ...]) -> dict[str, float]:
    return {name: timings[name] for name in names if name in timings}
