"""The curriculum: what a run learns, in which order, and how each of its stages weighs the terms of the objective.

In the order that measurements found cheapest: first the gates learn, without the base model, which tokens answer;
then the micro-LoRAs learn to say a sentence they hold; then both learn to answer questions, one atom at a time; then
among distractors, as at inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import Literal

from parametric_memory.config import PromptConfig, Table
from parametric_memory.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights(Table):
    """How much each term counts (see `training.losses`); one of weight 0 is not computed.

    Attributes:
        nll: Of the answers' tokens.
        span: Gates: which tokens answer, and where the answer starts.
        atoms: Gates: which atoms answer.
        teacher: Divergence from the base model that has the text in its prompt.
        quiet: Norm of what is injected where nothing answers.
        preserve: Divergence from the bare base model where nothing answers.
        sparsity: Norms of ranks.
        consistency: Symmetric divergence of composed atoms from their joint text, where an answer takes several.
    """

    nll: float = 0.0
    span: float = 0.0
    atoms: float = 0.0
    teacher: float = 0.0
    quiet: float = 0.0
    preserve: float = 0.0
    sparsity: float = 0.0
    consistency: float = 0.0

    def __post_init__(self) -> None:
        """Refuse weights that teach nothing or push away."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        if any(value < 0 for value in values.values()) or not any(values.values()):
            raise ConfigError(f"weights of a stage: {values}; none may be negative, and at least one positive")

    @property
    def answers(self) -> bool:
        """Whether anything but the gates is learned, so that the base model's upper layers have to run."""
        return any(getattr(self, each.name) for each in fields(self) if each.name not in {"span", "atoms"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Table):
    """One stretch of the curriculum.

    Attributes:
        name: For the log.
        steps: Optimiser steps.
        weights: Of the terms.
        learning_rate: At the end of the warm-up.
        fall: Share of the rate that is left at the stage's end; it falls linearly.
        completions: Share of a batch's rows that complete a sentence; the others answer questions.
        distractors: The number of other atoms beside a row's own is drawn from these, for every batch.
        nothing: Share of the rows with distractors whose own atoms are left out, so that nothing answers them.
    """

    name: str
    steps: int
    weights: Weights
    learning_rate: float = 1e-3
    fall: float = 0.5
    completions: float = 0.0
    distractors: tuple[int, ...] = (0,)
    nothing: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        shares = {name: getattr(self, name) for name in ("fall", "completions", "nothing")}
        problems = [f"{name} is {share}, expected 0 to 1" for name, share in shares.items() if not 0 <= share <= 1]
        if self.steps < 1:
            problems.append(f"steps is {self.steps}, expected 1 or more")
        if not self.distractors or min(self.distractors) < 0:
            problems.append(f"distractors is {self.distractors}, expected numbers from 0 on")
        if problems:
            raise ConfigError(f"stage {self.name!r} of the curriculum: " + "; ".join(problems))


_ANSWERS = Weights(nll=1.0, span=0.3, atoms=0.1, quiet=0.05, preserve=0.1)

#: The shipped curriculum; its steps are shares of a run's steps (see `TrainingConfig.curriculum`).
STAGES = (
    Stage(
        name="gates",
        steps=20,
        weights=Weights(span=1.0, atoms=0.5),
        distractors=(0, 1, 3, 7),
        fall=1.0,
    ),
    Stage(
        name="completion",
        steps=10,
        weights=Weights(nll=1.0, span=0.3),
        completions=0.8,
        fall=1.0,
    ),
    Stage(name="alone", steps=25, weights=_ANSWERS, completions=0.1, fall=0.7),
    Stage(
        name="among others",
        steps=45,
        weights=_ANSWERS,
        completions=0.05,
        distractors=(0, 1, 1, 3, 3, 7),
        learning_rate=7e-4,
        fall=0.05,
    ),
)

#: Doc-to-LoRA's: first one chunk, then up to eight, without the gates' terms; the distractors are other chunks.
_CHUNKS = Weights(teacher=1.0, preserve=0.1, sparsity=0.01)
DOCUMENT_STAGES = (
    Stage(name="one chunk", steps=80, weights=_CHUNKS, fall=0.3),
    Stage(
        name="several chunks",
        steps=20,
        weights=_CHUNKS,
        distractors=(0, 1, 2, 3, 4, 5, 6, 7),
        learning_rate=3e-4,
        fall=0.05,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(Table):
    """How long, how fast, and on what.

    Attributes:
        compiler: ``hypernetwork``, of atoms, or ``document``.
        steps: Optimiser steps of the whole run, shared out over the stages in proportion to theirs; None takes them as
            they are.
        stages: What is learned, in order; by default what is shipped for the compiler.
        examples: Questions that are drawn from; None takes all. More epochs over fewer are cheaper on a CPU, where the
            states of the lower layers are computed once a question.
        together: They are drawn document by document, so that what is read once serves all of a document's questions;
            else one by one.
        reserved: They are about documents that ``pmem train router --reserve`` leaves out.
        synthetic: Questions about made-up worlds beside those of the data.
        batch_size: Rows a step, over all processes.
        warmup: Steps at the beginning of each stage in which the learning rate rises.
        clip: Largest gradient norm.
        ema: Decay of the averaged weights, which are what is evaluated and shipped; it rises to this from 0.
        save_seconds: Time between checkpoints.
        evaluate_every: Steps between validations.
        validation: Held-out questions that are validated on.
        log_every: Steps between log lines.
        seed: Of the order, the distractors and the initial weights.
        layers: Adapted layers, counted from the last; more than there are takes all.
        width: Width of a code, or of a document compiler's latents.
        dropout: Of an atom compiler's features and layers.
        gate_layers: Of an atom compiler's own gates; 0 if it is to have none, and to say what a token router finds.
        rank: Of a document compiler's adapters.
        gated: Continuing ranks are weighed by the gates (see `HypernetworkConfig`).
        floored: They keep a floor.
        starts: Starting ranks speak.
        ends: There are ending ranks (see `HypernetworkConfig`).
        gates: What ranks are weighed by: the network's ``own`` gates; where the answer stands, as it is ``told``; or
            what a token ``router`` finds. By the last two they learn to say an answer and not to find it.
        token_router: Folder of that token router; None for the one in the package.
        question_words: Gates read questions as atoms are read, with their tokens' embeddings.
        contextual: Atoms are read in windows of their document; else each by itself.
        cache: States of the frozen lower layers are kept on disk; else computed for every batch. None: kept on a CPU.
        teacher: Folder of a reader (`pmem train reader`) to be taught by; None for the base model itself.
        prompt: The wording around questions at inference. Training mixes in others (see `training.wordings`).
    """

    compiler: Literal["hypernetwork", "document"] = "hypernetwork"
    steps: int | None = 4000
    stages: tuple[Stage, ...] = STAGES
    examples: int | None = None
    together: bool = False
    reserved: bool = False
    synthetic: int = 4000
    batch_size: int = 32
    warmup: int = 50
    clip: float = 1.0
    ema: float = 0.998
    save_seconds: float = 180.0
    evaluate_every: int = 250
    validation: int = 1024
    log_every: int = 25
    seed: int = 0
    layers: int = 6
    width: int = 320
    dropout: float = 0.1
    gate_layers: int = 2
    rank: int = 8
    gated: bool = True
    floored: bool = True
    starts: bool = True
    ends: bool = False
    gates: Literal["own", "told", "router"] = "own"
    token_router: str | None = None
    question_words: bool = False
    contextual: bool = True
    cache: bool | None = None
    teacher: str | None = None
    prompt: PromptConfig = field(default_factory=PromptConfig)

    def __post_init__(self) -> None:
        """Take the shipped stages of the compiler, and refuse those that it cannot learn from."""
        if self.compiler == "document" and self.stages == STAGES:
            object.__setattr__(self, "stages", DOCUMENT_STAGES)
        if self.compiler == "document" and self.gates != "own":
            raise ConfigError(
                f'training a document compiler: gates = "{self.gates}" weighs the ranks of atoms, and it has none; '
                "leave gates out"
            )
        if self.compiler == "hypernetwork" and not self.gate_layers and self.gates == "own":
            raise ConfigError(
                "training a compiler without gates of its own (gate_layers = 0): its ranks cannot be weighed by them; "
                'take gates = "router" or "told"'
            )
        gateless = self.compiler == "document" or not self.gate_layers
        gates = [stage.name for stage in self.stages if stage.weights.span or stage.weights.atoms]
        if gateless and gates:
            raise ConfigError(
                f"the curriculum of a {self.compiler} compiler without gates: the stages {gates} weigh span or atoms, "
                "which are learned by gates; weigh teacher or nll"
            )

    @property
    def curriculum(self) -> tuple[Stage, ...]:
        """The stages, with as many steps as they take in this run."""
        if self.steps is None:
            return self.stages
        ends = list(accumulate(stage.steps for stage in self.stages))
        # Ends are rounded, not lengths, so that the whole is exactly as long as asked for.
        bounds = [0, *(round(end * self.steps / ends[-1]) for end in ends)]
        spans = zip(self.stages, bounds, bounds[1:], strict=False)
        return tuple(replace(stage, steps=end - begin) for stage, begin, end in spans if end > begin)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return sum(stage.steps for stage in self.curriculum)


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a step stands: its stage, that stage's number, and the step's number within it."""

    stage: Stage
    number: int
    step: int


def moment(stages: Sequence[Stage], step: int) -> Moment:
    """Return where a step of the whole run stands.

    Raises:
        IndexError: If the curriculum is over by then.
    """
    before = 0
    for number, stage in enumerate(stages):
        if step < before + stage.steps:
            return Moment(stage, number, step - before)
        before += stage.steps
    raise IndexError(f"step {step} of a curriculum of {before}")
