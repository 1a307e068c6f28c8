"""LlamaIndex's metadata filters on a memory: what its database can tell is asked of it, the rest of each node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from parametric_memory.types import Scalar


def exact(filters: MetadataFilters | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the part of some filters that is equality alone, as the memory's own filters.

    What they let through may be more than what the filters mean, never less: see `matches`.
    """
    if filters is None or isinstance(filters, Mapping):
        return dict(filters or {})
    if filters.condition == FilterCondition.NOT:
        return {}
    if filters.condition == FilterCondition.OR and len(filters.filters) > 1:
        return {}
    found: dict[str, Any] = {}
    for one in filters.filters:
        # Of two that exclude each other one is enough here: nothing passes both.
        found = {**_exact(one), **found}
    return found


def _exact(filter: MetadataFilter | MetadataFilters) -> dict[str, Any]:
    if isinstance(filter, MetadataFilters):
        return exact(filter)
    is_value = filter.operator == FilterOperator.EQ and isinstance(filter.value, Scalar)
    is_list = filter.operator == FilterOperator.IN and isinstance(filter.value, list)
    return {filter.key: filter.value} if is_value or is_list else {}


def matches(metadata: Mapping[str, Any], filters: MetadataFilters | Mapping[str, Any] | None) -> bool:
    """Whether metadata is what the filters mean. Equality of a mapping is the memory's, which was asked already.

    Raises:
        TypeError: If a filter compares what cannot be compared.
    """
    if filters is None or isinstance(filters, Mapping):
        return True
    found = (
        matches(metadata, one) if isinstance(one, MetadataFilters) else _holds(metadata, one) for one in filters.filters
    )
    if filters.condition == FilterCondition.OR:
        return any(found)
    if filters.condition == FilterCondition.NOT:
        return not any(found)
    return all(found)


_COMPARED: Mapping[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQ: lambda value, wanted: value == wanted,
    FilterOperator.NE: lambda value, wanted: value != wanted,
    FilterOperator.GT: lambda value, wanted: value > wanted,
    FilterOperator.GTE: lambda value, wanted: value >= wanted,
    FilterOperator.LT: lambda value, wanted: value < wanted,
    FilterOperator.LTE: lambda value, wanted: value <= wanted,
    FilterOperator.IN: lambda value, wanted: value in wanted,
    FilterOperator.NIN: lambda value, wanted: value not in wanted,
    FilterOperator.CONTAINS: lambda value, wanted: wanted in value,
    FilterOperator.ANY: lambda value, wanted: any(one in value for one in wanted),
    FilterOperator.ALL: lambda value, wanted: all(one in value for one in wanted),
    FilterOperator.TEXT_MATCH: lambda value, wanted: _text(wanted) in _text(value),
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda value, wanted: _text(wanted).lower() in _text(value).lower(),
}


def _holds(metadata: Mapping[str, Any], filter: MetadataFilter) -> bool:
    value = metadata.get(filter.key)
    if filter.operator == FilterOperator.IS_EMPTY:
        return value is None or value in ("", [])
    if value is None:  # as LlamaIndex has it: what is not there is not equal to anything
        return filter.operator in (FilterOperator.NE, FilterOperator.NIN)
    try:
        return _COMPARED[filter.operator](value, filter.value)
    except TypeError as error:
        raise TypeError(
            f"filtering by {filter.key!r} {filter.operator.value} {filter.value!r}: the value there is {value!r}, "
            f"which cannot be compared so ({error})"
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
