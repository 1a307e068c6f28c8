"""Compile the handbook into a memory and ask it questions, beside the same base model closed-book and with RAG.

    python examples/handbook_demo.py            # the second run finds the memory of the first
    python examples/handbook_demo.py --fresh    # compile everything anew
    python examples/handbook_demo.py --all      # score all questions, not only the first ones

Everybody is asked as `pmem eval` asks. RAG is LangChain's splitter and vector store, with the wording, the size and the
number of chunks that suit the base model best. Only the memory is kept, in the user's cache directory. Every answer is
generated anew in every run.
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
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from parametric_memory.errors import AdapterMismatchError, ParametricMemoryError

if TYPE_CHECKING:
    from parametric_memory import ParametricMemory
    from parametric_memory.evaluation import LibrarySystem, Prediction, Question
    from parametric_memory.types import Route

EXAMPLES = Path(__file__).resolve().parent
#: Relative, so that citations are short and do not depend on where the repository lies.
DOCUMENTS, QUESTIONS = Path("handbook/documents"), Path("handbook/questions.jsonl")
#: What systems of `pmem eval` are called on the screen.
NAMES = {"atoms": "from weights", "closed_book": "closed-book", "rag_dense": "RAG"}
#: Questions that are asked one by one and shown, and questions that are scored without --all.
SHOWN, SCORED = 8, 24
TOGETHER = 12


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
    began = time.perf_counter()
    with open_memory(console, checkpoint=checkpoint, fresh=chosen.fresh) as memory:
        compile_handbook(console, memory)
        questions, systems = read_handbook(), systems_of(memory)
        shown = [show(console, memory, systems, number, one) for number, one in enumerate(questions[:SHOWN], 1)]
        scored = questions if chosen.all else questions[:SCORED]
        rest = answer_all(console, systems, scored[SHOWN:])
    answers = {system.name: [one[n] for one in shown] + rest[n] for n, system in enumerate(systems)}
    show_scores(console, scored, answers, of=len(questions))
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
            report = memory.add(file, metadata={"doc_id": file.name})  # what the evaluation knows a document by
            events += [result["event"] for result in report["results"]]
            progress.advance(progress.task_ids[0])
    compiled, held = sum(event in {"ADD", "UPDATE"} for event in events), f"atoms of {len(files)} files"
    if compiled:
        console.print(f"Compiled {compiled} {held} in {time.perf_counter() - began:.0f} s; the next run reuses them.")
    else:
        console.print(f"Nothing recompiled: all {len(events)} {held} are there from an earlier run.")


# ---------------------------------------------------------------- who is asked


def read_handbook() -> list[Question]:
    """Return the questions, each about all documents."""
    from parametric_memory.evaluation import Question

    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    return [
        Question("handbook", "", "", "", row["question"], tuple(row["answers"]), bool(row["answers"])) for row in rows
    ]


def systems_of(memory: ParametricMemory) -> list[LibrarySystem]:
    """Return who is asked, as `pmem eval` has them; RAG's chunks are embedded before anybody is."""
    from parametric_memory.evaluation import SYSTEMS, Library, LibrarySystem

    library = Library(memory, setting="corpus", remember=False)
    library.chunks(library.reading.dense.chunk_chars)
    return [LibrarySystem(name, library, SYSTEMS[name]) for name in NAMES]


# ---------------------------------------------------------------- one question after the other


def show(
    console: Console, memory: ParametricMemory, systems: Sequence[LibrarySystem], number: int, question: Question
) -> list[Prediction]:
    """Ask one question of everybody and print what comes out."""
    expected = " or ".join(question.answers) or "nothing: no document says it, to abstain is right"
    console.print(Rule(Text(f"{number}. {question.question}", style="bold"), align="left"))
    console.print(f"Expected: {expected}")
    answers = [system.answer([question], score=False)[0] for system in systems]
    console.print(answer_table(systems, answers))
    show_grounds(console, memory, memory.explain(question.question))
    return answers


