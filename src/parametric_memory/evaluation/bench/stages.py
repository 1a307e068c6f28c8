"""What every step costs: documents compiled beside a forward pass, questions asked beside RAG and the plain base.

All systems take turns on the same questions in the same run, every one makes the same number of tokens (end tokens are
ignored, so that a short answer is not a fast one), and every stage is timed by itself; their sum is the total. The
steps are those of `ParametricMemory.ask`, one public method after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

import torch

from parametric_memory.adapters.inject import inject
from parametric_memory.backends import HuggingFaceBackend
from parametric_memory.backends.decoding import Decoding, Sampler, forward
from parametric_memory.backends.text import TextStream
from parametric_memory.config import GenerationConfig
from parametric_memory.errors import ConfigError
from parametric_memory.evaluation.bench.clock import Clock, Laps
from parametric_memory.evaluation.bench.spread import by_stage, ratio
from parametric_memory.evaluation.bench.workload import Workload
from parametric_memory.evaluation.systems import cut_around
from parametric_memory.hypernetwork.chat import prompt_ids
from parametric_memory.memory import ParametricMemory
from parametric_memory.memory.answers import best_first
from parametric_memory.types import ComposedAdapter, Document, Route

#: Called with what is being done, how many of it are done, and of how many.
Progress: TypeAlias = Callable[[str, int, int], None]

#: Passages in a prompt of RAG.
PASSAGES = 4
#: Characters of a passage of `rag_passages`, as retrieval applications cut them.
PASSAGE_CHARS = 500
_GREEDY = GenerationConfig()


@dataclass(frozen=True, slots=True)
class Walk:
    """One question answered: milliseconds by stage, tokens of the prompt, and the tokens that came out."""

    ms: Mapping[str, float]
    prompt_tokens: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """What all systems work with: a memory that holds the documents, a clock, and the length of an answer in tokens."""

    memory: ParametricMemory
    clock: Clock
    tokens: int


System: TypeAlias = Callable[[Bench, str], Walk]


def measure_stages(bench: Bench, load: Workload, *, repeats: int, progress: Progress) -> dict[str, Any]:
    """Add the documents, then ask the questions, and return what each took.

    Args:
        bench: Its memory is empty.
        load: Documents and questions.
        repeats: How often every question is asked of every system.
        progress: Called as the work goes on.
    """
    adding = _add_all(bench, load.documents, progress)
    walks = _ask_all(bench, load.questions * repeats, progress)
    totals = {name: [sum(walk.ms.values()) for walk in found] for name, found in walks.items()}
    return {
        "add": adding,
        "tokens": bench.tokens,
        "questions": len(load.questions),
        "repeats": repeats,
        "systems": {
            name: {
                "stages": by_stage([walk.ms for walk in found]),
                "prompt_tokens": fmean(walk.prompt_tokens for walk in found),
            }
            for name, found in walks.items()
        },
        "ratios": {f"ask/{other}": ratio(totals["ask"], totals[other]) for other in SYSTEMS if other != "ask"},
    }


# ---------------------------------------------------------------- adding


def _add_all(bench: Bench, documents: Sequence[Document], progress: Progress) -> dict[str, Any]:
    """Add every document stage by stage; before or after it, in turns, the base model reads the same text."""
    ids = [_ids(bench.memory, document) for document in documents]
    # Unmeasured, so that nobody pays for what happens only once.
    _forward(bench, ids[0])
    bench.memory.compile(bench.memory.extract(documents[0]))
    rows: list[dict[str, float]] = []
    passes: list[float] = []
    for number, (document, text) in enumerate(zip(documents, ids, strict=True)):
        progress("stages: documents", number, len(documents))
        if number % 2:
            passes.append(_forward(bench, text))
        rows.append(_add(bench, document))
        if not number % 2:
            passes.append(_forward(bench, text))
    progress("stages: documents", len(documents), len(documents))
    tokens = sum(map(len, ids))
    per_token = {name: sum(row[name] for row in rows) / tokens for name in rows[0]}
    return {
        "documents": len(documents),
        "source_tokens": tokens,
        "stages": by_stage(rows),
        "forward": by_stage([{"forward": ms} for ms in passes])["forward"],
        "ms_per_token": per_token | {"forward": sum(passes) / tokens},
        "ratios": {
            "compile/forward": ratio([row["compile"] for row in rows], passes),
            "add/forward": ratio([sum(row.values()) for row in rows], passes),
        },
    }


def _add(bench: Bench, document: Document) -> dict[str, float]:
    memory, laps = bench.memory, Laps(bench.clock)
    with laps("extract"):
        atoms = memory.extract(document)
    with laps("keys"):
        keys = memory.encode_keys(atoms)
    with laps("compile"):
        codes = memory.compile(atoms)
    with laps("put"):
        memory.store.put(document, atoms, keys, codes)
    return laps.ms


@torch.inference_mode()
def _forward(bench: Bench, ids: Sequence[int]) -> float:
    """Return the milliseconds of one forward pass over the ids, in as many pieces as the model's window demands."""
    backend, laps = hugging_face(bench.memory), Laps(bench.clock)
    window = getattr(backend.model.config.get_text_config(), "max_position_embeddings", None) or len(ids)
    with laps("forward"):
        for begin in range(0, len(ids), window):
            piece = torch.tensor([ids[begin : begin + window]], device=backend.model.device)
            forward(backend.model, piece, None, keep=1)
    return laps.ms["forward"]


