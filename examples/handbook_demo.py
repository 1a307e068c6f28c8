"""Compile the handbook into a memory and ask it questions, beside the same base model closed-book and with RAG.

    python examples/handbook_demo.py            # the second run finds the memory of the first
    python examples/handbook_demo.py --fresh    # compile everything anew
    python examples/handbook_demo.py --all      # score all questions, not only the first ones

Only the memory is kept, in the user's cache directory. Every answer is generated anew in every run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from parametric_memory.errors import AdapterMismatchError, ParametricMemoryError

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory
    from parametric_memory.types import Answer, ComposedAdapter

System: TypeAlias = Literal["atoms", "closed_book", "in_context"]

EXAMPLES = Path(__file__).resolve().parent
#: Relative, so that citations are short and do not depend on where the repository lies.
DOCUMENTS, QUESTIONS = Path("handbook/documents"), Path("handbook/questions.jsonl")
#: What the modes of `ask` are called on the screen.
SYSTEMS: dict[System, str] = {"atoms": "from weights", "closed_book": "closed-book", "in_context": "RAG"}
#: Questions that are asked one by one and shown, and questions that are scored without --all.
SHOWN, SCORED = 8, 24
TOGETHER = 12


@dataclass(frozen=True, slots=True)
class Result:
    """What a system answered to one question; the text is empty if it abstained, and ms None if asked in a batch."""

    text: str
    abstained: bool
    knowledge_tokens: int
    ms: float | None = None


def main() -> None:
    """Compile, ask, score."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="compile everything anew")
    parser.add_argument("--all", action="store_true", help="score all questions")
    parser.add_argument("--checkpoint", type=Path, help="another hypernetwork than the one of the package")
    chosen = parser.parse_args()
    checkpoint = chosen.checkpoint and chosen.checkpoint.resolve()
    os.chdir(EXAMPLES)
    console = Console(highlight=False, markup=False)
    console.width = min(console.width, 100) if console.is_terminal else 100
    questions = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    began = time.perf_counter()
    with open_memory(console, checkpoint=checkpoint, fresh=chosen.fresh) as memory:
        compile_handbook(console, memory)
        shown = [show(console, memory, number, question) for number, question in enumerate(questions[:SHOWN], 1)]
        scored = questions if chosen.all else questions[:SCORED]
        results = answer_all(console, memory, scored[SHOWN:])
    results = {system: [one[system] for one in shown] + results[system] for system in SYSTEMS}
    show_scores(console, scored, results, of=len(questions))
    console.print(f"All of it took {time.perf_counter() - began:.0f} s.")


# ---------------------------------------------------------------- the memory


def open_memory(console: Console, *, checkpoint: Path | None, fresh: bool) -> ParametricMemory:
    """Open the demo's memory, empty if `fresh` or if it was made by another compiler."""
    console.print("Loading the base model (the first time, its file is converted: about half a minute) …")
    from parametric_memory import ParametricMemory
    from parametric_memory.backends.models import cache_folder

    folder = cache_folder() / "handbook-demo"
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        memory = ParametricMemory.from_pretrained(path=folder, checkpoint=checkpoint)
    except AdapterMismatchError:
        console.print("The memory of an earlier run was made by another compiler: beginning anew.")
        shutil.rmtree(folder)
        memory = ParametricMemory.from_pretrained(path=folder, checkpoint=checkpoint)
    console.print(f"The memory is kept in {folder}", soft_wrap=True)
    return memory


def compile_handbook(console: Console, memory: ParametricMemory) -> None:
    """Add the documents, and say how many atoms were compiled."""
    files = sorted(DOCUMENTS.iterdir())
    events: list[str] = []
    began = time.perf_counter()
    with bar(console, "compiling", len(files)) as progress:
        for file in files:
            report = memory.add(file)
            events += [result["event"] for result in report["results"]]
            progress.advance(progress.task_ids[0])
    compiled, held = sum(event in {"ADD", "UPDATE"} for event in events), f"atoms of {len(files)} files"
    if compiled:
        console.print(f"Compiled {compiled} {held} in {time.perf_counter() - began:.0f} s; the next run reuses them.")
    else:
        console.print(f"Nothing recompiled: all {len(events)} {held} are there from an earlier run.")


# ---------------------------------------------------------------- one question after the other


def show(console: Console, memory: ParametricMemory, number: int, question: dict[str, Any]) -> dict[System, Result]:
    """Ask one question in every mode and print what comes out."""
    expected = " or ".join(question["answers"]) or "nothing: no document says it, to abstain is right"
    console.print(Rule(Text(f"{number}. {question['question']}", style="bold"), align="left"))
    console.print(f"Expected: {expected}")
    answers = {system: memory.ask(question["question"], mode=system) for system in SYSTEMS}
    console.print(answer_table(answers))
    show_grounds(console, answers["atoms"])
    return {system: result(answer) for system, answer in answers.items()}


def show_grounds(console: Console, answer: Answer) -> None:
    """Print what an answer from weights stands on: the best citation, and all atoms with their scores."""
    if answer.abstained:
        route = answer.route
        console.print(f"  Abstained: confidence {route.confidence:.2f} is below {route.threshold:.2f}")
        return
    best = answer.citations[0]
    console.print(Text(f"  Cited: {best.source}, characters {best.span.start}–{best.span.end}: “{line(best.text)}”"))
    console.print(atom_table(answer))


