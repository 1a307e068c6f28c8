"""The whole of `pmem train hypernetwork`, read top to bottom: data, base model, network, loop, checkpoint."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from parametric_memory.adapters.spec import spec_for
from parametric_memory.backends import BUILTIN_BASE, BUILTIN_KEY_ENCODER, HuggingFaceBackend, resolve_key_encoder
from parametric_memory.errors import CheckpointError, TrainingError
from parametric_memory.hypernetwork.checkpoint import (
    Checkpoint,
    Network,
    NetworkConfig,
    load_checkpoint,
    save_checkpoint,
)
from parametric_memory.hypernetwork.document import DocumentHypernetwork, document_config_for
from parametric_memory.hypernetwork.network import (
    AtomHypernetwork,
    HypernetworkConfig,
    calibrate,
    config_for,
    grown,
    grows,
    measure_inputs,
    unmeasured,
)
from parametric_memory.hypernetwork.states import layers_of
from parametric_memory.routing.span_router import load_token_router, shipped_token_router
from parametric_memory.training.completions import completions
from parametric_memory.training.corpus import Corpus, Example
from parametric_memory.training.curriculum import TrainingConfig
from parametric_memory.training.data import DEFAULT_MIXTURE, Source, read_corpus, reserved
from parametric_memory.training.exercises import Exercises, exercises
from parametric_memory.training.frozen import Frozen
from parametric_memory.training.greedy import Score, greedy_scores
from parametric_memory.training.lessons import Lessons
from parametric_memory.training.locating import Found, Locate, told
from parametric_memory.training.loop import Trainer
from parametric_memory.training.rivals import rivals
from parametric_memory.training.run import fast_dtype, this_machine
from parametric_memory.training.teacher import Teacher
from parametric_memory.training.world import add_world
from parametric_memory.types import AdapterSpec, stable_id

if TYPE_CHECKING:
    from accelerate import PartialState

logger = logging.getLogger(__name__)

CALIBRATION_PROMPTS = 128
#: So many of the held-out questions are answered greedily.
ANSWERED = 96
#: Most chunks that a document is cut into, to train a document compiler.
CHUNKS = 8


def train_hypernetwork(
    data: Path,
    out: Path,
    base: str = BUILTIN_BASE,
    config: TrainingConfig | None = None,
    *,
    init: Path | None = None,
    cache: Path | None = None,
    score: Score | None = None,
    resume: bool = True,
    progress: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Path:
    """Train a hypernetwork for a base model and write its checkpoint.

    A run that was stopped goes on from its last save when it is started again with the same settings.

    Args:
        data: Folder of question answering files (see `training.data`), or a file that `Corpus.save` wrote.
        out: Takes the log, the resumable state, cached states of the base model (a few GB), and ``checkpoint/``.
        base: The built-in alias, a local folder, or a hub id of a Llama-like model.
        config: All other settings.
        init: A checkpoint for this base model to begin with, in place of random weights.
        cache: Keeps the states of the base model in place of `out`; several runs may share it.
        score: Scores greedy answers to held-out questions (`evaluation.metrics.token_f1`).
        resume: Go on from what `out` holds; else start anew.
        progress: Called with the step and the mean terms at every log line.

    Returns:
        The folder of the checkpoint.

    Raises:
        TrainingError: If the data cannot be used, a loss is not finite, or `out` holds a run with other settings.
        CheckpointError: If `init` is no checkpoint for this base model and these settings.
    """
    run = prepare(data, out, base, config or TrainingConfig(), init=init, cache=cache)
    trainer = run.trainer
    if not (resume and trainer.resume()):
        run.begin()
    trainer.run(progress=progress, score=score and run.scorer(score))
    folder = out / "checkpoint"
    if trainer.accelerator.is_main_process:
        write_checkpoint(run, folder, score)
    return folder


@dataclass(frozen=True, slots=True)
class Run:
    """Everything of a training run, ready to be started; `init` is the digest of what it begins with, if it does."""

    trainer: Trainer
    backend: HuggingFaceBackend
    spec: AdapterSpec
    config: TrainingConfig
    init: str | None

    def begin(self) -> None:
        """Make the network as it is the run's beginning; what `out` holds of an earlier run goes."""
        self.calibrate()
        self.trainer.begin()

    def calibrate(self) -> None:
        """Give a network what it must know of its base model; one from a checkpoint knows it, but for new layers."""
        network, model = self.trainer.network, self.backend.model
        if not unmeasured(network):
            return
        items = self.trainer.lessons.exercises.items
        answered = [item for item in items if item.answer and item.example.places]
        some = random.Random(self.config.seed).sample(answered, min(CALIBRATION_PROMPTS, len(answered)))
        prompts = [torch.tensor(item.prompt) for item in some]
        answers = [torch.tensor(item.answer) for item in some]
        if self.init is None and isinstance(network, AtomHypernetwork):
            calibrate(network, model, self.spec.targets, prompts, answers)
        else:
            texts = [torch.cat(pair) for pair in zip(prompts, answers, strict=True)]
            measure_inputs(network, model, self.spec.targets, texts)

    def scorer(self, score: Score) -> Callable[[Network], dict[str, float]]:
        """Return what scores a network's greedy answers to held-out questions."""
        held_out, frozen = self.trainer.validation
        numbers = random.Random(0).sample(range(len(held_out)), min(ANSWERED, len(held_out)))

        def scored(network: Network) -> dict[str, float]:
            return greedy_scores(
                network, self.backend, self.spec, held_out, frozen,
                prompt=self.config.prompt, numbers=numbers, score=score,
            )  # fmt: skip

        return scored


