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
MARKED = re.compile(r"(<!-- figures -->).*?(<!-- /figures -->)", re.DOTALL)
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
    told = ", ".join(f"{key} {settings[key]}" for key in ("seed", "base", "compiler", "machine") if key in settings)
    return "\n\n".join(parts) + f"\n\nMade by `runs/first_figures.sh` ({told}); in brackets, 95 % intervals."


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
    results, settings = (
        json.loads((run / name).read_text(encoding="utf-8")) for name in ("results.json", "settings.json")
    )
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        made = table(results, settings)
        page.write_text(MARKED.sub(lambda match: f"{match[1]}\n{made}\n{match[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
