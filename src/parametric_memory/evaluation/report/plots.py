"""Figures as pictures: SVG or PNG, as the file is called, for light and for dark pages alike.

The background is transparent and everything that is not data is a middle grey; every system has its colour and marker
from the legend, and its name stands beside what it did. The same figures give the same file, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parametric_memory.errors import MissingDependencyError
from parametric_memory.evaluation.metrics import KS
from parametric_memory.evaluation.report.curves import Curve, DepthMap
from parametric_memory.evaluation.report.legend import entry, in_order, is_rag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Datasets = Mapping[str, Mapping[str, Any]]

INK = "#7d7d7d"
_STYLE: dict[Any, Any] = {
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "savefig.transparent": True,
    "font.size": 9, "font.family": "DejaVu Sans", "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.titlecolor": INK, "axes.titlesize": 9.5, "axes.titleweight": "bold",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": INK, "grid.alpha": 0.22,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.5, "lines.markersize": 5,
    "svg.fonttype": "none", "svg.hashsalt": "parametric-memory", "figure.dpi": 100, "savefig.dpi": 160,
}  # fmt: skip
#: Colours of the stages of an answer, the longest first.
_STAGES = ("#3f8ed6", "#d87f00", "#0f9d72", "#c0569f", "#a08a00", "#8a72d8", "#c4574a", "#2aa5a5", "#7d6a5a")
_MAX_COLUMNS = 4


# ---------------------------------------------------------------- pictures


def f1_by_set(datasets: Datasets, path: Path) -> Path:
    """Draw the token F1 of every system with its interval, a panel per set."""
    names = in_order(name for dataset in datasets.values() for name in dataset["systems"])
    columns = min(_MAX_COLUMNS, len(datasets))
    lines = -(-len(datasets) // columns)
    size = (1.8 + 2.1 * columns, lines * (0.75 + 0.2 * len(names)))
    found = [_estimate(one) for dataset in datasets.values() for one in dataset["systems"].values()]
    highest = max([0.01, *(max(f1, *(ends or (f1,))) for f1, ends in filter(None, found))])
    with _figure(path, size, rows=lines, columns=columns, sharey=True, sharex=True) as (_, panels):
        for panel, (title, dataset) in zip(panels, datasets.items(), strict=False):
            panel.set_title(title)
            _dots(panel, {name: _estimate(dataset["systems"].get(name)) for name in names})
            # Said, not found: panels share the axis, and the first one would settle it for all.
            panel.set_xlim(0, 1.05 * highest)
        for panel in panels[len(datasets) :]:
            panel.set_visible(False)
        for panel in panels[max(0, len(datasets) - columns) : len(datasets)]:
            panel.set_xlabel("token F1")
            panel.tick_params(labelbottom=True)
    return path


def against_rag(datasets: Datasets, systems: Sequence[str], path: Path) -> Path:
    """Draw the paired difference in F1 of systems from the better plain RAG arm of each set, with its interval."""
    pairs = [(name, data["rag"]) for name, data in datasets.items() if data.get("rag")]
    size = (7.2, 0.9 + 0.24 * len(pairs) * len(systems))
    with _figure(path, size) as (_, (panel,)):
        panel.axvline(0, color=INK, linewidth=1)
        for place, (name, rag) in enumerate(pairs):
            for step, system in enumerate(systems):
                found = datasets[name]["systems"].get(system, {}).get("against", {}).get(rag, {}).get("f1")
                if found:
                    y = place + 0.26 * (step - (len(systems) - 1) / 2)
                    _dot(panel, system, found["mean"], found["interval"], y)
                    _beside(panel, system, (found["interval"] or [0, found["mean"]])[1], y)
        panel.set_yticks(range(len(pairs)), [f"{name}\n− {rag}" for name, rag in pairs])
        panel.set_ylim(len(pairs) - 0.5, -0.5)
        panel.set_xlabel("difference in token F1 from the better plain RAG arm (right of 0: better than RAG)")
        panel.margins(x=0.18)
    return path


def recall_by_k(lines: Mapping[str, Curve], path: Path) -> Path:
    """Draw how often the gold sentence is among the first k places, a line per system that retrieves."""
    with _figure(path, (5.6, 3.4)) as (_, (panel,)):
        _lines(panel, lines, log=True)
        panel.set_xticks(KS, [str(k) for k in KS])
        panel.minorticks_off()
        panel.set_xlabel("places looked at, k")
        panel.set_ylabel("recall@k")
        _name_ends(panel, lines)
    return path


def refusal(dataset: Mapping[str, Any], path: Path) -> Path:
    """Draw what other thresholds would do: to precision and recall of refusing, to the share and F1 of the answered.

    A ring marks the threshold that the system ran with.
    """
    curves = {name: found for name, found in _systems(dataset) if found.get("refusal_curve")}
    with _figure(path, (9.2, 3.6), columns=2) as (_, (left, right)):
        pairs, kept = {}, {}
        for name, found in curves.items():
            points = found["refusal_curve"]["points"]
            known = [point for point in points if point["precision"] is not None and point["recall"] is not None]
            pairs[name] = Curve([one["recall"] for one in known], [one["precision"] for one in known])
            known = [one for one in points if one["answered_f1"] is not None and one["answered"] > 0.05]
            kept[name] = Curve([one["answered"] for one in known], [one["answered_f1"] for one in known])
            ran = found["refusal"]
            if ran["precision"] is not None:
                colour = entry(name).colour
                left.plot(
                    [ran["recall"]], [ran["precision"]], marker="o", markersize=11, markerfacecolor="none", color=colour
                )
        _lines(left, pairs, markers=False)
        _lines(right, kept, markers=False)
        left.set(xlabel="recall of refusing", ylabel="precision of refusing", xlim=(0, 1.02), ylim=(0, 1.02))
        right.set(xlabel="share of questions answered", ylabel="token F1 of the answered", ylim=(0, None))
        _name_ends(left, pairs)
        _name_ends(right, kept)
    return path


def curve_plot(curves: Mapping[str, Curve], path: Path, *, x: str, log: bool = True) -> Path:
    """Draw F1 against something: lines of systems from text on the left, of those from weights on the right.

    Args:
        curves: By system.
        path: Of the picture.
        x: What it is drawn against.
        log: Whether its axis is logarithmic.
    """
    sides = [{name: curves[name] for name in in_order(curves) if _reads(name) is side} for side in (True, False)]
    sides = [side for side in sides if side]
    with _figure(path, (1 + 4.6 * len(sides), 3.6), columns=len(sides), sharey=True) as (_, panels):
        for panel, side in zip(panels, sides, strict=True):
            _lines(panel, side, log=log)
            _ticks(panel, curves)
            panel.set_xlabel(x)
            panel.set_ylim(0, 1.08 * _highest(curves))
            _name_ends(panel, side)
            if len(sides) > 1:
                panel.set_title("text in the prompt, or nothing" if _reads(next(iter(side))) else "weights")
        panels[0].set_ylabel("token F1")
    return path


def depth_maps(maps: Mapping[str, DepthMap], path: Path) -> Path:
    """Draw the share of needles that were found by length and depth, a panel per system; what did not fit is blank."""
    names = in_order(maps)
    cells = [cell for found in maps.values() for cell in found]
    lengths, depths = sorted({tokens for tokens, _ in cells}), sorted({depth for _, depth in cells})
    size = (1.0 + (0.7 + 0.5 * len(lengths)) * max(1, len(names)), 3.2)
    with _figure(path, size, columns=max(1, len(names)), sharey=True) as (figure, panels):
        for panel, name in zip(panels, names, strict=False):
            shares = [[maps[name].get((tokens, depth), math.nan) for tokens in lengths] for depth in depths]
            image = panel.imshow(shares, aspect="auto", cmap="cividis", vmin=0.0, vmax=1.0)
            panel.set_title(name)
            panel.grid(visible=False)
            panel.set_xticks(range(len(lengths)), [_short(tokens) for tokens in lengths], rotation=45)
            panel.set_yticks(range(len(depths)), [f"{depth:.0%}" for depth in depths])
            panel.set_xlabel("tokens")
        panels[0].set_ylabel("depth of the needle")
        if names:
            figure.colorbar(image, ax=panels, label="share found")
    return path


def bytes_against_f1(points: Mapping[str, tuple[float, float]], path: Path, *, at_most: Collection[str] = ()) -> Path:
    """Draw systems by the bytes that they keep per source token, and by their F1; of some, the bytes are a bound."""
    with _figure(path, (6.4, 3.4)) as (_, (panel,)):
        for name, (size, f1) in points.items():
            panel.plot([size], [f1], marker=entry(name).marker, color=entry(name).colour, markersize=8)
            label = f"{name} (at most)" if name in at_most else name
            panel.annotate(label, (size, f1), (7, 5), textcoords="offset points", color=entry(name).colour)
        panel.set_xscale("log")
        panel.set(xlabel="bytes kept per source token", ylabel="token F1", ylim=(0, None))
        panel.margins(x=0.25, y=0.25)
        panel.set_ylim(bottom=0)
    return path


def latency(systems: Mapping[str, Any], path: Path) -> Path:
    """Draw where the time of an answer goes: a bar per system, stacked from the medians of its stages.

    Each of the longest stages has a colour of its own; what is too short to be seen is one piece, "the rest".
    """
    medians = {name: {stage: ms["p50"] for stage, ms in one["stages"].items()} for name, one in systems.items()}
    stages = list(dict.fromkeys(stage for one in medians.values() for stage in one if stage != "total"))
    longest = sorted(stages, key=lambda stage: -max(one.get(stage, 0.0) for one in medians.values()))[: len(_STAGES)]
    shown = [stage for stage in stages if stage in longest]
    with _figure(path, (8.4, 1.5 + 0.42 * len(systems))) as (_, (panel,)):
        ends = dict.fromkeys(systems, 0.0)
        for stage in [*shown, "the rest"]:
            widths = [_piece(one, stage, shown) for one in medians.values()]
            colour = _STAGES[longest.index(stage)] if stage in longest else "0.6"
            panel.barh(list(systems), widths, left=list(ends.values()), label=stage, color=colour, height=0.62)
            ends = {name: end + width for (name, end), width in zip(ends.items(), widths, strict=True)}
        for row, end in enumerate(ends.values()):
            panel.text(end, row, f"  {end:,.0f} ms", va="center")
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.margins(x=0.12)
        panel.set_xlabel("ms, medians by stage")
        panel.legend(ncols=6, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=8)
    return path


def _piece(medians: Mapping[str, float], stage: str, shown: Sequence[str]) -> float:
    """Return a stage's milliseconds; of "the rest", those of all stages that are not shown."""
    if stage in shown:
        return medians.get(stage, 0.0)
    return sum(ms for other, ms in medians.items() if other not in shown and other != "total")