def prepare(
    data: Path,
    out: Path,
    base: str,
    config: TrainingConfig,
    *,
    init: Path | None = None,
    cache: Path | None = None,
) -> Run:
    """Read data and base model, and put a run together; nothing is trained yet. Arguments as `train_hypernetwork` has.

    Raises:
        TrainingError: If there is nothing to train on, or to validate on.
        CheckpointError: If `init` does not fit.
    """
    torch.manual_seed(config.seed)
    corpus = corpus_of(data, synthetic=config.synthetic, seed=config.seed)
    backend = HuggingFaceBackend.from_pretrained(base, dtype=fast_dtype())
    model = backend.model
    if backend.model.device.type == "cpu":
        model.set_attn_implementation("eager")  # the fastest at these lengths, forward and backward
    spec = spec_for(model, base, last=min(config.layers, len(layers_of(model))))
    network = _new(model, spec, config)
    made, begun = network.config, None
    if init is not None:
        network, begun = _begun(init, spec, made)
    learned, completing = _learned(corpus, backend.tokenizer, config)
    held_out = exercises(
        corpus, some(corpus.validation, config.validation, 0), tokenizer=backend.tokenizer, prompt=config.prompt,
        contextual=config.contextual, varied=False,
    )  # fmt: skip
    logger.info("training on %d questions, validating on %d", len(learned) - len(completing), len(held_out))
    if len(learned) == len(completing) or not len(held_out):
        raise TrainingError(
            f"training on {data}: {len(learned)} exercises to train on and {len(held_out)} to validate on, after whole "
            "documents were held out; add documents with questions whose answers stand in one of their sentences"
        )
    keep = config.cache if config.cache is not None else not torch.cuda.is_available()
    cache = (cache or out / "cache") / spec.base_fingerprint if keep else None
    locate = _locating(config, corpus, backend)
    state = _processes()
    # The first process makes the files of the cache, the others find them.
    with state.main_process_first():
        frozen, checked = (
            Frozen(model, made, each, cache=cache, locate=locate(each, completes))
            for each, completes in ((learned, completing), (held_out, []))
        )
        teacher = _teacher(backend, spec, corpus, learned, config, cache)
    lessons = Lessons(learned, config, completions=completing, part=state.process_index, parts=state.num_processes)
    trainer = Trainer(
        network, model, spec.targets,
        lessons=lessons, frozen=frozen, validation=(held_out, checked), config=config, out=out, teacher=teacher,
        origin={"init": begun or "", "exercises": learned.digest, "base": spec.base_fingerprint},
    )  # fmt: skip
    return Run(trainer, backend, spec, config, begun)


def corpus_of(data: Path, *, synthetic: int, seed: int, mixture: Mapping[str, Source] = DEFAULT_MIXTURE) -> Corpus:
    """Return what a file of `Corpus.save` holds, or what `gather` makes of a folder."""
    return Corpus.load(data) if data.is_file() else gather(data, synthetic=synthetic, seed=seed, mixture=mixture)


