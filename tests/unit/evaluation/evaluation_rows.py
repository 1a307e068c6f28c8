"""Rows of answers as an evaluation writes them, with known strengths of the systems."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

SETTINGS = {
    "base_model": "tiny", "compiler": "c", "key_encoder": "k", "seed": 0, "setting": "own", "limit": 40, "dtype": "f32",
}  # fmt: skip
CIRCUMSTANCES = {
    "command": "pmem eval --data /home/someone/one.jsonl --out out", "files": ["/home/someone/one.jsonl"],
    "systems": [], "started": "2031-01-01", "versions": {"python": "3"},
    "machine": {"platform": "somebox-1", "processor": "x", "cores": 2, "threads": 1, "device": "cpu"},
}  # fmt: skip
#: How often a system is right, by its name; `mystery` is one that no legend knows.
STRENGTHS = {"closed_book": 0.05, "rag_bm25": 0.3, "rag_dense": 0.4, "atoms": 0.7, "atoms_oracle": 0.8, "mystery": 0.5}


def row(number: int, **more: Any) -> dict[str, Any]:
    """Return an answer to question `number`, which is the only one about its document."""
    base = {
        "dataset": "one", "system": "s", "id": f"q{number}", "doc_id": f"d{number}", "question": "?", "answers": ["x"],
        "prediction": "y", "abstained": False, "atoms": ["a"], "gold": "a", "f1": 0.5, "em": 0.0, "containment": 1.0,
        "knowledge_tokens": 3, "loglikelihood": -2.0,
    }  # fmt: skip
    return base | more


def rows_of(dataset: str, *, count: int = 40, strengths: dict[str, float] | None = None) -> dict[str, list[dict]]:
    """Return the answers of systems to questions, two a document, every fourth unanswerable."""
    return {
        system: [_answer(dataset, system, number, strength) for number in range(count)]
        for system, strength in (STRENGTHS if strengths is None else strengths).items()
    }


def write_run(folder: Path, sets: dict[str, dict[str, list[dict]]], **settings: Any) -> Path:
    """Write a folder as an evaluation leaves it, but for its results."""
    folder.mkdir(parents=True)
    signatures = {name: {system: [f"signature of {name}"] for system in systems} for name, systems in sets.items()}
    told = {**SETTINGS, **settings, "signatures": signatures, **CIRCUMSTANCES}
    (folder / "settings.json").write_text(json.dumps(told), encoding="utf-8")
    answers = [row for systems in sets.values() for rows in systems.values() for row in rows]
    lines = [json.dumps({**one, "settings": f"signature of {one['dataset']}"}) + "\n" for one in answers]
    (folder / "answers.jsonl").write_text("".join(lines), encoding="utf-8")
    times = {
        f"{name}:3": {system: {"settings": made, "ms": [10.0, 20.0, 90.0]} for system, made in systems.items()}
        for name, systems in signatures.items()
    }
    (folder / "timings.json").write_text(json.dumps(times), encoding="utf-8")
    return folder


def _answer(dataset: str, system: str, number: int, strength: float) -> dict[str, Any]:
    rng = random.Random(f"{dataset} {system} {number}")
    answerable, retrieves = number % 4 != 0, system != "closed_book"
    sure = rng.random() * 0.6 + 0.4 * answerable
    f1 = float(rng.random() < strength) if answerable else 0.0
    return row(
        number,
        dataset=dataset, system=system, doc_id=f"d{number // 2}", answers=["x"] if answerable else [], f1=f1, em=f1,
        containment=f1, loglikelihood=-4 + strength + rng.random() if answerable else None,
        gold="a" if answerable else None, looked=16 if retrieves else 0,
        gold_rank=rng.choice([1, 1, 2, 5, 12, None]) if retrieves and answerable else None,
        confidence=sure if system == "atoms" else None, document_chars=300 * 2 ** (number % 4),
    )  # fmt: skip