def show_grounds(console: Console, memory: ParametricMemory, route: Route) -> None:
    """Print what an answer from weights stands on: the best citation, and all atoms with their scores."""
    if route.abstained:
        console.print(f"  Abstained: confidence {route.confidence:.2f} is below {route.threshold:.2f}")
        return
    best = memory.cite(route)[0]
    console.print(Text(f"  Cited: {best.source}, characters {best.span.start}–{best.span.end}: “{line(best.text)}”"))
    console.print(atom_table(route))


def answer_table(systems: Sequence[LibrarySystem], answers: Sequence[Prediction]) -> Table:
    """Return the answers beside one another, with the tokens of text that were read for each, and the time."""
    table = Table("", box=SIMPLE_HEAD, show_edge=False, expand=True)
    table.add_column("answer", ratio=1)
    for name in ("knowledge tokens", "ms"):
        table.add_column(name, justify="right")
    for system, answer in zip(systems, answers, strict=True):
        text = line(answer.text) + ("  (abstained)" if answer.abstained else "")
        table.add_row(NAMES[system.name], Text(text, style="bold"), str(answer.knowledge_tokens), f"{answer.ms:.0f}")
    return table


def atom_table(route: Route) -> Table:
    """Return the atoms that an answer stands on, with the router's scores and the shares of the gates."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, expand=True)
    for name in ("score", "share"):
        table.add_column(name, justify="right")
    table.add_column("atoms composed", ratio=1)
    for routed in route.selected:
        share = "" if routed.share is None else f"{routed.share:.0%}"
        table.add_row(f"{routed.score:.2f}", share, Text(line(routed.atom.statement)))
    return table


# ---------------------------------------------------------------- many questions at once, and the scores


def answer_all(
    console: Console, systems: Sequence[LibrarySystem], questions: Sequence[Question]
) -> list[list[Prediction]]:
    """Ask all questions of everybody, in batches."""
    answers: list[list[Prediction]] = [[] for _ in systems]
    with bar(console, "asking", len(systems) * len(questions)) as progress:
        for system, given in zip(systems, answers, strict=True):
            for begin in range(0, len(questions), TOGETHER):
                given.extend(system.answer(questions[begin : begin + TOGETHER], score=False))
                progress.update(progress.task_ids[0], completed=sum(map(len, answers)))
    return answers


def show_scores(
    console: Console, questions: Sequence[Question], answers: dict[str, list[Prediction]], *, of: int
) -> None:
    """Print everybody's scores: text measures over the answerable questions, refusals over the others."""
    answerable = sum(question.answerable for question in questions)
    more = "" if len(questions) == of else f"; --all scores all {of}"
    console.print(Rule(Text("Scores", style="bold"), align="left"))
    console.print(
        f"The first {len(questions)} questions, {answerable} of them answerable{more}. Refusals are right where no "
        f"document answers; ms is the median over the {SHOWN} that were asked alone."
    )
    table = Table("", box=SIMPLE_HEAD, show_edge=False)
    for name in ("token F1", "contains", "EM", "right refusals", "wrong refusals", "knowledge tokens", "ms"):
        table.add_column(name, justify="right")
    for name, given in answers.items():
        table.add_row(NAMES[name], *scores(questions, given))
    console.print(table)


def scores(questions: Sequence[Question], answers: Sequence[Prediction]) -> list[str]:
    """Return one system's row."""
    from parametric_memory.evaluation.metrics import score

    pairs = list(zip(questions, answers, strict=True))
    graded = [score("" if one.abstained else one.text, asked.answers) for asked, one in pairs if asked.answerable]
    measures = [fmean(getattr(one, name) for one in graded) for name in ("f1", "containment", "em")]
    refused = [one.abstained for asked, one in pairs if not asked.answerable]
    wrongly = [one.abstained for asked, one in pairs if asked.answerable]
    return [
        *(f"{measure:.3f}" for measure in measures),
        f"{sum(refused)}/{len(refused)}",
        f"{sum(wrongly)}/{len(wrongly)}",
        f"{fmean(one.knowledge_tokens for one in answers):.0f}",
        f"{median(one.ms for one in answers[:SHOWN]):.0f}",
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