def gather(
    data: Path,
    *,
    synthetic: int,
    seed: int,
    mixture: Mapping[str, Source] = DEFAULT_MIXTURE,
    scale: float = 1.0,
) -> Corpus:
    """Return the questions of a folder, with others about a synthetic world beside them.

    Args:
        data: Folder of question answering files (see `training.data`).
        synthetic: How many questions about a synthetic world.
        seed: Of that world.
        mixture: How much is taken of each file.
        scale: Multiplies that.

    Raises:
        TrainingError: If there is no file to read.
    """
    corpus = read_corpus(data, mixture, scale=scale)
    add_world(corpus, questions=synthetic, seed=seed)
    return corpus


def _new(model: Any, spec: AdapterSpec, config: TrainingConfig) -> Network:
    """Return a network as a run begins with it."""
    layers = len(spec.targets)
    if config.compiler == "document":
        return DocumentHypernetwork(document_config_for(model, layers=layers, rank=config.rank, width=config.width))
    switches = {name: getattr(config, name) for name in ("gated", "floored", "starts", "ends", "question_words")}
    sizes = {name: getattr(config, name) for name in ("width", "dropout", "gate_layers")}
    return AtomHypernetwork(config_for(model, layers=layers, **sizes, **switches))


def _learned(corpus: Corpus, tokenizer: Any, config: TrainingConfig) -> tuple[Exercises, list[int]]:
    """Return what is trained on, and the numbers of the completions among it."""
    draw = partial(some_together, corpus) if config.together else some
    pool = [example for example in corpus.train if is_reserved(corpus, example)] if config.reserved else corpus.train
    questions = draw(pool, config.examples, config.seed)
    touched = sorted({corpus.document_of[atom] for q in questions for atom in (*q.golds, *q.look_alikes)})
    atoms = [atom for document in touched for atom in corpus.documents[document]]
    completing: list[Example] = []
    if any(stage.completions for stage in config.curriculum):
        completing = some(completions(corpus, atoms, seed=config.seed), len(questions), config.seed)
    mined = rivals(corpus, questions, among=atoms) if any(max(s.distractors) for s in config.curriculum) else {}
    made = exercises(
        corpus, [*questions, *completing], tokenizer=tokenizer, prompt=config.prompt, rivals=mined,
        contextual=config.contextual, chunks=CHUNKS if config.compiler == "document" else 1,
    )  # fmt: skip
    completes = set(completing)
    return made, [number for number, item in enumerate(made.items) if item.example in completes]


def is_reserved(corpus: Corpus, example: Example) -> bool:
    """Return whether a question's document may be kept from token routers (see `training.data.reserved`)."""
    document = corpus.document_of[example.anchor]
    return reserved(corpus.texts[corpus.documents[document].start], title=corpus.contexts[document])


def some(examples: list[Example], count: int | None, seed: int) -> list[Example]:
    """Return a sample in its order: files follow one another, so the first ones would be of one kind."""
    if count is None or count >= len(examples):
        return examples
    return [examples[number] for number in sorted(random.Random(seed).sample(range(len(examples)), count))]


def some_together(corpus: Corpus, examples: list[Example], count: int | None, seed: int) -> list[Example]:
    """Return a sample in its order, all questions of some documents: a window that is read for one serves them all."""
    order = list(range(len(corpus.documents)))
    random.Random(seed).shuffle(order)
    place = {document: number for number, document in enumerate(order)}
    numbers = sorted(range(len(examples)), key=lambda n: (place[corpus.document_of[examples[n].anchor]], n))
    return [examples[number] for number in sorted(numbers[:count])]


def _begun(init: Path, spec: AdapterSpec, config: NetworkConfig) -> tuple[Network, str]:
    """Return the network of a checkpoint, trainable, and the digest of its weights.

    Raises:
        CheckpointError: If it was made for another base model or with other sizes.
    """
    found = load_checkpoint(init)
    network = found.network
    if (
        isinstance(network, AtomHypernetwork)
        and isinstance(config, HypernetworkConfig)
        and grows(network.config, config)
    ):
        network = grown(network, config)
    if found.spec.base_fingerprint != spec.base_fingerprint or network.config != config:
        raise CheckpointError(
            f"beginning with {init}: it is for {found.spec.base_model} ({found.spec.base_fingerprint}) with "
            f"{found.network.config}, this run is for {spec.base_model} ({spec.base_fingerprint}) with {config}; use "
            "the same base model, layers and width, and the same compiler, or begin without it"
        )
    return network.requires_grad_(True).train(), found.digest


