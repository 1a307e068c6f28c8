"""Results of runs, from what is on disk: folders of `pmem eval`, or JSON that was kept of them.

Of a folder, the figures are made anew from ``answers.jsonl``, ``timings.json`` and ``settings.json``; no model is
needed. Folders with the same settings (but for the number of questions) become one result: sets or systems that were
run apart stand beside one another. JSON files are taken as they are.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from parametric_memory.errors import UnreadableDocumentError
from parametric_memory.evaluation.report.figures import figures, overall
from parametric_memory.evaluation.report.legend import in_order
from parametric_memory.evaluation.report.stated import stated

#: What ``results.json`` holds: settings, circumstances, datasets, overall.
Results: TypeAlias = dict[str, Any]
Row: TypeAlias = dict[str, Any]
#: By system, those that its answers may have.
Signatures: TypeAlias = Mapping[str, Sequence[str]]

#: What may differ between folders that become one result.
_FREE = {"limit"}
#: What is told of the circumstances of a run: nothing that names a machine.
_MACHINE = ("cores", "threads", "device")


@dataclass(frozen=True, slots=True)
class Run:
    """One folder: its settings, rows and times by dataset and system, and how much each dataset's memory held."""

    settings: dict[str, Any]
    circumstances: dict[str, Any]
    rows: dict[str, dict[str, list[Row]]]
    ms: dict[str, dict[str, list[float]]]
    held: dict[str, dict[str, Any]]


def read_results(paths: Sequence[Path | str]) -> list[Results]:
    """Read runs, and merge those of one setting.

    Args:
        paths: Folders of runs, or JSON files with results.

    Returns:
        One result per setting, in the order in which they first come.

    Raises:
        UnreadableDocumentError: If a path holds no results, saying what is missing.
    """
    kept: list[Results] = []
    runs: dict[str, list[Run]] = {}
    for path in map(Path, paths):
        if path.is_dir():
            run = read_run(path)
            shared = {key: value for key, value in run.settings.items() if key not in _FREE}
            runs.setdefault(json.dumps(shared, sort_keys=True), []).append(run)
        else:
            read = read_json(path)
            kept += read.get("runs", [read])
    for one in kept:
        if "datasets" not in one or "settings" not in one:
            raise UnreadableDocumentError(f"reading results from {', '.join(map(str, paths))}: there are none in it")
    return [*kept, *(_results(of_one_setting) for of_one_setting in runs.values())]


def read_run(folder: Path) -> Run:
    """Read the last run into a folder of `pmem eval`; what was asked with other settings, or only before, is left out.

    Raises:
        UnreadableDocumentError: If it is not such a folder.
    """
    settings = read_json(folder / "settings.json")
    signatures = settings.pop("signatures", None)
    if not signatures:
        raise UnreadableDocumentError(
            f"reading the run of {folder}: its settings.json does not say which answers are the run's; if an earlier "
            "version made it, run `pmem eval` again, or name the folder's results.json in place of the folder"
        )
    rows = _rows(folder / "answers.jsonl", signatures)
    times = read_json(folder / "timings.json") if (folder / "timings.json").exists() else {}
    results = read_json(folder / "results.json")["datasets"] if (folder / "results.json").exists() else {}
    return Run(
        settings={key: value for key, value in settings.items() if key not in _CIRCUMSTANCES},
        circumstances=_circumstances(settings),
        rows=rows,
        ms={name: _times(times, name, signatures[name]) for name in rows},
        held={name: {key: results.get(name, {}).get(key) for key in ("documents", "atoms")} for name in rows},
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file.

    Raises:
        UnreadableDocumentError: If it is missing, or not JSON.
    """
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableDocumentError(f"reading results from {path}: {error}") from error
    return read


_CIRCUMSTANCES = {"command", "files", "systems", "started", "versions", "machine"}


def _circumstances(settings: Mapping[str, Any]) -> dict[str, Any]:
    machine = settings.get("machine", {})
    return {
        "command": portable(settings["command"]) if "command" in settings else None,
        "started": settings.get("started"),
        "versions": settings.get("versions", {}),
        "machine": {key: machine.get(key) for key in _MACHINE},
    }


def portable(command: str) -> str:
    """Return a command without the folders of the machine that ran it: files of absolute paths stand in ``DATA``."""
    # Started with `python -m parametric_memory.cli`.
    words = ["pmem" if word == "__main__.py" else word for word in shlex.split(command)]
    return shlex.join(f"DATA/{Path(word).name}" if re.match(r"/|[A-Za-z]:\\|~", word) else word for word in words)


def _rows(path: Path, signatures: Mapping[str, Signatures]) -> dict[str, dict[str, list[Row]]]:
    """Return the rows of these signatures by dataset and system.

    A row of the run's signature answers one of its questions: they are part of it. A torn last line of a run that was
    killed is left out.
    """
    try:
        *lines, _torn = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UnreadableDocumentError(f"reading the answers of {path}: {error}") from error
    found: dict[str, dict[str, dict[str, Row]]] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            dataset, system, id_, made_with = row["dataset"], row["system"], row["id"], row["settings"]
        except (ValueError, LookupError, TypeError) as error:
            raise UnreadableDocumentError(f"reading the answers of {path}, line {number}: {error}") from error
        if made_with in signatures.get(dataset, {}).get(system, ()):
            found.setdefault(dataset, {}).setdefault(system, {})[id_] = row
    if not found:
        raise UnreadableDocumentError(f"reading the answers of {path}: there are none with the settings of the run")
    return {
        dataset: {system: list(rows.values()) for system, rows in systems.items()} for dataset, systems in found.items()
    }


def _times(times: Mapping[str, Mapping[str, Any]], dataset: str, signatures: Signatures) -> dict[str, list[float]]:
    """Return the times of most systems that were measured together on a dataset; of several, the last."""
    fitting = [
        {system: one["ms"] for system, one in measured.items() if one["settings"] == signatures.get(system)}
        for key, measured in times.items()
        if key.rpartition(":")[0] == dataset
    ]
    return max(reversed(fitting), key=len, default={})


def _results(runs: Sequence[Run]) -> Results:
    """Return the results of runs of one setting as if they had been one run."""
    rows: dict[str, dict[str, list[Row]]] = {}
    for run in runs:
        for dataset, systems in run.rows.items():
            rows[dataset] = _joined(rows.get(dataset, {}), systems)
    datasets = {}
    for dataset, systems in rows.items():
        of = [run for run in runs if dataset in run.rows]
        # Times of two runs are not compared: those of the run that timed the most systems stand for all.
        ms = max((run.ms[dataset] for run in of), key=len)
        held = {key: next((run.held[dataset][key] for run in of if run.held[dataset][key]), None) for key in _HELD}
        held["documents"] = held["documents"] or len({row["doc_id"] for rows in systems.values() for row in rows})
        datasets[dataset] = held | figures(systems, ms)
    return {
        "settings": runs[0].settings,
        "circumstances": runs[0].circumstances | {"commands": [run.circumstances["command"] for run in runs]},
        "datasets": datasets,
        "overall": overall(rows, datasets),
        "stated": stated(rows),
    }


_HELD = ("documents", "atoms")


def _joined(some: Mapping[str, list[Row]], more: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """Return systems of two runs; what both answered is taken from the later one."""
    joined = {}
    for system in in_order([*some, *more]):
        by_id = {row["id"]: row for row in (*some.get(system, ()), *more.get(system, ()))}
        joined[system] = list(by_id.values())
    return joined
