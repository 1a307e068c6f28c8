"""Whose memory is meant: filters that hold for everything that runs in a block, in this thread or task.

Chat models, retrievers, stores and tools of the integrations all narrow what they see by the scope they are called in.
Filters only ever narrow: what two of them disagree on is an error, never a wider search.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeAlias

from parametric_memory.types import SCOPE_KEYS, Scalar

Filters: TypeAlias = Mapping[str, Any]

_scope: ContextVar[Filters] = ContextVar("parametric_memory_scope", default=MappingProxyType({}))


@contextmanager
def memory_scope(
    *, user_id: str | None = None, agent_id: str | None = None, filters: Filters | None = None
) -> Iterator[None]:
    """Let everything inside the block see, and add to, one user's memory only.

    Args:
        user_id: Whose memory.
        agent_id: Which agent's.
        filters: Further metadata that atoms must have.

    Raises:
        ValueError: If nothing is given, or it contradicts the scope around the block.
    """
    given = {**(filters or {}), **scope_keys(user_id=user_id, agent_id=agent_id)}
    if not given:
        raise ValueError("opening a memory scope: give user_id=, agent_id= or filters=; an empty scope hides nothing")
    token = _scope.set(narrowed(_scope.get(), given))
    try:
        yield
    finally:
        _scope.reset(token)


def current_scope() -> dict[str, Any]:
    """Return the filters of the blocks around the caller."""
    return dict(_scope.get())


def scope_keys(**keys: str | None) -> dict[str, str]:
    """Return the keys that were given."""
    return {key: value for key, value in keys.items() if value is not None}


def owner_of(filters: Filters) -> dict[str, Any]:
    """Return the part of some filters that says whose something is, not what it is about."""
    return {key: value for key, value in filters.items() if key in SCOPE_KEYS}


def narrowed(*filters: Filters) -> dict[str, Any]:
    """Return filters that hold where all of these hold.

    Raises:
        ValueError: If no value of a key satisfies two of them.
    """
    merged: dict[str, Any] = {}
    for one in filters:
        for key, value in one.items():
            merged[key] = _both(key, merged[key], value) if key in merged else value
    return merged


def _both(key: str, one: Any, other: Any) -> Any:
    if one == other:
        return one
    # An empty list of values means nothing at all: it stays one.
    common = [value for value in _values(one) if value in _values(other)]
    if not common:
        raise ValueError(
            f"narrowing the memory: {key} must be {one!r} and {other!r} at once; a call cannot leave the scope it is in"
        )
    return common[0] if len(common) == 1 else common


def _values(value: Any) -> Collection[Scalar]:
    return [value] if isinstance(value, Scalar) else list(value)
