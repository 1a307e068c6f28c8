"""F1 of systems against something else: the length of documents, stored atoms, seconds; from figures or from JSON.

A file has points in ``rows``, as probes write them, or one point an arm, as ``{"distillation, 20 steps": {"f1": .3,
"seconds_per_atom": 4}}``: what stands before the comma is the system.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, TypeAlias

#: A share by (length in tokens, depth from 0 to 1).
DepthMap: TypeAlias = Mapping[tuple[int, float], float]


@dataclass(slots=True)
class Curve:
    """Points of one system in the order of ``x``; ``intervals`` has one a point, None where it is not known."""

    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    intervals: list[Sequence[float] | None] = field(default_factory=list)

    def at(self, x: float) -> float | None:
        """Return the value at a point; None if the curve has no point there."""
        return dict(zip(self.x, self.y, strict=True)).get(x)


def curves_of(content: Mapping[str, Any], *, x: str, name: str = "atoms") -> dict[str, Curve]:
    """Return the curves by system of a file; points that do not say where they lie are left out.

    Args:
        content: What was read from the file.
        x: The key under which a point says where it lies.
        name: Of the system, for points that do not say it.
    """
    found: dict[str, list[tuple[float, float, Sequence[float] | None]]] = {}
    for named, point in _points(content):
        f1 = _first(point, "f1", "F1")
        if point.get(x) is not None and f1 is not None:
            system = _first(point, "system", "arm") or named or name
            found.setdefault(system, []).append((float(point[x]), f1, _first(point, "interval", "f1_interval", "95 %")))
    return {system: _curve(points) for system, points in found.items()}


def maps_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, DepthMap]:
    """Return, by system, the share of needles that were found, by length in tokens and depth.

    Args:
        rows: Of the probe ``niah``: one a system and length, with a share ``at 11%`` for each depth, None where nothing
            could be asked.
    """
    found: dict[str, dict[tuple[int, float], float]] = {}
    for row in rows:
        shares = {name: share for name, share in row.items() if name.startswith("at ") and share is not None}
        cells = {(int(row["tokens"]), float(name[3:-1]) / 100): float(share) for name, share in shares.items()}
        found.setdefault(str(row["arm"]), {}).update(cells)
    return {system: cells for system, cells in found.items() if cells}


def curves_by_length(datasets: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Curve]]:
    """Return the unit of lengths, and F1 by system and by where the bucket begins: over the questions of all sets.

    All lengths are of the unit that the first set has; the curves are empty if no set knows how long its documents are.
    """
    found: dict[str, dict[float, list[tuple[float, int]]]] = {}
    unit = ""
    for dataset in datasets.values():
        for name, system in dataset["systems"].items():
            by_length = system.get("by_length")
            if by_length and by_length["unit"] == (unit or by_length["unit"]):
                unit = by_length["unit"]
                for bucket in by_length["buckets"]:
                    found.setdefault(name, {}).setdefault(bucket["from"], []).append((bucket["f1"], bucket["n"]))
    first = min((start for buckets in found.values() for start in buckets if start), default=2)
    return unit, {
        # The first bucket begins at 0, which has no place on a logarithmic axis.
        name: _curve([(start or first / 2, _weighted(points), None) for start, points in buckets.items()])
        for name, buckets in found.items()
    }


def curves_of_recall(datasets: Mapping[str, Mapping[str, Any]]) -> dict[str, Curve]:
    """Return recall against k by system: means over the sets in which the system retrieves."""
    found: dict[str, dict[float, list[float]]] = {}
    for dataset in datasets.values():
        for name, system in dataset["systems"].items():
            for k, one in (system.get("recall_at") or {}).items():
                found.setdefault(name, {}).setdefault(float(k), []).append(one["value"])
    return {name: _curve([(k, fmean(values), None) for k, values in by_k.items()]) for name, by_k in found.items()}


def _points(content: Mapping[str, Any]) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Yield points, with the system's name where the file names it beside the point and not in it."""
    if "rows" in content:
        yield from ((None, point) for point in content["rows"])
        return
    for arm, point in content.items():
        if isinstance(point, Mapping):
            yield arm.partition(",")[0], point


def _first(point: Mapping[str, Any], *keys: str) -> Any:
    return next((point[key] for key in keys if point.get(key) is not None), None)


def _weighted(points: Sequence[tuple[float, int]]) -> float:
    return sum(f1 * n for f1, n in points) / sum(n for _, n in points)


def _curve(points: Sequence[tuple[float, float, Sequence[float] | None]]) -> Curve:
    ordered = sorted(points, key=lambda point: point[0])
    return Curve([x for x, *_ in ordered], [y for _, y, _ in ordered], [ends for *_, ends in ordered])
