"""The whole of `pmem train router`, read top to bottom: data, key encoder, loop, folder with a card."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from parametric_memory.adapters.spec import fingerprint
from parametric_memory.backends import BUILTIN_KEY_ENCODER
from parametric_memory.backends.models import resolve_key_encoder
from parametric_memory.errors import TrainingError
from parametric_memory.routing.span_router import (
    Provenance,
    begin,
    load_weights,
    save_token_router,
)
from parametric_memory.training.corpus import Corpus, Example
from parametric_memory.training.data import SPAN_MIXTURE
from parametric_memory.training.pairings import Pairings
from parametric_memory.training.recipe import corpus_of, is_reserved, some
from parametric_memory.training.rivals import rivals
from parametric_memory.training.run import this_machine
from parametric_memory.training.token_router_loop import TokenRouterConfig, TokenRouterTrainer

logger = logging.getLogger(__name__)


def train_token_router(
    data: Path,
    out: Path,
    encoder: str = BUILTIN_KEY_ENCODER,
    config: TokenRouterConfig | None = None,
    *,
    init: Path | None = None,
    resume: bool = True,
    progress: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Path:
    """Train a token router on top of a key encoder and write its folder.

    A run that was stopped goes on from its last save when it is started again with the same settings.

    Args:
        data: Folder of question answering files (see `training.data`), or what `pmem train corpus` made of one.
        out: Takes the log, the resumable state, and ``router/``.
        encoder: The built-in alias, a local folder, or a hub id of a sentence-transformers model on BERT.
        config: All other settings.
        init: Begin with this token router's weights.
        resume: Go on from what `out` holds; else start anew.
        progress: Called with the step and the mean terms at every log line.

    Returns:
        The folder of the token router.

    Raises:
        TrainingError: If the data cannot be used, a loss is not finite, or `out` holds a run with other settings.
    """
    config = config or TokenRouterConfig()
    torch.manual_seed(config.seed)
    corpus = corpus_of(data, synthetic=config.synthetic, seed=config.seed, mixture=SPAN_MIXTURE)
    network, tokenizer = begin(resolve_key_encoder(encoder), frozen=config.frozen)
    provenance = Provenance(encoder, fingerprint(network.encoder))
    pool = [example for example in corpus.train if not (config.reserve and is_reserved(corpus, example))]
    drawn = some(pool, config.examples, config.seed)
    train = Pairings(corpus, drawn, tokenizer, rivals=_rivals(corpus, drawn))
    # Held-out questions are read with their neighbours.
    held_out = Pairings(corpus, corpus.validation, tokenizer)
    logger.info("training a token router on %d questions, validating on %d", len(train), len(held_out))
    if not len(train) or not len(held_out):
        raise TrainingError(
            f"training on {data}: {len(train)} questions to train on and {len(held_out)} to validate on, after whole "
            "documents were held out; add documents with questions whose answers stand in them"
        )
    if init is not None:
        load_weights(network, init)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    trainer = TokenRouterTrainer(network, train, held_out, config, out)
    if not (resume and trainer.resume()):
        trainer.begin()
    trainer.run(progress=progress)
    return write_token_router(trainer, out / "router", provenance)


def write_token_router(trainer: TokenRouterTrainer, folder: Path, provenance: Provenance) -> Path:
    """Write the token router with a card that says how it was trained; return its folder."""
    measures, machine = trainer.measures(), this_machine()
    training = {
        "config": asdict(trainer.config),
        "questions": len(trainer.train),
        "validation": measures,
        "machine": machine,
    }
    made = replace(provenance, training=training)
    save_token_router(trainer.network, folder, made, card=_card(trainer, made, measures, machine))
    return folder


def _rivals(corpus: Corpus, examples: Sequence[Example]) -> dict[Example, list[int]]:
    touched = {corpus.document_of[atom] for example in examples for atom in (*example.golds, *example.look_alikes)}
    return rivals(corpus, examples, among=[atom for document in touched for atom in corpus.documents[document]])


def _card(trainer: TokenRouterTrainer, provenance: Provenance, measures: Mapping[str, float], machine: str) -> str:
    def cell(term: str, kind: str) -> str:
        value = measures.get(f"{term}_{kind}", math.nan)
        return "–" if math.isnan(value) else f"{value:.3f}"

    terms = ("nll", "hit", "start", "atom", "still")
    rows = "\n".join(f"| {told} | {' | '.join(cell(term, kind) for term in terms)} |" for kind, told in _TOLD.items())
    config, asked = trainer.config, len(trainer.validation["alone"])
    layers = len(trainer.network.encoder.encoder.layer)
    return f"""# Token router on {provenance.encoder}

Finds which tokens of which atoms answer a question, whatever base model is asked. It goes on from the key encoder
`{provenance.encoder}`: all but its embeddings and its lowest {config.frozen} of {layers} layers were trained further,
and two heads. Fingerprint of the encoder: `{provenance.fingerprint}`. Made by `pmem train router`.

Trained for {config.steps} steps of {config.batch_size} questions over {len(trainer.train)} questions ({machine}).
On {asked} questions about documents that were held out, by the atoms that were read: the loss of the answer's span in
nats, and how often the most probable token lies in the answer, the most probable start is its first token, the most
probable atom answers, and nothing is more probable than all atoms.

| atoms | loss | token | start | atom | nothing |
|---|---|---|---|---|---|
{rows}
"""


_TOLD = {
    "alone": "those that answer",
    "neighbours": "and three of the same document",
    "nothing": "three that do not answer",
    "twisted": "as before, and the question changed so that they do not answer",
    "unled": "one that answers, others that lead there, and three of the same document",
    "led": "the same, asked as a further hop asks: with what those name",
}
