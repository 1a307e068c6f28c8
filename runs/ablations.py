"""What matters in training the compiler: the same short run with one thing changed at a time.

    .venv/bin/python runs/ablations.py --data DATA --out runs/out/ablations --steps 600 [--seeds 0,1] [--only NAME,…]

Every variant sees the same questions in the same order for as many steps, by the curriculum or by a recipe: that of
`runs/recipes/told.toml` tells the place of the answer, and shows what matters in saying it (the variants of `SAYING`).
Prints a Markdown table of measures on documents that were held out, by the averaged weights. Variants that are done are
not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from parametric_memory.config import read_toml
from parametric_memory.evaluation.metrics import token_f1
from parametric_memory.training import STAGES, TrainingConfig, train_hypernetwork
from parametric_memory.training.curriculum import Stage

Change = Callable[[TrainingConfig], TrainingConfig]


def weighed(**weights: float) -> Change:
    """Return a change of weights in every stage that learns from answers."""

    def change(stage: Stage) -> Stage:
        if not stage.weights.answers:
            return stage
        return replace(stage, weights=replace(stage.weights, **weights))

    return lambda config: replace(config, stages=tuple(change(stage) for stage in config.stages))


def without(*names: str) -> Change:
    """Return a curriculum without these stages; the others take their steps."""
    return lambda config: replace(config, stages=tuple(s for s in config.stages if s.name not in names))


def warmed(config: TrainingConfig) -> TrainingConfig:
    """Return a curriculum that begins with completing sentences, for a fifth of its steps."""
    completion = next(stage for stage in STAGES if stage.name == "completion")
    steps = max(1, sum(stage.steps for stage in config.stages) // 4)
    return replace(config, stages=(replace(completion, steps=steps), *config.stages))


VARIANTS: dict[str, Change] = {
    "as shipped": lambda config: config,
    "no gates": lambda config: replace(config, gated=False, starts=False),
    "no floor": lambda config: replace(config, floored=False),
    "no starting ranks": lambda config: replace(config, starts=False),
    "no ending ranks": lambda config: replace(config, ends=False),
    "question words": lambda config: replace(config, question_words=True),
    "no dropout": lambda config: replace(config, dropout=0.0),
    "2 layers": lambda config: replace(config, layers=2),
    "4 layers": lambda config: replace(config, layers=4),
    "10 layers": lambda config: replace(config, layers=10),
    "width 64": lambda config: replace(config, width=64),
    "width 128": lambda config: replace(config, width=128),
    "width 384": lambda config: replace(config, width=384),
    "isolated atoms": lambda config: replace(config, contextual=False),
    "no gates stage": without("gates"),
    "no completion stage": without("completion"),
    "completion first": warmed,
    "no stages": lambda config: replace(config, stages=(replace(STAGES[-1], fall=0.05),)),
    "teacher beside likelihood": weighed(teacher=0.5),
    "teacher alone": weighed(nll=0.0, teacher=1.0),
    "no made-up world": lambda config: replace(config, synthetic=0),
    "made-up world doubled": lambda config: replace(config, synthetic=2 * config.synthetic),
    "likelihood and spans alone": weighed(atoms=0.0, quiet=0.0, preserve=0.0),
    "sparse": weighed(sparsity=0.01),
}
#: What may matter where the place of the answer is told.
SAYING = (
    "as shipped", "no floor", "no starting ranks", "no ending ranks", "no dropout", "2 layers", "4 layers",
    "10 layers", "width 64", "width 128", "isolated atoms", "completion first", "teacher beside likelihood",
    "teacher alone", "sparse",
)  # fmt: skip
MEASURES = ("nll", "first", "token", "hit", "start")


def main() -> None:
    """Run the variants, and print their table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--examples", type=int)
    parser.add_argument("--validation", type=int, default=1024, help="held-out questions")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", help="by default all; with a recipe, those of SAYING")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    shipped = read_toml(given.recipe, TrainingConfig) if given.recipe else TrainingConfig()
    names = given.only.split(",") if given.only else SAYING if given.recipe else VARIANTS
    for seed in map(int, given.seeds.split(",")):
        for name in names:
            config = replace(
                shipped, steps=given.steps, batch_size=given.batch_size, examples=given.examples, seed=seed,
                validation=given.validation, evaluate_every=given.steps,
            )  # fmt: skip
            run(name, VARIANTS[name](config), given)
            print(table(given.out), flush=True)


def run(name: str, config: TrainingConfig, given: argparse.Namespace) -> None:
    """Train one variant, unless it has been; the states of frozen layers are shared by those that read alike."""
    folder = given.out / f"{name.replace(' ', '-')}-{config.seed}"
    if not (folder / "checkpoint" / "config.json").exists():
        train_hypernetwork(given.data, folder, given.base, config, cache=given.out / "cache", score=token_f1)


def table(out: Path) -> str:
    """Return the measures of all variants that are done."""
    rows = ["| variant | seed | " + " | ".join(f"{m}, alone / among 3" for m in (*MEASURES, "F1")) + " |"]
    rows.append("|---" * (len(MEASURES) + 3) + "|")
    for path in sorted(out.glob("*/checkpoint/config.json")):
        training = json.loads(path.read_text(encoding="utf-8"))["training"]
        found, seed = training["validation"], training["config"]["seed"]
        cells = [f"{found['0'][m]:.3f} / {found['3'][m]:.3f}" for m in MEASURES]
        cells.append(f"{found['greedy']['alone']:.3f} / {found['greedy']['neighbours']:.3f}")
        name = path.parent.parent.name.rpartition("-")[0].replace("-", " ")
        rows.append(f"| {name} | {seed} | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
