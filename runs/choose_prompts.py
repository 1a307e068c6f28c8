"""Choose how the opponents that read are asked: wordings, worked examples, and a RAG app's chunks, on training data.

    OMP_NUM_THREADS=1 python runs/choose_prompts.py --data DIR

Every candidate answers training questions greedily, with the gold sentence in the prompt or with chunks found by a RAG
app, and token F1 decides: on a third of the questions for all, on all of them for the best few. RAG is chosen three
times on three times as many questions: by words, by keys, and by keys for the base model's reader. Only ``*.train*``
files are read. Answers are kept in ``--out``, so that a run that was stopped goes on. Writes the choice, with every
candidate's scores, to ``src/parametric_memory/evaluation/wordings/BASE.json``. With ``--rag`` the wordings stay those
of that file, and only what RAG shows is chosen anew.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import random
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from parametric_memory.backends import HuggingFaceBackend
from parametric_memory.backends.models import BUILTIN_BASE, BUILTIN_KEY_ENCODER, resolve_key_encoder
from parametric_memory.config import PromptConfig
from parametric_memory.evaluation.datasets import Question, read_questions, sample
from parametric_memory.evaluation.metrics import containment, score
from parametric_memory.evaluation.prompts import (
    CANDIDATES,
    FORMAT,
    SHIPPED,
    Shot,
    Wording,
    load_choice,
    shipped_choice,
    wording_row,
)
from parametric_memory.evaluation.rag import ChunkIndex
from parametric_memory.evaluation.reader import load_reader, reader_digest
from parametric_memory.evaluation.systems import GENERATION, gold_atom, holds_answer
from parametric_memory.hypernetwork.checkpoint import load_checkpoint, shipped_checkpoint
from parametric_memory.ingest import RuleExtractor, extract_document
from parametric_memory.routing import SentenceTransformerEncoder
from parametric_memory.types import ComposedAdapter, Document, Message, stable_id

logger = logging.getLogger("choose_prompts")

#: Questions by file. The kinds are those that are measured later: one paragraph, one sentence, reviews, applying a text
#: to a situation, documents that contradict the world, several paragraphs of which one or two matter.
MIXTURE = {
    "squad1.1.train": 30,
    "squadshifts_amazon.train": 8,
    "qamr.train1": 4,
    "ropes.train": 10,
    "nq_swap.train": 4,
    "hotpotqa_distractor.train": 8,
    "2wikimultihopqa_distractor.train": 8,
}
SHOTS_FROM = "squad1.1.train"
#: Examples say by themselves what is wanted: beside the best wording they are tried without any instruction.
PLAIN = Wording(name="plain")
FIRST_SHARE = 1 / 3
#: RAG has more to choose, and is chosen on so many times as many questions.
RAG_TIMES = 3
#: (chunk_chars, passages), from little text to much.
GRID = [(200, 1), (200, 2), (200, 4), (400, 1), (400, 2), (400, 4), (800, 1), (800, 2)]


@dataclass(slots=True)
class Bench:
    """The questions, the base model, and what was answered so far."""

    backend: HuggingFaceBackend
    questions: list[Question]
    gold: dict[str, str]
    out: Path
    answers: dict[str, str] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            self.answers = dict(json.loads(line) for line in self._file.read_text(encoding="utf-8").splitlines())

    @property
    def _file(self) -> Path:
        return self.out / "generations.jsonl"

    @property
    def first(self) -> list[Question]:
        """A third of the questions, of every kind."""
        return self.questions[: round(len(self.questions) * FIRST_SHARE)]

    def measure(self, wording: Wording, shown: Shown, questions: Sequence[Question]) -> float:
        """Return the mean F1 of a candidate, and add its line to the table."""
        passages = [shown.passages(question) for question in questions]
        turns = [wording.conversation(q.question, found) for q, found in zip(questions, passages, strict=True)]
        texts = self._generate(turns, shown.adapter)
        scores = [score(text, question.answers) for text, question in zip(texts, questions, strict=True)]
        found = [any(containment(" ".join(p), a) for a in q.answers) for q, p in zip(questions, passages, strict=True)]
        line = {
            "shown": shown.name,
            "chunk_chars": shown.chunk_chars,
            "passages": shown.k,
            "wording": wording.name,
            "questions": len(questions),
            "f1": round(fmean(one.f1 for one in scores), 4),
            "em": round(fmean(one.em for one in scores), 4),
            "containment": round(fmean(one.containment for one in scores), 4),
            "answer_shown": round(fmean(found), 4),
            "prompt_chars": round(fmean(sum(len(turn["content"]) for turn in one) for one in turns)),
        }
        logger.info("%s", json.dumps(line))
        self.table = [row for row in self.table if not _same(row, line)] + [line]
        return float(line["f1"])

    def _generate(self, turns: Sequence[list[Message]], adapter: ComposedAdapter | None) -> list[str]:
        # What a reader said must not pass for what the base model says.
        own = [] if adapter is None else [reader_digest(self.backend)]
        keys = [stable_id(json.dumps(one), *own) for one in turns]
        new = {key: one for key, one in zip(keys, turns, strict=True) if key not in self.answers}
        made = self.backend.generate(list(new.values()), adapters=[adapter] * len(new), config=GENERATION)
        fresh = {key: generation.text.strip() for key, generation in zip(new, made, strict=True)}
        with self._file.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(pair)}\n" for pair in fresh.items())
        self.answers |= fresh
        # What was kept may have been made without the stop string.
        return [self.answers[key].partition("\n")[0] for key in keys]


@dataclass(frozen=True, slots=True)
class Shown:
    """What is in the prompt: ``gold``, or ``k`` chunks that ``bm25`` or ``dense`` finds in the question's document.

    ``reader`` finds what ``dense`` does, and reads it with an adapter.
    """

    name: str
    passages: Callable[[Question], Sequence[str]]
    chunk_chars: int | None = None
    k: int | None = None
    adapter: ComposedAdapter | None = None


def main() -> None:
    """Run the choice."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    backend = HuggingFaceBackend.from_pretrained(arguments.base, batch_size=20)
    questions = read_mixture(arguments.data, seed=arguments.seed)
    bench = Bench(backend, questions, golds(questions), arguments.out)
    gold = Shown("gold", lambda question: [bench.gold[question.id]])
    library = Wording.of(library_prompt(backend))

    if arguments.rag:
        bench.table, zero, few = kept_wordings(backend)
    else:
        zero = halve(bench, [library, *CANDIDATES], gold, keep=3)
        seeds = (arguments.seed, arguments.seed + 1)
        shots = {seed: draw_shots(arguments.data, questions, seed=seed) for seed in seeds}
        few = halve(bench, few_shot([zero[0], PLAIN], shots), gold, keep=2)
    bench.questions = read_mixture(arguments.data, seed=arguments.seed, times=RAG_TIMES)
    rag = choose_rag(bench, [*zero[:2], few[0]], library)
    write(bench, arguments, {"zero_shot": zero[0], "few_shot": few[0], **rag})