def _ids(memory: ParametricMemory, document: Document) -> list[int]:
    ids: list[int] = hugging_face(memory).tokenizer(document.text, add_special_tokens=False).input_ids
    return ids


# ---------------------------------------------------------------- asking


def _ask_all(bench: Bench, questions: Sequence[str], progress: Progress) -> dict[str, list[Walk]]:
    """Ask every system every question; which one begins changes with every question."""
    walks: dict[str, list[Walk]] = {name: [] for name in SYSTEMS}
    for system in SYSTEMS.values():
        for question in questions[:2]:
            system(bench, question)
    names = list(SYSTEMS)
    for number, question in enumerate(questions):
        progress("stages: questions", number, len(questions))
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            walks[name].append(SYSTEMS[name](bench, question))
    progress("stages: questions", len(questions), len(questions))
    return walks


def ask(bench: Bench, question: str) -> Walk:
    """Answer from weights, as `ParametricMemory.ask` does."""
    memory, laps = bench.memory, Laps(bench.clock)
    route = _route(memory, question, laps)
    with laps("gate"):
        route = memory.gate(question, route)
    with laps("load"):
        codes = memory.store.codes([routed.atom.id for routed in route.selected])
    with laps("materialise"):
        adapters = memory.compiler.materialise(codes)
    with laps("compose"):
        adapter = memory.compose(route, adapters)
    with laps("cite"):
        memory.cite(route)
    return _generate(bench, question, (), adapter, laps)


def rag(bench: Bench, question: str) -> Walk:
    """Answer with the best four sentences in the prompt: as short as RAG's prompt can be, its strongest case."""
    memory, laps = bench.memory, Laps(bench.clock)
    route = _best(_route(memory, question, laps))
    with laps("cite"):
        memory.cite(route)
    return _generate(bench, question, [routed.atom.statement for routed in route.selected], None, laps)


def rag_passages(bench: Bench, question: str) -> Walk:
    """Answer with the best four passages of 500 characters in the prompt, as retrieval applications cut them."""
    memory, laps = bench.memory, Laps(bench.clock)
    route = _best(_route(memory, question, laps))
    with laps("cite"):
        texts = [(memory.store.document(routed.atom.document_id).text, routed.atom.span) for routed in route.selected]
        passages = list(dict.fromkeys(cut_around(text, span, PASSAGE_CHARS) for text, span in texts))
    return _generate(bench, question, passages, None, laps)


def plain(bench: Bench, question: str) -> Walk:
    """Answer from the base model alone."""
    return _generate(bench, question, (), None, Laps(bench.clock))


SYSTEMS: Mapping[str, System] = {"ask": ask, "rag": rag, "rag_passages": rag_passages, "plain": plain}


def _route(memory: ParametricMemory, question: str, laps: Laps) -> Route:
    with laps("encode"):
        query = memory.encode_query(question)
    with laps("search"):
        candidates = memory.candidates(query)
    with laps("route"):
        return memory.route(query, candidates)


def _best(route: Route) -> Route:
    return Route(route.query, tuple(best_first(route, PASSAGES)))


def _generate(
    bench: Bench, question: str, passages: Sequence[str], adapter: ComposedAdapter | None, laps: Laps
) -> Walk:
    backend = hugging_face(bench.memory)
    with laps("prompt"):
        ids = prompt_ids(backend.tokenizer, bench.memory.prompt.conversation(question, passages))
    with ExitStack() as injected:
        with laps("inject"):
            injected.enter_context(inject(backend.model, adapter))
        with laps("prefill"):
            decoding = Decoding(backend.model, [ids], Sampler(_GREEDY, 1))
            decoding.read()
        with laps("decode"):
            text, tokens = TextStream(backend.tokenizer), []
            for _ in range(bench.tokens):
                tokens += decoding.step()
                text.push(tokens[-1])
    return Walk(laps.ms, len(ids), tuple(tokens))


def hugging_face(memory: ParametricMemory) -> HuggingFaceBackend:
    """Return the memory's backend.

    Raises:
        ConfigError: If it is another one: its stages cannot be told apart from outside.
    """
    if not isinstance(memory.backend, HuggingFaceBackend):
        raise ConfigError(
            f"measuring the stages of {type(memory.backend).__name__}: only a HuggingFaceBackend can be stopped "
            "between prefill and decode; pass a memory that has one"
        )
    return memory.backend
