"""Figures of a bench to a page that people read, and to a list of aims. Nothing on the page is not in the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Figures: TypeAlias = Mapping[str, Any]


def aims(parts: Figures) -> list[dict[str, Any]]:
    """Return, of what was measured, every figure that there is an aim for: value, aim, and whether it is met."""
    found: list[tuple[str, float | None, float]] = []
    if stages := parts.get("stages"):
        found += [
            ("compile ÷ one forward pass over the text", stages["add"]["ratios"]["compile/forward"]["p50"], 1.3),
            ("ask ÷ RAG with 4 sentences", stages["ratios"]["ask/rag"]["p50"], 0.5),
            ("ask ÷ RAG with 4 passages", stages["ratios"]["ask/rag_passages"]["p50"], 0.5),
            ("ask ÷ plain base", stages["ratios"]["ask/plain"]["p50"], 1.15),
        ]
    if footprint := parts.get("bytes"):
        name = "bytes on disk per source token, beyond an empty memory"
        found.append((name, footprint["per_token"]["beyond_empty"], 400.0))
    for row in parts.get("growth", {}).get("rows", ()):
        if row["size"] >= 100_000:
            name = f"search + route + load at {row['size']:,} atoms ÷ the smallest store, {row['index']}"
            found.append((name, row["ratio"]["p50"], 1.5))
    if memory := parts.get("memory"):
        extra = memory["extra_bytes"]
        name = "extra MB for 128,000 tokens of knowledge, two single runs"
        found.append((name, None if extra is None else extra / 1e6, 50.0))
    if imports := parts.get("imports"):
        found += [
            ("import, seconds", imports["seconds"]["import over python"]["p50"], 0.15),
            ("pmem --help, seconds", imports["seconds"]["help"]["p50"], 0.4),
        ]
    return [
        {"measure": name, "value": value, "aim": aim, "met": value <= aim}
        for name, value, aim in found
        if value is not None
    ]


def render(results: Figures) -> str:
    """Return the page."""
    lines = ["# What it costs", "", "Compare figures of one part only: each was measured in one run.", ""]
    if results["aims"]:
        lines += [aims_table(results["aims"]), ""]
    for name, section in _SECTIONS.items():
        if name in results["parts"]:
            part = results["parts"][name]
            lines += [f"## {_TITLES[name]}", "", *section(part), *_circumstances(part)]
    return "\n".join(lines)


def aims_table(found: Sequence[Figures]) -> str:
    """Return the figures that there is an aim for, as a table; empty if there are none."""
    rows = map(_aim_row, found)
    return "\n".join(_table(("measure", "value", "aim", "met"), rows)).strip() if found else ""


def _aim_row(one: Figures) -> tuple[str, ...]:
    value, aim, met = _number(one["value"]), f"≤ {one['aim']:g}", ("no", "yes")[one["met"]]
    # Nothing costs less than nothing: what is measured is noise, and meets no aim.
    noise = one["value"] < 0
    return (one["measure"], f"not measurable ({value})" if noise else value, aim, "–" if noise else met)


def part_section(name: str, part: Figures) -> str:
    """Return what one part of a bench found, without its circumstances."""
    return "\n".join(_SECTIONS[name](part)).strip()


# ---------------------------------------------------------------- the parts


def _stages(part: Figures) -> list[str]:
    adding, systems = part["add"], part["systems"]
    names = list(dict.fromkeys(name for system in systems.values() for name in system["stages"]))
    names = [name for name in names if name != "total"] + ["total"]
    rows = [(name, *(_pair(system["stages"].get(name)) for system in systems.values())) for name in names]
    rows.append(("prompt tokens", *(f"{system['prompt_tokens']:.0f}" for system in systems.values())))
    ratios = {**part["ratios"], **adding["ratios"]}
    added = [
        (name, _pair(found), _number(adding["ms_per_token"].get(name))) for name, found in adding["stages"].items()
    ]
    added.append(("one forward pass", _pair(adding["forward"]), _number(adding["ms_per_token"]["forward"])))
    return [
        (
            f"{part['questions']} questions, {part['repeats']} times each, systems in turn; {part['tokens']} tokens an "
            "answer. Milliseconds, p50 / p95."
        ),
        "",
        *_table(("stage", *systems), rows),
        f"Adding {adding['documents']} documents of {adding['source_tokens']:,} tokens:",
        "",
        *_table(("stage", "ms a document, p50 / p95", "ms a token"), added),
        "Ratios of pairs that were measured side by side:",
        "",
        *_table(
            ("ratio", "median", "quartiles"),
            [(name, _number(r["p50"]), f"{_number(r['p25'])}–{_number(r['p75'])}") for name, r in ratios.items()],
        ),
    ]


def _bytes(part: Figures) -> list[str]:
    rows = [(name, _number(size)) for name, size in part["per_token"].items()]
    rows += [
        ("KV cache of the text, dtype as run", _number(part["kv_cache_per_token"])),
        ("KV cache of the text, 16 bit", _number(part["kv_cache_per_token_16_bit"])),
        ("Doc-to-LoRA, gemma-2-2b", _number(part["doc_to_lora_per_token"])),
        *((f"chunks of {arm}, no database", _number(size)) for arm, size in part.get("rag_per_token", {}).items()),
    ]
    tables = [(name, _number(size)) for name, size in part["tables_per_token"].items() if size >= 1.0]
    return [
        (
            f"{part['documents']} documents, {part['atoms']} atoms, {part['source_tokens']:,} source tokens, "
            f"{part['index_kind']} index."
        ),
        "",
        *_table(("on disk", "bytes per source token"), rows),
        *(
            ["The database by table and index:", "", *_table(("table", "bytes per source token"), tables)]
            if tables
            else []
        ),
    ]


def _memory(part: Figures) -> list[str]:
    rows = [
        (name, _mb(work["opened_bytes"]), _mb(work["peak_bytes"]), _mb(work["device_peak_bytes"]))
        for name, work in part["work"].items()
    ]
    return [
        "MB, every kind of work in a process of its own; “much” is 128,000 tokens of knowledge.",
        "",
        *_table(("work", "models loaded", "peak", "peak on the GPU"), rows),
        (
            f"128,000 tokens of knowledge add {_extra(part['extra_bytes'])} to asking, the difference of two single "
            f"runs; their KV cache takes {_mb(part['kv_cache_bytes'])} MB."
        ),
        "",
    ]


def _extra(size: int | None) -> str:
    return f"nothing measurable ({_mb(size)} MB)" if size is not None and size < 0 else f"{_mb(size)} MB"


def _growth(part: Figures) -> list[str]:
    rows = [
        (
            row["index"],
            f"{row['atoms']:,}",
            *(_pair(row["stages"][name]) for name in ("search", "route", "load", "materialise", "total")),
            _pair(row["dense_search"]),
            _number(row["ratio"]["p50"]),
            _number(row["dense_ratio"]["p50"]),
        )
        for row in part["rows"]
    ]
    weights = [
        (
            row["index"],
            f"{row['atoms']:,}",
            _pair(row["add_one"]),
            _number(row["add_one_ratio"]["p50"]),
            _number(row["ready_seconds"]),
            _mb(row["index_resident_bytes"]),
            _mb(row["bytes"]["database"] + row["bytes"]["index"]),
            _number(row["bytes_per_token"]),
        )
        for row in part["rows"]
    ]
    return [
        (f"Synthetic atoms of {part['tokens_per_atom']:.0f} tokens, {part['atoms_per_document']} a document. "
        "Milliseconds, p50 / p95; “÷ smallest” is the median ratio to the smallest store, asked in turns."),
        "",
        *_table(
            ("index", "atoms", "search", "route", "load", "materialise", "total", "search by key alone", "÷ smallest",
             "by key alone ÷ smallest"),
            rows,
        ),
        *_table(
            ("index", "atoms", "add one, ms", "÷ smallest", "first search, s", "index in memory, MB", "on disk, MB",
             "bytes per token"),
            weights,
        ),
    ]  # fmt: skip


def _threads(part: Figures) -> list[str]:
    first = next(iter(part["speedup"]))
    divisor = "one thread" if first == "1" else f"{first} threads"
    rows = [
        (
            count,
            _number(found["p50"]),
            f"{_number(found['p25'])}–{_number(found['p75'])}",
            _number(part["speedup"][count]["p50"]),
        )
        for count, found in part["asks_per_second"].items()
    ]
    return [
        (
            f"{part['questions']} questions, {part['rounds']} rounds, {part['torch_threads']} threads of torch; "
            f"{part['different']} answers differed from those of one thread."
        ),
        "",
        *_table(("threads", "asks a second", "quartiles", f"÷ {divisor}"), rows),
    ]


def _imports(part: Figures) -> list[str]:
    rows = [(name, _number(found["p50"]), _number(found["p95"])) for name, found in part["seconds"].items()]
    runs = next(iter(part["seconds"].values()))["n"]
    return [f"Seconds, {runs} fresh processes each.", "", *_table(("what", "p50", "p95"), rows)]


_SECTIONS: Mapping[str, Callable[[Figures], list[str]]] = {
    "stages": _stages,
    "bytes": _bytes,
    "memory": _memory,
    "growth": _growth,
    "threads": _threads,
    "imports": _imports,
}
_TITLES = {
    "stages": "Stages",
    "bytes": "Bytes on disk",
    "memory": "Peak memory",
    "growth": "Growth",
    "threads": "Threads",
    "imports": "Starting",
}


# ---------------------------------------------------------------- how it looks


def _circumstances(part: Figures) -> list[str]:
    machine, versions = part["machine"], part["versions"]
    router = f", token router `{part['token_router']}`" if part.get("token_router") else ""
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    # What is kept for a page does not name the machine, and may be measured further.
    where = [str(machine[name]) for name in ("device", "dtype", "platform") if name in machine]
    return [
        (
            f"Made by `{part['command']}`, {part['started']}: base model `{part['base_model']}`, compiler "
            f"`{part['compiler']}`{router}, data `{part['data']}`, seed {part['seed']}; {machine['cores']} cores, "
            f"{machine['threads']} threads of torch, {', '.join(where)}; {told}."
        ),
        "",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines, ""]


def _pair(found: Figures | None) -> str:
    return "" if found is None else f"{_number(found['p50'])} / {_number(found['p95'])}"


def _number(value: float | None) -> str:
    """Return three significant digits, or all digits of a larger number."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _mb(size: int | None) -> str:
    return "–" if size is None else f"{size / 1e6:,.0f}"