def _locating(
    config: TrainingConfig, corpus: Corpus, backend: HuggingFaceBackend
) -> Callable[[Exercises, Sequence[int]], Locate | None]:
    """Return what makes, of exercises and the numbers of the completions among them, what says where they are answered.

    Raises:
        TrainingError: If that is a token router, and there is none.
    """
    if config.gates != "router":
        given = told if config.gates == "told" else None
        return lambda _asked, _completing: given
    folder = Path(config.token_router) if config.token_router else shipped_token_router(BUILTIN_KEY_ENCODER)
    if folder is None:
        raise TrainingError(
            "training with the gates of a token router: there is none in the package; train one with `pmem train "
            "router`, and name its folder as token_router"
        )
    router = load_token_router(folder, resolve_key_encoder(BUILTIN_KEY_ENCODER), device=str(backend.model.device))
    return lambda asked, completing: Found(router, corpus, asked, backend.tokenizer, completing=completing)


def _teacher(
    backend: HuggingFaceBackend,
    spec: AdapterSpec,
    corpus: Corpus,
    learned: Exercises,
    config: TrainingConfig,
    cache: Path | None,
) -> Teacher | None:
    weights = [stage.weights for stage in config.curriculum]
    if not any(each.teacher or each.consistency for each in weights):
        return None
    reader, told_by = None, [repr(config.prompt)]
    if config.teacher:
        from parametric_memory.adapters.peft_format import import_peft

        folder = Path(config.teacher)
        reader = import_peft(folder, spec=spec)
        told_by += [hashlib.blake2b((folder / "adapter_model.safetensors").read_bytes()).hexdigest()]
    # Another wording or another reader tells something else.
    kept = cache / f"teacher-{stable_id(*told_by)}" if cache else None
    return Teacher(backend.model, backend.tokenizer, corpus, learned, prompt=config.prompt, reader=reader, cache=kept)


def _processes() -> PartialState:
    """Return this process's place among those that share the run."""
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def write_checkpoint(run: Run, folder: Path, score: Score | None = None) -> Path:
    """Write the averaged network with a card that says how it was trained."""
    trainer = run.trainer
    measured = trainer.measures(run.scorer(score) if score else None)
    scores = {"0": measured["alone"], "3": measured["neighbours"]}
    training: dict[str, Any] = {
        "config": asdict(run.config),
        "init": run.init,
        "questions": len(trainer.lessons.exercises),
        "validation": scores | ({"greedy": measured["answers"]} if score else {}),
        "machine": this_machine(),
    }
    made = Checkpoint(trainer.averaged_network(), run.spec, run.config.prompt, training=training)
    save_checkpoint(made, folder, card=_card(made, run.config, scores))
    return folder


#: What a card says of a network beside the kinds of its compiler, and of its measures.
_WHAT = {
    "hypernetwork": ("Atom", "an atom (one sentence) into a micro-LoRA"),
    "document": ("Document", "a chunk of a document into a LoRA (Doc-to-LoRA, arXiv 2602.15902)"),
}
_MEASURES = {
    "nll": "answer NLL",
    "first": "first token",
    "hit": "most probable token in the answer",
    "start": "most probable start right",
}


def _card(checkpoint: Checkpoint, config: TrainingConfig, scores: Mapping[str, Mapping[str, float]]) -> str:
    name, does = _WHAT[checkpoint.compiler]
    measures = [measure for measure in _MEASURES if all(measure in found for found in scores.values())]
    head = " | ".join(["distractors", *(_MEASURES[measure] for measure in measures)])
    rows = "\n".join(
        f"| {count} | {' | '.join(f'{found[measure]:.3f}' for measure in measures)} |"
        for count, found in scores.items()
    )
    stages = ", ".join(f"{stage.name} ({stage.steps})" for stage in config.curriculum)
    return f"""# {name} hypernetwork for {checkpoint.spec.base_model}

Turns {does} of `{checkpoint.spec.targets[0]}` … `{checkpoint.spec.targets[-1]}`.
Base weights: fingerprint `{checkpoint.spec.base_fingerprint}`. Made by `pmem train hypernetwork`.

Trained for {config.total_steps} steps of {config.batch_size} over {checkpoint.training["questions"]} exercises
({checkpoint.training["machine"]}), in stages: {stages}. On documents that were held out, by the number of neighbouring
sentences beside the right one:

| {head} |
|{"---|" * (1 + len(measures))}
{rows}
"""
