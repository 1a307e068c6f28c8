"""The sections of the benchmarks page: each takes the material and a folder for its pictures, and returns Markdown.

Empty text says that nothing of the section was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from parametric_memory.evaluation.bench.report import aims_table, part_section
from parametric_memory.evaluation.probes.findings import cell, columns
from parametric_memory.evaluation.report import plots
from parametric_memory.evaluation.report.curves import curves_by_length, curves_of, curves_of_recall, maps_of
from parametric_memory.evaluation.report.figures import PLAIN_RAG
from parametric_memory.evaluation.report.legend import legend
from parametric_memory.evaluation.report.markdown import about, notes
from parametric_memory.evaluation.report.published import published_section
from parametric_memory.evaluation.report.results import Results, portable
from parametric_memory.evaluation.report.tables import (
    against_table,
    between,
    length_table,
    main_table,
    number,
    ours,
    overall_table,
    ratios_table,
    recall_table,
    refusal_table,
    set_line,
    stated_table,
    table,
)
from parametric_memory.evaluation.report.verdict import verdict


@dataclass(frozen=True, slots=True)
class Material:
    """All that pages are made of: results, one per setting; what others measured; probes and benches by name."""

    runs: Sequence[Results]
    published: Mapping[str, Any] | None = None
    extras: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def probes(self) -> Mapping[str, Any]:
        """What probes found, by name."""
        return self.extras.get("probes", {})

    @property
    def bench(self) -> Mapping[str, Any]:
        """The parts of a bench, by name."""
        found: Mapping[str, Any] = self.extras.get("bench", {}).get("parts", {})
        return found

    def suffix(self, run: Results) -> str:
        """Return what tells pictures of several settings apart."""
        place = next(place for place, one in enumerate(self.runs) if one is run)
        same = [one for one in self.runs[:place] if one["settings"]["setting"] == run["settings"]["setting"]]
        return f"_{run['settings']['setting']}{len(same) or ''}" if place else ""


Section: TypeAlias = Callable[[Material, Path], str]


def short(results: Results) -> str:
    """Return the figures in brief: one table, and where it comes from."""
    datasets = results["datasets"]
    if len(datasets) > 1 and results.get("overall"):
        line = f"Means over {len(datasets)} sets ({', '.join(f'`{name}`' for name in datasets)}):"
        shown = overall_table(results["overall"])
    else:
        name, dataset = next(iter(datasets.items()))
        line, shown = set_line(name, dataset), main_table(dataset)
    brackets = "In brackets: 95 % intervals, bootstrapped over documents."
    return "\n\n".join([line, shown, f"{provenance(results)} {brackets}"])


def provenance(results: Results) -> str:
    """Return what made results, and what they hold for."""
    circumstances = results.get("circumstances", {})
    machine = circumstances.get("machine", {})
    told = [about(results["settings"]), f"`{results['settings'].get('dtype', '')}`".strip("`")]
    told += [f"{machine[key]} {key}" for key in ("cores", "threads") if machine.get(key)]
    told += [str(machine["device"])] if machine.get("device") else []
    commands = dict.fromkeys(circumstances.get("commands") or [circumstances.get("command")])
    made = ", ".join(f"`{portable(command)}`" for command in commands if command)
    return f"{f'Made by {made}. ' if made else ''}{', '.join(part for part in told if part)}."


def _per_run(make: Callable[[Results, Path, str], str]) -> Section:
    """Return a section with a part per setting, each under its name if there are several."""

    def section(material: Material, folder: Path) -> str:
        parts = []
        for run in material.runs:
            shown = make(run, folder, material.suffix(run))
            named = "Own document" if run["settings"]["setting"] == "own" else "Whole corpus"
            sets = ", ".join(f"`{name}`" for name in run["datasets"])
            if shown:
                parts.append(f"**{named}** ({sets})\n\n{shown}" if len(material.runs) > 1 else shown)
        return "\n\n".join(parts)

    return section


def _picture(path: Path, caption: str) -> str:
    return f"![{caption}]({path.name})"


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _folded(title: str, shown: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{shown}\n\n</details>" if shown else ""


# ---------------------------------------------------------------- of runs


def _figures(run: Results, folder: Path, suffix: str) -> str:
    datasets = run["datasets"]
    several = len(datasets) > 1 and run.get("overall")
    shown = overall_table(run["overall"]) if several else main_table(next(iter(datasets.values())))
    picture = plots.f1_by_set(datasets, folder / f"f1{suffix}.svg")
    line = f"Means over {len(datasets)} sets:" if several else set_line(*next(iter(datasets.items())))
    return _joined(line, shown, _picture(picture, "Token F1 of every system on every set, with 95 % intervals"))


def _sets(run: Results, _folder: Path, _suffix: str) -> str:
    parts = []
    for name, dataset in run["datasets"].items() if len(run["datasets"]) > 1 else ():
        parts += [set_line(name, dataset), main_table(dataset)]
    return _joined(*parts)


def _against(run: Results, folder: Path, suffix: str) -> str:
    datasets = {name: dataset for name, dataset in run["datasets"].items() if dataset.get("rag")}
    systems = ours(name for dataset in datasets.values() for name in dataset["systems"])
    if not systems:
        return ""
    path = plots.against_rag(datasets, systems, folder / f"against{suffix}.svg")
    picture = _picture(path, "Difference in token F1 from the better plain RAG arm of each set")
    tables = [_folded(f"Differences on {name}", against_table(one, systems)) for name, one in datasets.items()]
    return _joined(picture, *tables)


def _recall(run: Results, folder: Path, suffix: str) -> str:
    shown = recall_table(run["datasets"])
    if not shown:
        return ""
    path = plots.recall_by_k(curves_of_recall(run["datasets"]), folder / f"recall{suffix}.svg")
    caption = "Share of questions whose gold sentence lies whole in one of the first k places"
    return _joined(_picture(path, caption), shown)


def _refusal(run: Results, folder: Path, suffix: str) -> str:
    pictures = []
    for name, dataset in run["datasets"].items():
        known = any(found.get("refusal_curve") for found in dataset["systems"].values())
        if known and dataset["answerable"] < dataset["questions"]:
            path = plots.refusal(dataset, folder / f"refusal_{name}{suffix}.svg")
            caption = f"Refusing on {name}: a curve over thresholds of confidence, a ring where the system ran"
            pictures.append(_picture(path, caption))
    return _joined(*pictures, refusal_table(run["datasets"]), stated_table(run.get("stated", ())))


def _length(run: Results, folder: Path, suffix: str) -> str:
    unit, curves = curves_by_length(run["datasets"])
    shown = length_table(unit, curves)
    if not shown:
        return ""
    path = plots.curve_plot(curves, folder / f"length{suffix}.svg", x=f"length of the document, {unit}, at least")
    caption = "Token F1 by the length of the question's document, all sets together"
    note = "Long documents come from other sets than short ones: compare systems at one length, not lengths."
    return _joined(_picture(path, caption), note if len(run["datasets"]) > 1 else "", shown)


# ---------------------------------------------------------------- of probes and benches


def _stored(material: Material, folder: Path) -> str:
    found = material.probes.get("stored", {})
    curves = curves_of(found, x="atoms")
    if not curves:
        return ""
    path = plots.curve_plot(curves, folder / "stored.svg", x="atoms in the memory")
    return _joined(_picture(path, "Token F1 against the number of stored atoms"), _probe(found))


def _needles(material: Material, folder: Path) -> str:
    """Return needles in haystacks: which depth of which length each system finds them at."""
    found = material.probes.get("niah", {})
    maps = maps_of(found.get("rows", ()))
    if not maps:
        return ""
    path = plots.depth_maps(maps, folder / "needles.svg")
    return _joined(_picture(path, "Share of needles found, by length and depth"), _probe(found))


def _probes(material: Material, _folder: Path) -> str:
    """Return the tables of the probes that have no section of their own."""
    return _joined(
        *(
            f"**{name}**. {_probe(found)}"
            for name, found in material.probes.items()
            if name not in {"stored", "length", "niah"}
        )
    )


def _probe(found: Mapping[str, Any]) -> str:
    """Return what a probe did, and its table."""
    names = columns(found["rows"])
    rows = [[cell(row.get(name)) for name in names] for row in found["rows"]]
    return _joined(found.get("measured", ""), table(names, rows))


def _padded(material: Material, folder: Path) -> str:
    """Return the sweep over lengths: the same questions of documents that are padded."""
    found = material.probes.get("length", {})
    curves = curves_of(found, x="tokens")
    if not curves:
        return ""
    path = plots.curve_plot(curves, folder / "padded.svg", x="tokens of the padded document")
    return _joined(_picture(path, "Token F1 of the same questions of longer and longer documents"), _probe(found))


def _distillation(material: Material, folder: Path) -> str:
    found = material.extras.get("distillation", {})
    curves = curves_of(found, x="seconds_per_atom", name="distillation")
    if not curves:
        return ""
    path = plots.curve_plot(curves, folder / "distillation.svg", x="seconds per atom")
    picture = _picture(path, "Token F1 against the seconds of distilling an atom")
    head = ("arm", "seconds an atom", "token F1", "contains", "EM", "log-likelihood")
    return _joined(picture, table(head, [_arm(name, arm) for name, arm in found.items() if isinstance(arm, Mapping)]))


def _arm(name: str, arm: Mapping[str, Any]) -> list[str]:
    nll = arm.get("nll")
    cells = [number(arm.get("seconds_per_atom")), between(arm["f1"], arm.get("f1_interval"))]
    cells += [number(arm.get(measure)) for measure in ("containment", "em")]
    return [name, *cells, number(None if nll is None else -nll)]


def bytes_per_token(bench: Mapping[str, Any]) -> dict[str, float]:
    """Return bytes kept per source token, by system, from the part ``bytes`` of a bench.

    RAG keeps its chunks; a bench that did not measure them only bounds it (see `bounded`), by what the memory keeps but
    for the codes. Reading a document at once needs its KV cache, or its text to make it from: the cache is what is
    counted.
    """
    part = bench.get("bytes", {})
    per_token = part.get("per_token", {})
    if not per_token:
        return {}
    kept = {"atoms": per_token["total"], "hybrid": per_token["total"]}
    kept |= part.get("rag_per_token") or dict.fromkeys(PLAIN_RAG, per_token["total"] - per_token.get("codes", 0.0))
    cache = part.get("kv_cache_per_token")
    return kept | ({"in_context_document": cache} if cache else {})


def bounded(bench: Mapping[str, Any]) -> Sequence[str]:
    """Return the systems that keep at most what `bytes_per_token` says: RAG's, where a bench left out its chunks."""
    return () if bench.get("bytes", {}).get("rag_per_token") else PLAIN_RAG


