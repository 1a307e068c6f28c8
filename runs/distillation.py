"""Token F1 against seconds an atom: gradient distillation at several step budgets, beside the hypernetwork.

    .venv/bin/python runs/distillation.py --data DATA --out runs/out/distillation [--limit 50]

DATA is a folder with squad1.1.dev.jsonl.gz. All systems are given the gold sentence's atom (oracle route); only
`in_context` sees its words. One course of the longest budget gives all shorter ones: adapters are looked at on the way.
An arm that is in results.json already is not run again. Prints the table of the report.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from parametric_memory.adapters import compose
from parametric_memory.compilers import DistillationCompiler
from parametric_memory.compilers.distillation.student import Factors
from parametric_memory.config import DistillationConfig
from parametric_memory.evaluation.datasets import Question, read_questions, sample
from parametric_memory.evaluation.metrics import score
from parametric_memory.evaluation.statistics import interval
from parametric_memory.evaluation.systems import SYSTEMS, Given, Library, LibrarySystem, holds_answer, scope
from parametric_memory.evaluation.systems.distilled import REFINING_RATE, distillation_compiler, gates
from parametric_memory.memory import ParametricMemory
from parametric_memory.types import Atom, AtomAdapter, Document

BUDGETS = (5, 10, 20, 32)
REFINED = (0, 5, 10)
ORACLE = (10, 20)


@dataclass(slots=True)
class Watch:
    """Adapters of every budget, and the processor seconds of a course up to it."""

    budgets: Sequence[int]
    factors: dict[int, list[Factors]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    began: float = field(default_factory=time.process_time)

    def __call__(self, step: int, factors: list[Factors]) -> None:
        """Keep what the budgets ask for; groups follow one another, so the last group's time is the whole time."""
        if step in self.budgets:
            self.factors.setdefault(step, []).extend(factors)
            self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - self.began
        if step == max(self.budgets):
            self.began = time.process_time()


@dataclass(slots=True)
class Course:
    """The questions, their gold atoms, and what has been measured."""

    library: Library
    questions: list[Question]
    atoms: list[Atom]
    out: Path
    arms: dict[str, Any]

    def record(self, arm: str, given: list[Given], seconds: float | None) -> None:
        """Ask all questions with what is given, and keep the figures."""
        system = LibrarySystem(arm, self.library, lambda _library, _questions: given)
        self.answer(arm, system, seconds)

    def answer(self, arm: str, system: LibrarySystem, seconds: float | None) -> None:
        """Ask all questions, and keep the figures."""
        said = system.answer(self.questions)
        scores = [score(one.text, q.answers) for one, q in zip(said, self.questions, strict=True)]
        f1 = [one.f1 for one in scores]
        likelihoods = [one.loglikelihood for one in said if one.loglikelihood is not None]
        self.arms[arm] = {
            "f1": sum(f1) / len(f1),
            "f1_interval": interval(f1, [q.doc_id for q in self.questions]),
            "em": sum(one.em for one in scores) / len(scores),
            "containment": sum(one.containment for one in scores) / len(scores),
            "nll": -sum(likelihoods) / len(likelihoods),
            "seconds_per_atom": seconds,
            "answers": [one.text for one in said],
        }
        print(row(arm, self.arms[arm]), flush=True)
        (self.out / "results.json").write_text(json.dumps(self.arms, indent=2, ensure_ascii=False), encoding="utf-8")

    def missing(self, name: str, budgets: Sequence[int]) -> bool:
        return any(f"{name}, {budget} steps" not in self.arms for budget in budgets)


def row(arm: str, found: dict[str, Any]) -> str:
    """Return an arm as a line of a Markdown table."""
    low, high = found["f1_interval"]
    seconds = "" if found["seconds_per_atom"] is None else f"{found['seconds_per_atom']:.2f}"
    return (
        f"| {arm} | {found['f1']:.3f} [{low:.2f}, {high:.2f}] | {found['containment']:.2f} | {found['em']:.2f} | "
        f"{found['nll']:.2f} | {seconds} |"
    )


def filled(memory: ParametricMemory, asked: Sequence[Question], limit: int) -> tuple[Library, list[Question]]:
    """Add documents until ``limit`` questions have a gold atom that holds an answer, each its own; return them."""
    library, chosen, seen = Library(memory), [], set()
    for question in asked:
        text = Document.of(question.document, source=question.doc_id, title=question.title, metadata=scope(question))
        memory.add(text)
        gold = library.gold(question)
        if gold and gold.id not in seen and holds_answer(question, gold):
            seen.add(gold.id)
            chosen.append(question)
        if len(chosen) == limit:
            break
    return library, chosen


