"""What starting costs: the import, the help, and the first answer of a fresh process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from parametric_memory.evaluation.bench.isolation import in_child
from parametric_memory.evaluation.bench.memories import Opener, beside
from parametric_memory.evaluation.bench.spread import spread
from parametric_memory.evaluation.bench.stages import Progress

#: What is started, by name: words after the interpreter's. ``python`` is the floor under the others.
_STARTS = {
    "python": ("-c", "pass"),
    "import": ("-c", "import parametric_memory"),
    "help": ("-m", "parametric_memory.cli", "--help"),
}


def measure_imports(
    opener: Opener, folder: Path, question: str, *, runs: int, progress: Progress
) -> dict[str, dict[str, float]]:
    """Return seconds by what was started, every run in a fresh interpreter and all of them in turn.

    Args:
        opener: Opens the memory, in the child.
        folder: Of a memory that holds something, closed.
        question: What is asked first.
        runs: How often everything is started.
        progress: Called as the work goes on.
    """
    seconds: dict[str, list[float]] = {}
    for number in range(runs):
        progress("imports", number, runs)
        started = {name: _seconds(*words) for name, words in _STARTS.items()}
        for name, value in {**started, **_first(opener, folder, question)}.items():
            seconds.setdefault(name, []).append(value)
    progress("imports", runs, runs)
    over = zip(seconds["import"], seconds["python"], strict=True)
    seconds["import over python"] = [imported - bare for imported, bare in over]
    return {name: spread(values) for name, values in seconds.items()}


def first_ask(opener: Opener, folder: Path, question: str) -> dict[str, float]:
    """Open a memory and ask it twice; return the seconds of each."""
    began = time.perf_counter()
    with opener(folder) as memory, beside(memory, folder) as routed:
        opened = time.perf_counter()
        routed.ask(question)
        asked = time.perf_counter()
        routed.ask(question)
        again = time.perf_counter()
    return {"open": opened - began, "first ask": asked - opened, "second ask": again - asked}


def _first(opener: Opener, folder: Path, question: str) -> dict[str, float]:
    done = in_child(first_ask, opener, folder, question)
    return {**done.value, "process with two asks": done.seconds}


def _seconds(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - began