def _bytes(material: Material, folder: Path) -> str:
    kept = bytes_per_token(material.bench)
    systems = _means(material.runs[0])
    points = {name: (size, systems[name]) for name, size in kept.items() if name in systems}
    if not points:
        return ""
    bounds = bounded(material.bench)
    path = plots.bytes_against_f1(points, folder / "bytes.svg", at_most=bounds)
    rows = [
        [f"`{name}`", f"{'at most ' if name in bounds else ''}{size:,.0f}", number(f1)]
        for name, (size, f1) in points.items()
    ]
    split = material.bench["bytes"]["per_token"]
    parts = ", ".join(f"{name} {number(size, digits=0)}" for name, size in split.items() if name != "total")
    rag = _BOUNDED if bounds else _MEASURED
    return _joined(
        _picture(path, "Token F1 against bytes kept per source token"),
        table(("system", "bytes per source token", "token F1"), rows),
        f"The memory's bytes per source token: {parts}. {rag} In-context: the KV cache of the text.",
        _made(material, "bytes"),
    )


#: What RAG's bytes are, with and without its chunks.
_MEASURED = "RAG: the text of its chunks and, for `rag_dense`, a vector each, no database around them."
_BOUNDED = "RAG, whose chunks were not measured: what the memory keeps, but for the codes."


