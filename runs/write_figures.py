"""Put the table of a `pmem eval` run between the figures' markers of README.md and docs/benchmarks/index.md.

    python runs/write_figures.py runs/out/first_figures

Numbers come from the run's results.json and settings.json alone.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks" / "index.md")
MARKED = re.compile(r"(?<=<!-- figures -->).*?(?=<!-- /figures -->)", re.DOTALL)
COLUMNS = ("f1", "containment", "em", "knowledge_tokens", "p50_ms")
HEAD = ("token F1", "contains", "EM", "knowledge tokens in the prompt", "p50 ms")


def table(results: dict[str, Any], settings: dict[str, Any]) -> str:
    """Return the Markdown of all datasets of a run."""
    parts = []
    for name, dataset in results["datasets"].items():
        systems = dataset["systems"]
        count = next(iter(systems.values()))["n"]
        rows = [
            f"| {system} | " + " | ".join(cell(one, column) for column in COLUMNS) + " |"
            for system, one in systems.items()
        ]
        head = ["| system | " + " | ".join(HEAD) + " |", "|---" * (len(HEAD) + 1) + "|"]
        parts.append(f"`{name}`, {count} questions, own document, greedy:\n\n" + "\n".join([*head, *rows]))
    machine = settings["machine"]
    told = (
        f"base model `{settings['base_model']}`, compiler `{settings['compiler']}`, seed {settings['seed']}, "
        f"{machine['cores']} cores, {machine['threads']} threads, {machine['device']}, {settings['dtype']}"
    )
    command = f"runs/first_figures.sh DATA --limit {settings['limit']}"
    made = f"Made by `{command}` ({told}). In brackets: 95 % intervals, bootstrapped over documents."
    return "\n\n".join([*parts, made])


def cell(system: dict[str, Any], column: str) -> str:
    """Return one figure, with its interval where there is one."""
    value = system.get(column)
    if value is None:
        return ""
    interval = system.get("intervals", {}).get(column)
    if column in {"knowledge_tokens", "p50_ms"}:
        return f"{value:.0f}"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def main(run: Path) -> None:
    """Rewrite the pages."""
    results, settings = (json.loads((run / f"{name}.json").read_text("utf-8")) for name in ("results", "settings"))
    made = table(results, settings)
    for page in PAGES:
        parts = MARKED.split(page.read_text("utf-8"))
        page.write_text(f"\n{made}\n".join(parts), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