def answer_table(answers: dict[System, Answer]) -> Table:
    """Return the answers beside one another, with what each cost."""
    table = Table("", box=SIMPLE_HEAD, show_edge=False, expand=True)
    table.add_column("answer", ratio=1)
    for name in ("prompt tokens", "knowledge", "ms"):
        table.add_column(name, justify="right")
    for system, answer in answers.items():
        cost = [answer.usage.prompt_tokens, answer.usage.knowledge_tokens, round(sum(answer.timings.values()))]
        note = "  (abstained)" if answer.abstained else ""
        table.add_row(SYSTEMS[system], Text(line(answer.text) + note, style="bold"), *map(str, cost))
    return table


def atom_table(answer: Answer) -> Table:
    """Return the atoms that the answer stands on, with the router's scores and the shares of the gates."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, expand=True)
    for name in ("score", "share"):
        table.add_column(name, justify="right")
    table.add_column("atoms composed", ratio=1)
    for routed in answer.route.selected:
        share = "" if routed.share is None else f"{routed.share:.0%}"
        table.add_row(f"{routed.score:.2f}", share, Text(line(routed.atom.statement)))
    return table


def result(answer: Answer) -> Result:
    """Return what is scored of an answer."""
    text = "" if answer.abstained else answer.text
    return Result(text, answer.abstained, answer.usage.knowledge_tokens, sum(answer.timings.values()))


# ---------------------------------------------------------------- many questions at once, and the scores


def answer_all(
    console: Console, memory: ParametricMemory, questions: Sequence[dict[str, Any]]
) -> dict[System, list[Result]]:
    """Ask all questions of all systems, in batches."""
    texts = [question["question"] for question in questions]
    results: dict[System, list[Result]] = {system: [] for system in SYSTEMS}
    with bar(console, "asking", len(SYSTEMS) * len(texts)) as progress:
        for system in SYSTEMS:
            for begin in range(0, len(texts), TOGETHER):
                results[system] += answer_together(memory, texts[begin : begin + TOGETHER], system)
                progress.update(progress.task_ids[0], completed=sum(map(len, results.values())))
    return results


def answer_together(memory: ParametricMemory, questions: Sequence[str], system: System) -> list[Result]:
    """Return what `memory.ask` would, with one batch for the base model; it is not asked where the memory abstains."""
    passages: list[list[str]] = [[] for _ in questions]
    adapters: list[ComposedAdapter | None] = [None for _ in questions]
    if system == "in_context":
        found = [memory.search(text, top_k=memory.config.routing.max_atoms) for text in questions]
        passages = [[atom["memory"] for atom in atoms["results"]] for atoms in found]
    if system == "atoms":
        adapters = [memory.compose(memory.explain(text)) for text in questions]
    asked = [n for n, adapter in enumerate(adapters) if adapter is not None or system != "atoms"]
    made = memory.backend.generate(
        [memory.prompt.conversation(questions[n], passages[n]) for n in asked],
        adapters=[adapters[n] for n in asked],
        config=memory.config.generation,
    )
    answers = {n: generation.text.strip() for n, generation in zip(asked, made, strict=True)}
    spent = [sum(map(memory.backend.count_tokens, statements)) for statements in passages]
    return [Result(answers.get(n, ""), n not in answers, spent[n]) for n in range(len(questions))]


def show_scores(
    console: Console, questions: Sequence[dict[str, Any]], results: dict[System, list[Result]], *, of: int
) -> None:
    """Print the scores of every system: text measures over the answerable questions, refusals over the others."""
    answerable = sum(bool(question["answers"]) for question in questions)
    more = "" if len(questions) == of else f"; --all scores all {of}"
    console.print(Rule(Text("Scores", style="bold"), align="left"))
    console.print(
        f"The first {len(questions)} questions, {answerable} of them answerable{more}. Refusals are right where no "
        f"document answers; ms is the median over the {SHOWN} that were asked alone."
    )
    table = Table("", box=SIMPLE_HEAD, show_edge=False)
    for name in ("token F1", "contains", "EM", "right refusals", "wrong refusals", "knowledge tokens", "ms"):
        table.add_column(name, justify="right")
    for system, name in SYSTEMS.items():
        table.add_row(name, *scores(questions, results[system]))
    console.print(table)


def scores(questions: Sequence[dict[str, Any]], results: Sequence[Result]) -> list[str]:
    """Return one system's row."""
    from parametric_memory.evaluation.metrics import score

    pairs = list(zip(questions, results, strict=True))
    graded = [score(one.text, question["answers"]) for question, one in pairs if question["answers"]]
    measures = [fmean(getattr(one, name) for one in graded) for name in ("f1", "containment", "em")]
    refused = [one.abstained for question, one in pairs if not question["answers"]]
    wrongly = [one.abstained for question, one in pairs if question["answers"]]
    return [
        *(f"{measure:.3f}" for measure in measures),
        f"{sum(refused)}/{len(refused)}",
        f"{sum(wrongly)}/{len(wrongly)}",
        f"{fmean(one.knowledge_tokens for one in results):.0f}",
        f"{median(one.ms for one in results if one.ms is not None):.0f}",
    ]


@contextmanager
def bar(console: Console, what: str, total: int) -> Iterator[Progress]:
    """Show a bar with one task where there is a terminal."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(what, total=total)
        yield progress


def line(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.split())


if __name__ == "__main__":
    try:
        main()
    except ParametricMemoryError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