def _means(run: Results) -> dict[str, float]:
    systems = (run.get("overall") or next(iter(run["datasets"].values())))["systems"]
    return {name: found["f1"] for name, found in systems.items()}


def _latency(material: Material, folder: Path) -> str:
    stages = material.bench.get("stages", {})
    systems = stages.get("systems", {})
    if not systems:
        return ""
    path = plots.latency(systems, folder / "latency.svg")
    names = list(dict.fromkeys(name for one in systems.values() for name in one["stages"]))
    rows = [
        [f"`{system}`", *(number(one["stages"].get(name, {}).get("p50"), digits=1) for name in names)]
        for system, one in systems.items()
    ]
    ratios = "; ".join(
        f"{name.replace('/', ' ÷ ')}: {number(found['p50'])}" for name, found in stages.get("ratios", {}).items()
    )
    told = f"Ratios of totals, median of pairs: {ratios}." if ratios else ""
    picture = _picture(path, "Milliseconds of an answer by stage")
    return _joined(picture, table(("ms, medians", *names), rows), told, _made(material, "stages"))


def _costs(material: Material, _folder: Path) -> str:
    """Return the aims of a bench, and its parts that have no section of their own."""
    shown = [f"**{title}**. {part_section(name, material.bench[name])}\n\n{_made(material, name)}"
             for name, title in _COSTS.items() if name in material.bench]  # fmt: skip
    return _joined(aims_table(material.extras.get("bench", {}).get("aims", ())), *shown)


