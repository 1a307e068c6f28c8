"""What a question costs more through LangChain than asked of the memory itself, in milliseconds.

    python benchmarks/overhead.py              # the built-in base model
    python benchmarks/overhead.py --asks 200

Both are asked the same question in turn, so that a busy machine is as busy for one as for the other.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from statistics import median

from langchain_parametric_memory import ChatParametricMemory
from parametric_memory import ParametricMemory
from parametric_memory.config import GenerationConfig

QUESTION = "Where was the ferry Tern launched?"


def main() -> None:
    """Print the medians of both, and of their differences."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--asks", type=int, default=100, help="questions of each")
    asks = parser.parse_args().asks
    with tempfile.TemporaryDirectory() as folder, ParametricMemory.from_pretrained(path=folder) as memory:
        memory.add("The ferry Tern was launched in the harbour of Skarvik in 2019.")
        core, through = overhead(memory, asks=asks)
    more = median(b - a for a, b in zip(core, through, strict=True))
    print(f"core {median(core):.1f} ms, through LangChain {median(through):.1f} ms, {more:+.2f} ms in the median pair")


def overhead(memory: ParametricMemory, *, asks: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of every question to the memory, and of its twin through LangChain: one token each."""
    llm = ChatParametricMemory(memory=memory, max_tokens=1)
    one = GenerationConfig(max_new_tokens=1)
    calls: list[Callable[[], object]] = [lambda: memory.ask(QUESTION, generation=one), lambda: llm.invoke(QUESTION)]
    pairs = [[_milliseconds(call) for call in calls] for _ in range(asks + 3)][3:]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