def parse_arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training files")
    parser.add_argument("--base", default=BUILTIN_BASE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rag", action="store_true", help="keep the wordings, choose what RAG shows")
    parser.add_argument("--out", type=Path, default=Path("runs/out/choose_prompts"))
    return parser.parse_args()


# ---------------------------------------------------------------- what is asked


def read_mixture(data: Path, *, seed: int, times: int = 1) -> list[Question]:
    """Return the questions of all files, mixed so that any beginning of the list has every kind in its share."""
    placed: list[tuple[float, Question]] = []
    for name, count in MIXTURE.items():
        answered = (question for question in read_questions(data / f"{name}.jsonl.gz") if question.answers)
        asked = sample(answered, limit=count * times, seed=seed)
        placed += [((place + 0.5) / len(asked), question) for place, question in enumerate(asked)]
    return [question for _, question in sorted(placed, key=lambda pair: (pair[0], pair[1].id))]


def golds(questions: Iterable[Question]) -> dict[str, str]:
    """Return the gold sentence's statement by question, chosen as `in_context` chooses it."""
    atoms = {question.doc_id: atoms_of(question) for question in questions}
    found = {question.id: gold_atom(question, atoms[question.doc_id]) for question in questions}
    return {id_: atom.statement for id_, atom in found.items() if atom}


def atoms_of(question: Question) -> list[Any]:
    """Return the atoms of a question's document, as a memory would extract them."""
    return extract_document(document_of(question), RuleExtractor())


def document_of(question: Question) -> Document:
    """Return a question's document."""
    return Document.of(question.document, source=question.doc_id, title=question.title)


def draw_shots(data: Path, questions: Iterable[Question], *, seed: int) -> list[Shot]:
    """Return four examples from documents that are not asked about: a sentence, and an answer of a few of its words."""
    taken = {question.title for question in questions}
    pool = sample(read_questions(data / f"{SHOTS_FROM}.jsonl.gz"), limit=200, seed=seed + 1000)
    shots: list[Shot] = []
    for question in pool:
        atom = gold_atom(question, atoms_of(question))
        short = bool(question.answers) and len(question.answers[0].split()) <= 5
        if (
            atom
            and short
            and question.title not in taken
            and len(atom.statement) <= 250
            and holds_answer(question, atom)
        ):
            shots.append(Shot(atom.statement, question.question, question.answers[0]))
            taken.add(question.title)
    return shots[:4]


def library_prompt(backend: HuggingFaceBackend) -> PromptConfig:
    """Return the prompt that the base model's shipped checkpoint names, or the default one."""
    folder = shipped_checkpoint(backend.fingerprint)
    return load_checkpoint(folder).prompt if folder else PromptConfig()


# ---------------------------------------------------------------- choosing


def few_shot(bases: Iterable[Wording], shots: dict[int, list[Shot]]) -> list[Wording]:
    """Return every wording with two examples as turns, and with two and four in one prompt, for every draw."""
    return [
        replace(made, name=f"{made.name}, draw {seed}")
        for base in bases
        for seed, drawn in shots.items()
        for made in (
            base.with_shots(drawn[:2]),
            base.with_shots(drawn[:2], inline=True),
            base.with_shots(drawn, inline=True),
        )
    ]


def halve(bench: Bench, candidates: Sequence[Wording], shown: Shown, *, keep: int) -> list[Wording]:
    """Return the best ``keep`` of a third of the questions, ordered by all of the questions."""
    first = sorted(candidates, key=lambda one: -bench.measure(one, shown, bench.first))[:keep]
    return sorted(first, key=lambda one: -bench.measure(one, shown, bench.questions))


def choose_rag(bench: Bench, wordings: Sequence[Wording], library: Wording) -> dict[str, dict[str, Any]]:
    """Return the best wording, number and size of chunks of both kinds of retrieval, and of the reader's."""
    encoder = SentenceTransformerEncoder(resolve_key_encoder(BUILTIN_KEY_ENCODER), name=BUILTIN_KEY_ENCODER)
    documents = {question.doc_id: document_of(question) for question in bench.questions}
    indices = {
        chunk: ChunkIndex(documents.values(), encoder, chunk_chars=chunk) for chunk in sorted({c for c, _ in GRID})
    }
    reader = load_reader(bench.backend)

    def shown(kind: str, chunk: int, k: int) -> Shown:
        search = getattr(indices[chunk], "dense" if kind == "reader" else kind)

        def passages(question: Question) -> list[str]:
            return [one.text for one in search(question.question, k=k, doc_id=question.doc_id)]

        return Shown(kind, passages, chunk, k, reader if kind == "reader" else None)

    chosen = {}
    for kind in ("bm25", "dense", *(["reader"] if reader else [])):
        # A reader was tuned behind the library's own wording.
        candidates = [library] if kind == "reader" else wordings
        asked = sorted(candidates, key=lambda one: -bench.measure(one, shown(kind, 400, 2), bench.first))[:2]
        grid = sorted(GRID, key=lambda size: -bench.measure(asked[0], shown(kind, *size), bench.first))[:3]
        tried = [(wording, size) for size in grid for wording in (asked if size == grid[0] else asked[:1])]
        best, (chunk, k) = max(tried, key=lambda pair: bench.measure(pair[0], shown(kind, *pair[1]), bench.questions))
        chosen[kind] = {"wording": best, "chunk_chars": chunk, "passages": k}
    return chosen


def kept_wordings(backend: HuggingFaceBackend) -> tuple[list[dict[str, Any]], list[Wording], list[Wording]]:
    """Return the scores with the gold sentence in the prompt, and the wordings without and with examples, kept."""
    path = shipped_choice(backend.fingerprint)
    if path is None:
        raise SystemExit(f"there is no choice for {backend.base_model} to keep wordings of; run it without --rag")
    choice = load_choice(path)
    table = json.loads(path.read_text(encoding="utf-8"))["table"]
    others = [rag.wording for rag in (choice.bm25, choice.dense) if not rag.wording.shots]
    zero = list(dict.fromkeys([choice.zero_shot, *others]))
    return [row for row in table if row["shown"] == "gold"], zero, [choice.few_shot]


# ---------------------------------------------------------------- writing


def write(bench: Bench, arguments: argparse.Namespace, chosen: dict[str, Any]) -> None:
    """Write the choice as a file of the package."""
    rows = {key: one if isinstance(one, dict) else {"wording": one} for key, one in chosen.items()}
    wordings = {row["wording"].name: row["wording"] for row in rows.values()}
    content = {
        "format": FORMAT,
        "base_model": bench.backend.base_model,
        "base_fingerprint": bench.backend.fingerprint,
        "command": shlex.join(["python", "runs/choose_prompts.py", "--data", "DIR", *_options(sys.argv[1:])]),
        "seed": arguments.seed,
        "machine": f"{platform.machine()}, {bench.backend.model.dtype}",
        "questions": MIXTURE,
        "rag_questions": {name: count * RAG_TIMES for name, count in MIXTURE.items()},
        "shots_from": SHOTS_FROM,
        "generation": asdict(GENERATION),
        "chosen": {key: row | {"wording": row["wording"].name} for key, row in rows.items()},
        "wordings": [wording_row(wording) for wording in wordings.values()],
        "table": bench.table,
    }
    path = SHIPPED / f"{Path(bench.backend.base_model).name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    for key, row in content["chosen"].items():
        print(f"  {key}: {row}")


def _options(argv: Sequence[str]) -> list[str]:
    """Return the options that change the choice, without the folders."""
    pairs = pairwise([*argv, ""])
    chosen = [part for pair in pairs if pair[0] in {"--base", "--seed"} for part in pair]
    return [*chosen, *(["--rag"] if "--rag" in argv else [])]


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[key] == other[key] for key in ("shown", "chunk_chars", "passages", "wording", "questions"))


if __name__ == "__main__":
    random.seed(0)
    main()