# ---------------------------------------------------------------- parts of pictures


@contextmanager
def _figure(
    path: Path, size: tuple[float, float], *, rows: int = 1, columns: int = 1, **shared: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure and its panels, and save it at the end; no screen is needed, no setting of matplotlib outlives it.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", extra="eval", purpose=f"drawing {path.name}") from error
    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, squeeze=False, **shared)
        yield figure, list(panels.flat)
        # Without a date and a version, the same figures make the same file.
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})


def _systems(dataset: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, dataset["systems"][name]) for name in in_order(dataset["systems"])]


def _reads(name: str) -> bool:
    """Return whether a system answers from its prompt."""
    return is_rag(name) or entry(name).family in {"nothing", "text"}


def _estimate(found: Mapping[str, Any] | None) -> tuple[float, Sequence[float] | None] | None:
    return (found["f1"], found.get("intervals", {}).get("f1")) if found else None


def _dots(panel: Axes, estimates: Mapping[str, tuple[float, Sequence[float] | None] | None]) -> None:
    for row, (name, found) in enumerate(estimates.items()):
        if found:
            _dot(panel, name, *found, row)
    panel.set_yticks(range(len(estimates)), list(estimates))
    panel.set_ylim(len(estimates) - 0.5, -0.5)
    for label, name in zip(panel.get_yticklabels(), estimates, strict=False):
        label.set_color(entry(name).colour)


