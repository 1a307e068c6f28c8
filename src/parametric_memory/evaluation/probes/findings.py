"""What a probe found, as JSON for programs and as a section of a page for people.

Nothing on the page is not in the JSON. The page is made of all the probes' files of a folder, so that probes can be run
one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Record: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of a probe.

    Attributes:
        measured: What was done, of how many questions, for somebody who reads only this.
        rows: The figures, one record per line of the table; None where there was nothing to count, and a pair is an
            interval.
        answers: Single answers, to read before believing a mean.
    """

    measured: str
    rows: Sequence[Record]
    answers: Sequence[Record] = ()


def write_findings(path: Path, name: str, found: Findings, settings: Record) -> dict[str, Any]:
    """Write a probe's file so that a killed run leaves the old one or the new one; return what can be read there."""
    content = {
        "probe": name,
        "measured": found.measured,
        "settings": settings,
        "rows": list(found.rows),
        "answers": list(found.answers),
    }
    written = json.dumps(content, indent=2, ensure_ascii=False)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(f"{written}\n", encoding="utf-8")
    fresh.replace(path)
    read: dict[str, Any] = json.loads(written)
    return read


def render(found: Iterable[Record], *, pictures: Mapping[str, str] | None = None) -> str:
    """Return probes' files, as they were read, as one page of Markdown.

    Args:
        found: The files.
        pictures: Names of picture files beside the page, by probe.
    """
    named = pictures or {}
    return "\n".join(["# Probes", "", *(line for one in found for line in _section(one, named.get(one["probe"])))])


def columns(rows: Sequence[Record]) -> list[str]:
    """Return the names of the table's columns: of all records, in order of their first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def cell(value: Any) -> str:
    """Return a figure as tables show it."""
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return "–".join(map(cell, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _section(found: Record, picture: str | None) -> list[str]:
    settings, rows = found["settings"], found["rows"]
    names = columns(rows)
    made_with = f"Base model `{settings['base_model']}`, compiler `{settings['compiler']}`, seed {settings['seed']}."
    return [
        f"## {found['probe']}",
        "",
        f"{found['measured']} {made_with}",
        "",
        *([f"![{found['probe']}]({picture})", ""] if picture else []),
        f"| {' | '.join(names)} |",
        "|---" * len(names) + "|",
        *(f"| {' | '.join(cell(row.get(name)) for name in names)} |" for row in rows),
        "",
    ]