def _made(material: Material, part: str) -> str:
    """Return what made a part of a bench, and whether its checkpoint is that of the tables of runs."""
    found = material.bench.get(part, {})
    if "command" not in found:
        return ""
    used = _checkpoint(found)
    named = "".join(f", {key.replace('_', ' ')} `{name}`" for key, name in used.items() if name)
    above = [_checkpoint(run["settings"]) for run in material.runs]
    other = ", of another checkpoint than the tables above" if named and used not in above else ""
    return f"Made by `{portable(found['command'])}`{named}{other}."


def _checkpoint(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells a checkpoint, in the settings of a run as in a part of a bench."""
    return {key: settings.get(key) for key in ("compiler", "token_router")}


def _published(material: Material, _folder: Path) -> str:
    if material.published is None:
        return ""
    kept = bytes_per_token(material.bench).get("atoms")
    return published_section(material.published, material.runs[0], bytes_per_token=kept)


def _legend(material: Material, _folder: Path) -> str:
    return legend(name for run in material.runs for dataset in run["datasets"].values() for name in dataset["systems"])


_COSTS = {"growth": "Growth", "memory": "Peak memory", "threads": "Threads", "imports": "Starting"}

#: How each section is made, by the name in its markers.
SECTIONS: Mapping[str, Section] = {
    "provenance": _per_run(lambda run, _folder, _suffix: provenance(run)),
    "figures": _per_run(_figures),
    "verdict": _per_run(lambda run, _folder, _suffix: verdict(run)),
    "sets": _per_run(_sets),
    "against": _per_run(_against),
    "ratios": _per_run(lambda run, _folder, _suffix: ratios_table(run["datasets"])),
    "recall": _per_run(_recall),
    "refusal": _per_run(_refusal),
    "length": _per_run(_length),
    "padded": _padded,
    "stored": _stored,
    "needles": _needles,
    "probes": _probes,
    "bytes": _bytes,
    "latency": _latency,
    "costs": _costs,
    "distillation": _distillation,
    "published": _published,
    "legend": _legend,
    "notes": lambda _material, _folder: notes(),
}