def distilled(course: Course, config: DistillationConfig) -> None:
    """Distil the atoms on their own exercises."""
    if not course.missing("distillation", BUDGETS):
        return
    compiler = made(course, config, BUDGETS)
    watch = Watch(BUDGETS)
    compiler.distil({atom.id: [atom.statement] for atom in course.atoms}, observe=watch)
    keep(course, "distillation", compiler, watch)


def oracle(course: Course, config: DistillationConfig) -> None:
    """Distil the atoms on the questions that are asked."""
    if not course.missing("distillation_oracle", ORACLE):
        return
    compiler = made(course, config, ORACLE)
    watch = Watch(ORACLE)
    asked = {atom.id: [question.question] for atom, question in zip(course.atoms, course.questions, strict=True)}
    compiler.distil({atom.id: [atom.statement] for atom in course.atoms}, questions=asked, observe=watch)
    keep(course, "distillation_oracle", compiler, watch)


def refined(course: Course, config: DistillationConfig) -> None:
    """Refine the hypernetwork's adapters, gated as they are used."""
    budgets = [budget for budget in REFINED if budget]
    if not course.missing("refined", REFINED):
        return
    library, atoms = course.library, course.atoms
    began = time.process_time()
    codes = library.memory.compiler.compile(atoms)
    starts = library.memory.compiler.materialise(codes)
    hypernetwork = (time.process_time() - began) / len(atoms)
    compiler = made(course, config, budgets)
    weights = [gates(library, a, q.question) for a, q in zip(atoms, course.questions, strict=True)]
    course.record("refined, 0 steps", injected(atoms, starts, weights), hypernetwork)
    watch = Watch(budgets)
    compiler.refine(
        starts,
        [atom.statement for atom in atoms],
        learning_rate=REFINING_RATE,
        gate=lambda question, number: gates(library, atoms[number], question) or (),
        observe=watch,
    )
    keep(course, "refined", compiler, watch, weights=weights)


def made(course: Course, config: DistillationConfig, budgets: Sequence[int]) -> DistillationCompiler:
    return distillation_compiler(course.library, replace(config, steps=max(budgets), patience=None))


def keep(course: Course, name: str, compiler: DistillationCompiler, watch: Watch, *, weights: Any = None) -> None:
    """Ask with the adapters of every budget."""
    for step in watch.budgets:
        adapters = [AtomAdapter(a.id, compiler.spec, f) for a, f in zip(course.atoms, watch.factors[step], strict=True)]
        given = injected(course.atoms, adapters, weights or [None] * len(adapters))
        course.record(f"{name}, {step} steps", given, watch.seconds[step] / len(adapters))


def injected(atoms: Sequence[Atom], adapters: Sequence[AtomAdapter], weights: Sequence[Any]) -> list[Given]:
    return [
        Given(adapter=compose([adapter], rank_gates=[gate]), atoms=(atom.id,))
        for atom, adapter, gate in zip(atoms, adapters, weights, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the question answering files")
    parser.add_argument("--out", type=Path, default=Path("runs/out/distillation"))
    parser.add_argument("--limit", type=int, default=50, help="questions, each about another sentence")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    questions = sample(read_questions(options.data / "squad1.1.dev.jsonl.gz"), seed=options.seed)
    known = options.out / "results.json"
    arms = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
    with ParametricMemory.from_pretrained(path=options.out / "memory", device="cpu") as memory:
        library, chosen = filled(memory, questions, options.limit)
        atoms = [gold for question in chosen if (gold := library.gold(question))]
        course = Course(library, chosen, atoms, options.out, arms)
        print("| system | token F1 | contains | EM | NLL a token | CPU seconds an atom |\n|---|---|---|---|---|---|")
        for name in ("closed_book", "in_context"):
            if name not in arms:
                course.answer(name, LibrarySystem(name, library, SYSTEMS[name]), None)
        parts: list[Callable[[Course, DistillationConfig], None]] = [distilled, oracle, refined]
        for part in parts:
            part(course, memory.config.distillation)
    print("\n".join(["", *(row(arm, found) for arm, found in course.arms.items())]))


if __name__ == "__main__":
    main()
