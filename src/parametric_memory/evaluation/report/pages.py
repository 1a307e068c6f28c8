"""Results to the pages of the documentation: tables and pictures between markers, the JSON they come from beside them.

What stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` of a page is made, and made anew each time; everything else
is written by people and stays. A section of which nothing was measured says so. The same results make the same files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.report.markdown import render
from parametric_memory.evaluation.report.results import Results, portable, read_json
from parametric_memory.evaluation.report.sections import SECTIONS, Material, short

SECTION = re.compile(r"<!-- (?P<name>[a-z]+) -->.*?<!-- /(?P=name) -->", re.DOTALL)
_LEFT_OUT = {"platform", "processor", "files", "folder", "answers"}
NOT_MEASURED = "Not measured in these runs."
#: Files of probes and benches that are kept beside the page, and read from there when they are not named.
EXTRAS = ("probes", "bench", "distillation")


def write_benchmarks(
    runs: Sequence[Results],
    folder: Path,
    *,
    extras: Mapping[str, Path] | None = None,
    readme: Path | None = None,
    sources: Sequence[Path] = (),
) -> list[Path]:
    """Fill in ``index.md`` of a folder, and draw and keep beside it what it shows; return what was written.

    Args:
        runs: Results, one per setting (see `parametric_memory.evaluation.report.results.read_results`).
        folder: Of the page; ``published.json`` in it holds the figures of others.
        extras: The folder of ``probes``, and the JSON files of ``bench`` and ``distillation``; what is not named is
            read from where an earlier call has kept it.
        readme: A page that gets the short form, in its section ``figures``.
        sources: Where the results came from: a file that lies in the folder is not written a second time.

    Raises:
        UnreadableDocumentError: If a page or a file is missing.
    """
    published = folder / "published.json"
    # Drawn and written from what is kept, so that the page can be made from that as well, to the last digit.
    runs = [_rounded(without_machine(run)) for run in runs]
    material = Material(
        runs,
        published=read_json(published) if published.exists() else None,
        extras=_extras(folder, extras or {}),
    )
    written = [] if any(path.resolve().parent == folder.resolve() for path in sources) else [_keep(material, folder)]
    written += [_write_json(folder / f"{name}.json", content) for name, content in material.extras.items()]
    sections = {name: make(material, folder) or NOT_MEASURED for name, make in SECTIONS.items()}
    written.append(fill(folder / "index.md", sections))
    if readme:
        written.append(fill(readme, {"figures": short(runs[0])}))
    return [*written, *sorted(folder.glob("*.svg"))]


def write_reports(runs: Sequence[Results], folder: Path) -> list[Path]:
    """Write ``report.md`` and ``results.json`` of every result into a folder; from the second on, with its number."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for place, run in enumerate(runs, 1):
        number = f"_{place}" if place > 1 else ""
        circumstances = run.get("circumstances", {})
        commands = dict.fromkeys(circumstances.get("commands") or [circumstances.get("command")])
        page = folder / f"report{number}.md"
        page.write_text(render(run, command="\n    ".join(filter(None, commands))), encoding="utf-8")
        figures = folder / f"results{number}.json"
        figures.write_text(f"{json.dumps(run, indent=2, ensure_ascii=False)}\n", encoding="utf-8")
        written += [page, figures]
    return written


def fill(page: Path, sections: Mapping[str, str]) -> Path:
    """Put texts between the markers of a page; sections that it does not have are left out.

    Raises:
        UnreadableDocumentError: If the page cannot be read, or has none of the sections.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise UnreadableDocumentError(f"writing figures into {page}: {error}") from error
    if not any(found["name"] in sections for found in SECTION.finditer(text)):
        wanted = ", ".join(f"<!-- {name} -->…<!-- /{name} -->" for name in sections)
        raise UnreadableDocumentError(f"writing figures into {page}: it has none of the sections {wanted}")

    def made(found: re.Match[str]) -> str:
        name = found["name"]
        return f"<!-- {name} -->\n{sections[name]}\n<!-- /{name} -->" if name in sections else found[0]

    page.write_text(SECTION.sub(made, text), encoding="utf-8")
    return page


# ---------------------------------------------------------------- files


def _extras(folder: Path, named: Mapping[str, Path]) -> dict[str, Mapping[str, Any]]:
    paths = {name: named.get(name, folder / f"{name}.json") for name in EXTRAS}
    return {name: without_machine(_read(path)) for name, path in paths.items() if name in named or path.exists()}


def _read(path: Path) -> dict[str, Any]:
    """Read a file, or the files of all probes in a folder, by the probe's name."""
    if not path.is_dir():
        return read_json(path)
    found = [read_json(one) for one in sorted(path.glob("*.json"))]
    return {one["probe"]: one for one in found if "probe" in one}


def without_machine(content: Any) -> Any:
    """Return JSON without what names the machine: its platform, its processor, the folders in commands.

    Single answers are left out as well: they are for reading where they were made.
    """
    if isinstance(content, list):
        return [without_machine(one) for one in content]
    if not isinstance(content, dict):
        return content
    kept = {key: value for key, value in content.items() if key not in _LEFT_OUT}
    return {
        key: portable(value) if key == "command" and isinstance(value, str) else without_machine(value)
        for key, value in kept.items()
    }


def _keep(material: Material, folder: Path) -> Path:
    return _write_json(folder / "results.json", {"runs": list(material.runs)})


def _write_json(path: Path, content: Mapping[str, Any]) -> Path:
    path.write_text(f"{json.dumps(_rounded(content), ensure_ascii=False)}\n", encoding="utf-8")
    return path


def _rounded(content: Any) -> Any:
    """Return JSON with five digits after the point: more are noise, and a page of them."""
    if isinstance(content, float):
        return round(content, 5)
    if isinstance(content, Mapping):
        return {key: _rounded(value) for key, value in content.items()}
    return [_rounded(one) for one in content] if isinstance(content, list | tuple) else content
