"""Two pictures of a bench: where the time of an answer goes, and what growing does to search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parametric_memory.errors import MissingDependencyError


def draw(parts: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``latency.png`` and ``growth.png`` of the parts that were measured; return what was written.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    made = []
    if "stages" in parts:
        made.append(_latency(parts["stages"], folder / "latency.png"))
    if "growth" in parts:
        made.append(_growth(parts["growth"], folder / "growth.png"))
    return made


def _latency(stages: Mapping[str, Any], path: Path) -> Path:
    """Draw one bar a system, stacked from the medians of its stages."""
    figure, axes = _axes()
    from matplotlib import colormaps

    # More stages than the usual ten colours.
    colours = colormaps["tab20"]
    systems = stages["systems"]
    names = dict.fromkeys(name for system in systems.values() for name in system["stages"] if name != "total")
    base = dict.fromkeys(systems, 0.0)
    for number, name in enumerate(names):
        heights = [system["stages"].get(name, {"p50": 0.0})["p50"] for system in systems.values()]
        axes.bar(list(systems), heights, bottom=list(base.values()), label=name, width=0.6, color=colours(number))
        base = {system: low + high for (system, low), high in zip(base.items(), heights, strict=True)}
    axes.set_ylabel(f"ms for {stages['tokens']} tokens, medians by stage")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return _saved(figure, path)


def _growth(growth: Mapping[str, Any], path: Path) -> Path:
    """Draw search, route and load against the number of atoms, one line a key index, and search by key alone dashed."""
    figure, axes = _axes()
    for index in dict.fromkeys(row["index"] for row in growth["rows"]):
        rows = [row for row in growth["rows"] if row["index"] == index]
        atoms = [row["atoms"] for row in rows]
        [line] = axes.plot(atoms, [row["stages"]["total"]["p50"] for row in rows], marker="o", label=index)
        alone = [row["dense_search"]["p50"] for row in rows]
        axes.plot(atoms, alone, "--", marker=".", color=line.get_color(), label=f"{index}, by key alone")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("atoms")
    axes.set_ylabel("ms for search + route + load, median")
    axes.legend(frameon=False)
    return _saved(figure, path)


def _axes() -> tuple[Any, Any]:
    """Return a figure that needs no screen, and its axes."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", extra="eval", purpose="drawing the plots of a bench") from error
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _saved(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=150)
    return path