def _dot(panel: Axes, name: str, value: float, ends: Sequence[float] | None, y: float) -> None:
    shown = entry(name)
    if ends:
        panel.plot(ends, [y, y], color=shown.colour, linewidth=2, alpha=0.75, solid_capstyle="round")
    panel.plot([value], [y], marker=shown.marker, color=shown.colour, linestyle="none", markersize=6)


def _beside(panel: Axes, name: str, x: float, y: float) -> None:
    panel.annotate(name, (x, y), (5, 0), textcoords="offset points", va="center", color=entry(name).colour, fontsize=8)


def _lines(panel: Axes, curves: Mapping[str, Curve], *, log: bool = False, markers: bool = True) -> None:
    """Draw curves with their names at their right ends, moved apart where they would overlap."""
    if log:
        panel.set_xscale("log")
    for name, curve in curves.items():
        shown = entry(name)
        marker = shown.marker if markers else ""
        panel.plot(curve.x, curve.y, color=shown.colour, marker=marker, linestyle=_DASHES.get(shown.marker, "-"))
        known = [ends for ends in curve.intervals if ends]
        if known and len(known) == len(curve.x):
            low, high = zip(*known, strict=True)
            panel.fill_between(curve.x, low, high, color=shown.colour, alpha=0.1, linewidth=0)


def _name_ends(panel: Axes, curves: Mapping[str, Curve]) -> None:
    """Write the name of every curve beside its right end, moved apart where they would overlap; limits are final."""
    drawn = {name: curve for name, curve in curves.items() if curve.x}
    ends = {name: max(zip(curve.x, curve.y, strict=True)) for name, curve in drawn.items()}
    low, high = panel.get_ylim()
    places = apart([y for _, y in ends.values()], gap=(high - low) * 0.062, within=(low, high))
    for (name, end), place in zip(ends.items(), places, strict=True):
        colour = entry(name).colour
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6, "relpos": (0, 0.5)}
        panel.annotate(
            name, end, (1.04, place), textcoords=panel.get_yaxis_transform(), va="center", color=colour, fontsize=8,
            annotation_clip=False, arrowprops=leader,
        )  # fmt: skip


#: Systems of one family share a colour; their markers and their lines tell them apart.
_DASHES: dict[str, Any] = {"s": (0, (5, 1.5)), "^": (0, (1.5, 1.5)), "D": (0, (5, 1.5, 1, 1.5)), "X": ":", "P": "-."}


def _highest(curves: Mapping[str, Curve]) -> float:
    """Return the highest value or end of an interval, a little more than nothing if all are 0."""
    ends = (pair[1] for curve in curves.values() for pair in curve.intervals if pair)
    return max([*(y for curve in curves.values() for y in curve.y), *ends, 0.01])


def _ticks(panel: Axes, curves: Mapping[str, Curve]) -> None:
    """Mark where points lie, if these are few: powers of ten say little of buckets that double."""
    places = sorted({x for curve in curves.values() for x in curve.x})
    if 1 < len(places) <= 8:
        panel.set_xticks(places, [_short(x) for x in places])
        panel.minorticks_off()


def _short(x: float) -> str:
    return f"{x / 1000:.3g}k" if x >= 10_000 else f"{x:,.4g}" if x < 1000 else f"{x:,.0f}"


def apart(values: Sequence[float], *, gap: float, within: tuple[float, float] = (-math.inf, math.inf)) -> list[float]:
    """Return values moved as little as it takes for any two to be ``gap`` apart, in the same order.

    Neighbours that are too near become a block around their mean; blocks that then touch are joined. A block stays
    ``within``, as far as there is room for it.
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    blocks: list[tuple[float, list[int]]] = []
    for place in order:
        blocks.append((_inside(values[place], 1, gap, within), [place]))
        while len(blocks) > 1 and _too_near(blocks[-2], blocks[-1], gap):
            joined = [*blocks[-2][1], *blocks[-1][1]]
            centre = sum(values[member] for member in joined) / len(joined)
            blocks[-2:] = [(_inside(centre, len(joined), gap, within), joined)]
    moved = list(values)
    for centre, members in blocks:
        for step, place in enumerate(members):
            moved[place] = centre + gap * (step - (len(members) - 1) / 2)
    return moved


def _inside(centre: float, members: int, gap: float, within: tuple[float, float]) -> float:
    half = gap * (members - 1) / 2
    return max(within[0] + half, min(centre, within[1] - half))


def _too_near(one: tuple[float, list[int]], other: tuple[float, list[int]], gap: float) -> bool:
    room = gap * (len(one[1]) + len(other[1])) / 2
    # A little slack, so that blocks that just fit are not joined for their last digit.
    return other[0] - one[0] < room * (1 - 1e-9)
