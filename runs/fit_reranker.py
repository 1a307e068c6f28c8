"""Fit how far a router may believe a token router, and compare what could rank the atoms of a memory.

    OMP_NUM_THREADS=1 python runs/fit_reranker.py --data DIR --out runs/out/reranker

Documents that training holds out (see `parametric_memory.training.data.held_out`), of all kinds of data that it reads,
are added to a memory: training has seen none of them. Questions are put to all of it, one in four also to a shard of
some 40 atoms: those it can answer; (a) those of documents that are not in it; (b) those that nothing answers, as the
data has it; (c) the answerable ones again as if the sentences that answer were not there. What is found of a case is
appended to ``cases.jsonl`` and never computed twice: a run that was stopped goes on, and a larger one adds to it. Half
of the documents fit the weights, the other half is reported on. Of the memory's atoms only those are compiled whose
adapters are asked for (see `parametric_memory.evaluation.probes.thrift`).

Prints tables and writes ``report.json``. With ``--write`` the weights go into the token router's folder, if both
kinds of evidence together beat similarity on the held-out half; a memory then reranks by them. With
``--token-router none`` all this is of the gates in a hypernetwork's checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from parametric_memory.backends import BUILTIN_KEY_ENCODER
from parametric_memory.compilers import HypernetworkCompiler
from parametric_memory.config import MemoryConfig, RoutingConfig
from parametric_memory.evaluation.probes.thrift import thrifty
from parametric_memory.hypernetwork.chat import prompt_ids
from parametric_memory.hypernetwork.checkpoint import save_reranking, shipped_checkpoint
from parametric_memory.hypernetwork.network import HypernetworkConfig
from parametric_memory.hypernetwork.states import module_inputs
from parametric_memory.memory import ParametricMemory
from parametric_memory.memory.reranking import read_candidates
from parametric_memory.routing.fusion import most_similar, scores
from parametric_memory.routing.reranking import RerankingWeights, gate_features
from parametric_memory.routing.selection import probability, select
from parametric_memory.routing.span_router import shipped_token_router
from parametric_memory.training.alignment import words
from parametric_memory.training.corpus import Corpus, Example
from parametric_memory.training.data import read_corpus
from parametric_memory.types import Atom, AtomCode, AtomGates, Document, Span, stable_id

KINDS = ("answerable", "a", "b", "c")
#: Atoms of a shard, roughly; one question in so many is put to one.
SHARD, SHARDED = 40, 4
KS = (1, 2, 4, 8)
#: How much each kind of question counts in the fit.
SHARES = {"answerable": 0.5, "a": 0.2, "b": 0.1, "c": 0.2}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of the corpus.

    Attributes:
        documents: Numbers of those that it stands on, or seems to; the first is where it belongs.
        golds: Sentences that answer it, by document and place in its text; none if nothing does.
        said: What these sentences say.
    """

    documents: tuple[int, ...]
    question: str
    answer: str
    golds: tuple[tuple[int, Span], ...]
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A question put to a memory, and what is known of each candidate that was read.

    Attributes:
        golds: Numbers of the candidates that answer.
        similarity: The similarity router's log-odds.
        share: Probability that it answers, over all candidates at once.
        nothing: Probability that no candidate does.
        energy: Norm of an atom's own update at the prompt's last token, where it was asked for.
        seconds: Of this process, for reading the candidates.
    """

    key: str
    document: str
    kind: str
    size: str
    question: str
    answer: str
    atoms: list[str]
    statements: list[str]
    golds: list[int]
    dense: list[float]
    lexical: list[float]
    similarity: list[float]
    share: list[float]
    nothing: float
    energy: list[float] | None
    seconds: float


# --- data -------------------------------------------------------------------------------------------------------------


def read_questions(corpus: Corpus, *, everything: bool) -> list[Asked]:
    """Return a corpus's questions, those that training holds out or all, in an order that depends on nothing else."""
    examples = [*corpus.validation, *(corpus.train if everything else ())]
    asked = [_asked(corpus, example) for example in examples if example.golds or example.look_alikes]
    return sorted(asked, key=lambda one: stable_id("order", str(one.documents), one.question))


def _asked(corpus: Corpus, example: Example) -> Asked:
    stands_on = [corpus.document_of[atom] for atom in (*example.golds, *example.look_alikes)]
    golds = tuple((corpus.document_of[atom], _place(corpus, atom)) for atom in example.golds)
    said = tuple(_alike(corpus.texts[atom]) for atom in example.golds)
    return Asked(tuple(dict.fromkeys(stands_on)), example.question, example.answer, golds, said)


def _alike(text: str) -> str:
    """Return what is the same of a sentence wherever it is quoted."""
    return " ".join(words(text))


def _text(corpus: Corpus, document: int) -> str:
    return " ".join(corpus.texts[atom] for atom in corpus.documents[document])


def _place(corpus: Corpus, atom: int) -> Span:
    """Return where a sentence stands in its document's text."""
    before = range(corpus.documents[corpus.document_of[atom]].start, atom)
    begin = sum(len(corpus.texts[other]) + 1 for other in before)
    return Span(begin, begin + len(corpus.texts[atom]))


class Gatherer:
    """Puts questions to a memory and notes what every ranking needs.

    Args:
        memory: Holds the documents.
        compiler: Its own, that has gates.
        held: The ids of the memory's documents, by their number in the corpus.
        salt: What else a case depends on.
    """

    def __init__(
        self, memory: ParametricMemory, compiler: HypernetworkCompiler, held: Mapping[int, str], *, salt: str
    ) -> None:
        self.memory, self.compiler, self._held, self._salt = memory, compiler, held, salt
        self._of: dict[str, list[Atom]] = defaultdict(list)
        self._saying: dict[str, list[Atom]] = defaultdict(list)
        for atom in memory.store.atoms():
            self._of[atom.document_id].append(atom)
            self._saying[_alike(atom.text)].append(atom)
        self._shards: list[list[str]] = [[]]
        for document, atoms in self._of.items():
            if self._shards[-1] and sum(len(self._of[d]) for d in self._shards[-1]) + len(atoms) > SHARD:
                self._shards.append([])
            self._shards[-1].append(document)

    def plan(self, asked: Sequence[Asked]) -> Iterator[tuple[Asked, str, str, list[Atom]]]:
        """Yield (question, kind, size, atoms that answer) of every case; any first so many are a fair sample.

        Files quote one another, and a question is asked in several: whatever says what answers it anywhere, answers it.
        """
        said: dict[str, set[str]] = defaultdict(set)
        for one in asked:
            said[one.question].update(one.said)
        for one in sorted(asked, key=lambda one: stable_id("plan", one.question)):
            inside = [document in self._held for document in one.documents]
            sizes = ("all", "shard") if int(stable_id("size", one.question)[:8], 16) % SHARDED == 0 else ("all",)
            quoted = {atom.id: atom for text in sorted(said[one.question]) for atom in self._saying.get(text, ())}
            for size in sizes:
                if not any(inside) or not one.golds:
                    if not quoted:
                        yield one, "b" if any(inside) else "a", size, []
                elif all(inside) and (golds := self._golds(one)):
                    answering = list({**quoted, **{atom.id: atom for atom in golds}}.values())
                    yield one, "answerable", size, answering
                    yield one, "c", size, answering

    def key(self, one: Asked, kind: str, size: str) -> str:
        """Return what names a case: another memory, compiler or setting gives another."""
        reader = self.memory.token_router or self.compiler
        return stable_id(self._salt, str(len(self._of)), reader.name, str(one.documents), one.question, kind, size)

    def case(self, one: Asked, kind: str, size: str, golds: Sequence[Atom], *, energy: bool) -> Case:
        """Return everything that is known of a case."""
        routing = self.memory.config.routing
        query = self.memory.encode_query(one.question)
        found = self.memory.candidates(query, filters=self._shard(one) if size == "shard" else None)
        answering = {atom.id for atom in golds}
        if kind == "c":
            found = [candidate for candidate in found if candidate.atom.id not in answering]
        read = most_similar(one.question, found, routing, count=routing.reranked)
        ids = [candidate.atom.id for candidate in read]
        begun = time.process_time()
        gates = self.memory.locate(one.question, [candidate.atom for candidate in read])
        done = time.process_time()
        return Case(
            key=self.key(one, kind, size),
            document=str(one.documents[0]),
            kind=kind,
            size=size,
            question=one.question,
            answer=one.answer,
            atoms=ids,
            statements=[candidate.atom.statement for candidate in read],
            golds=[number for number, id_ in enumerate(ids) if id_ in answering],
            dense=[round(candidate.dense, 5) for candidate in read],
            lexical=[round(candidate.lexical, 4) for candidate in read],
            similarity=[round(value, 4) for value in scores(one.question, read, routing)],
            share=[float(f"{share:.4g}") for share in gates.shares],
            nothing=gates.nothing,
            energy=self._energy(one.question, self.memory.store.codes(ids)) if energy else None,
            seconds=done - begun,
        )

    def _golds(self, one: Asked) -> list[Atom]:
        """Return the atoms that were made of the sentences that answer."""
        return [
            atom
            for document, place in one.golds
            for atom in self._of[self._held[document]]
            if atom.span.start < place.end and place.start < atom.span.end
        ]

    def _shard(self, one: Asked) -> Mapping[str, Sequence[str]]:
        number = int(stable_id(one.question)[:8], 16) % len(self._shards)
        home = self._held.get(one.documents[0], self._shards[number][0])
        return {"document_id": next(shard for shard in self._shards if home in shard)}

    @torch.inference_mode()
    def _energy(self, question: str, codes: Sequence[AtomCode]) -> list[float]:
        """Return ‖ΔW x‖ of every atom's own adapter over all targets; x is what the prompt's last token feeds them.

        Of the continuing ranks: the starting ones have the same A for all atoms.
        """
        conversation = self.compiler.checkpoint.prompt.conversation(question)
        ids = torch.tensor([prompt_ids(self.compiler._tokenizer, conversation)])
        x = module_inputs(self.compiler._model, ids, self.compiler.spec.targets)
        config = self.compiler.checkpoint.network.config
        assert isinstance(config, HypernetworkConfig)
        energies = []
        for adapter in self.compiler.materialise(codes):
            tokens = {target: factors.rank // config.ranks for target, factors in adapter.factors.items()}
            updates = [
                factors.B[:, : tokens[target]] @ (factors.A[: tokens[target]] @ x[target][-1])
                for target, factors in adapter.factors.items()
            ]
            energies.append(round(math.sqrt(sum(float(update.pow(2).sum()) for update in updates)), 4))
        return energies


def add(memory: ParametricMemory, corpus: Corpus, documents: Sequence[int]) -> dict[int, str]:
    """Add documents of a corpus to a memory; return the id of each."""
    held = {}
    for number, document in enumerate(documents):
        made = Document.of(_text(corpus, document), title=corpus.contexts[document])
        if errors := memory.add(made)["errors"]:
            print("left out:", errors, flush=True)
            continue
        held[document] = made.id
        if number % 200 == 199:
            print(f"added {number + 1} of {len(documents)} documents", flush=True)
    return held


def gather(arguments: argparse.Namespace, memory: ParametricMemory, compiler: HypernetworkCompiler) -> list[Case]:
    """Add what is missing to ``cases.jsonl`` and return all that was planned."""
    corpus = Corpus.load(arguments.data) if arguments.data.is_file() else read_corpus(arguments.data)
    asked = read_questions(corpus, everything=arguments.everything)
    documents = list(dict.fromkeys(document for one in asked for document in one.documents))
    # Every fifth document stays outside, for questions that nothing answers.
    held = add(memory, corpus, [document for n, document in enumerate(documents) if n % 5][: arguments.documents])
    settings = memory.config.routing
    salt = f"{settings.candidates} {settings.neighbours} {settings.reranked}"
    gatherer = Gatherer(memory, compiler, held, salt=salt)
    planned = list(gatherer.plan(asked))[: arguments.limit]
    print(f"{memory.stats().atoms} atoms of {len(held)} documents, {len(planned)} cases", flush=True)
    path = arguments.out / "cases.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    known = {row["key"]: Case(**row) for row in map(json.loads, lines)}
    cases = []
    with path.open("a", encoding="utf-8") as file:
        for number, (one, kind, size, golds) in enumerate(planned):
            key = gatherer.key(one, kind, size)
            energy = kind == "answerable" and number < arguments.energy
            if key not in known or (energy and known[key].energy is None):
                known[key] = gatherer.case(one, kind, size, golds, energy=energy)
                file.write(json.dumps(asdict(known[key]), ensure_ascii=False) + "\n")
                file.flush()
            cases.append(known[key])
            if number % 50 == 49:
                print(f"{number + 1} of {len(planned)} cases", flush=True)
    return [case for case in cases if case.atoms]


# --- fit --------------------------------------------------------------------------------------------------------------

#: What a ranking sees of a case: one row of numbers for each candidate.
Evidence = Callable[[Case], list[list[float]]]


def by_similarity(case: Case) -> list[list[float]]:
    return [[value] for value in case.similarity]


def by_gates(case: Case) -> list[list[float]]:
    return [list(gate_features(AtomGates((), share, case.nothing))) for share in case.share]


def by_both(case: Case) -> list[list[float]]:
    return [[value, *row] for value, row in zip(case.similarity, by_gates(case), strict=True)]


def by_energy(case: Case) -> list[list[float]]:
    return [[math.log(value + 1e-6)] for value in case.energy or ()]


RANKINGS: Mapping[str, Evidence] = {
    "dense": lambda case: [[value] for value in case.dense],
    "similarity": by_similarity,
    "gates": by_gates,
    "similarity + gates": by_both,
}


def fit(cases: Sequence[Case], evidence: Evidence) -> list[float]:
    """Return one weight per feature and a bias: the log-odds that a candidate answers.

    First a softmax over the candidates and "none of these", so that the weights rank; then slope and bias of a logistic
    regression of "answerable" on the best score, so that it is a probability.
    """
    rows = [np.array(evidence(case)) for case in cases]
    kinds = [case.kind for case in cases]
    weights = np.array([SHARES[kind] / kinds.count(kind) for kind in kinds])
    # A gold sentence that was not found is neither there nor not there.
    usable = [n for n, case in enumerate(cases) if case.kind != "answerable" or case.golds]

    def softmax_loss(parameters: np.ndarray) -> float:
        loss = 1e-3 * float(parameters @ parameters)
        for n in usable:
            values = np.append(rows[n] @ parameters[:-1], parameters[-1])
            right = cases[n].golds if cases[n].kind == "answerable" else [-1]
            loss += weights[n] * (logsumexp(values) - logsumexp(values[right]))
        return loss

    found = minimize(softmax_loss, np.zeros(rows[0].shape[1] + 1)).x[:-1]
    best = np.array([(row @ found).max() for row in rows])
    y = np.array([kind == "answerable" for kind in kinds])

    def logistic_loss(parameters: np.ndarray) -> float:
        values = parameters[0] * best + parameters[1]
        return float(weights @ np.logaddexp(0.0, np.where(y, -values, values)))

    slope, bias = minimize(logistic_loss, np.array([1.0, -best.mean()])).x
    return [*(float(value) for value in slope * found), float(bias)]


def score(case: Case, evidence: Evidence, weights: Sequence[float]) -> list[float]:
    """Return every candidate's log-odds."""
    return [float(np.dot(row, weights[:-1]) + weights[-1]) for row in evidence(case)]


# --- report -----------------------------------------------------------------------------------------------------------


def rank_of(values: Sequence[float], golds: Sequence[int]) -> float:
    """Return how many candidates are better than the best gold one; if none was found, that is infinitely far."""
    best = max((values[gold] for gold in golds), default=-math.inf)
    return sum(value > best for value in values) if golds else math.inf


def auc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Return how often an answerable question has the higher confidence."""
    pairs = [float(p > n) + 0.5 * float(p == n) for p in positive for n in negative]
    return float(np.mean(pairs)) if pairs else None


def judged(cases: Sequence[Case], values: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return what a ranking makes of cases: recall of the gold sentence, AUC by kind, log loss of the confidence."""
    ranks = [rank_of(one, case.golds) for case, one in zip(cases, values, strict=True) if case.kind == "answerable"]
    best = {kind: [max(v) for c, v in zip(cases, values, strict=True) if c.kind == kind] for kind in KINDS}
    loss = sum(
        SHARES[kind] * float(np.mean(np.logaddexp(0.0, -x if kind == "answerable" else x)))
        for kind in KINDS
        if len(x := np.array(best[kind]))
    )
    return {
        **{f"recall@{k}": float(np.mean([rank < k for rank in ranks])) for k in KS},
        **{f"AUC {kind}": auc(best["answerable"], best[kind]) for kind in KINDS[1:]},
        "log loss": loss,
        "answerable": len(ranks),
        "cases": len(cases),
    }


def show(title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table."""
    print(f"\n{title}")
    names = list(next(iter(rows.values())))
    print("  " + " " * 22 + " ".join(f"{name:>10}" for name in names))
    for name, row in rows.items():
        cells = (f"{v:>10.3f}" if isinstance(v, float) else f"{v if v is not None else '–':>10}" for v in row.values())
        print(f"  {name:<22}" + " ".join(cells))


def routes(cases: Sequence[Case], values: Sequence[Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Return how long routes get and how often they hold the gold sentence, by margin and longest route."""
    rows = {}
    for margin in (0.5, 1.0, 1.5, 2.5):
        row = {}
        for longest in (1, 2, 4, 8):
            lengths, held = [], []
            for case, one in zip(cases, values, strict=True):
                if case.kind == "answerable":
                    taken = [n for n in np.argsort(-np.array(one), kind="stable") if max(one) - one[n] <= margin]
                    lengths.append(len(taken[:longest]))
                    held.append(not set(case.golds).isdisjoint(taken[:longest]))
            row[f"{longest}: length"], row["held" + " " * longest] = float(np.mean(lengths)), float(np.mean(held))
        rows[f"margin {margin}"] = row
    return rows


def first_of_route(cases: Sequence[Case]) -> dict[str, float]:
    """Return how often the first atom is gold, if a route by similarity is ordered by its score and by its shares."""
    by_score, by_share = [], []
    for case in cases:
        if case.kind == "answerable":
            order = np.argsort(-np.array(case.similarity), kind="stable")
            taken = [n for n in order if case.similarity[order[0]] - case.similarity[n] <= RoutingConfig().margin]
            taken = taken[: RoutingConfig().max_atoms]
            by_score.append(taken[0] in case.golds)
            by_share.append(max(taken, key=lambda n: case.share[n]) in case.golds)
    return {"by score": float(np.mean(by_score)), "by share": float(np.mean(by_share))}


def cross_encoder(name: str, cases: Sequence[Case]) -> Evidence:
    """Return a ranking by a cross-encoder of sentence-transformers, from a folder or the hub."""
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - seconds, and only here

    model = CrossEncoder(name)
    found = {case.key: model.predict([(case.question, text) for text in case.statements]) for case in cases}
    return lambda case: [[float(value)] for value in found[case.key]]


def compare(cases: Sequence[Case], rankings: Mapping[str, Evidence]) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Fit on half of the documents, return what came of the other half, and the weights."""
    half = {document: int(stable_id("half", document)[:8], 16) % 2 for document in {case.document for case in cases}}
    train, held = ([case for case in cases if half[case.document] == number] for number in (0, 1))
    rows, weights = {}, {}
    for name, evidence in rankings.items():
        weights[name] = fit(train, evidence)
        rows[name] = judged(held, [score(case, evidence, weights[name]) for case in held])
    show(f"{len(train)} cases fitted on, {len(held)} held out", rows)
    for size in ("all", "shard"):
        of = [case for case in held if case.size == size]
        if any(case.kind == "answerable" for case in of):
            show(
                f"put to {size} atoms",
                {name: judged(of, [score(c, rankings[name], weights[name]) for c in of]) for name in rankings},
            )
    lengths = {name: routes(held, [score(c, rankings[name], weights[name]) for c in held]) for name in rankings}
    for name in ("similarity", "similarity + gates"):
        show(f"routes by {name}: mean length, share that holds the gold sentence", lengths[name])
    first = first_of_route(held)
    print(f"\nfirst atom of a route by similarity is gold: {first}")
    return {"held out": rows, "routes": lengths, "first": first}, weights


def answers(memory: ParametricMemory, cases: Sequence[Case], weights: RerankingWeights | None) -> dict[str, Any]:
    """Return the likelihood of the right answers under routes that are gated and weighed in different ways.

    Args:
        memory: What the cases were put to.
        cases: Answerable ones that were put to all of it are asked.
        weights: Of a route by similarity and gates; None for one by similarity.
    """
    routing = replace(memory.config.routing, abstain_below=0.0)
    found: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        if case.kind != "answerable" or case.size != "all":
            continue
        query = memory.encode_query(case.question)
        candidates = memory.candidates(query)
        read = read_candidates(partial(memory.locate, query.text), query, candidates, routing)
        read = [candidate for candidate in read if candidate.gates]
        values = scores(case.question, read, routing)
        if weights is not None:
            values = [weights.score(value, one.gates) for value, one in zip(values, read, strict=True)]
        for weighing in ("equal", "odds"):
            route = select(query, read, values, replace(routing, weights=weighing))
            gated_by = {"selected": memory.gate(case.question, route)}
            if memory.token_router is None:
                gated_by["reranked"] = route
            for gated, made in gated_by.items():
                conversation, adapter = memory.prompt.conversation(case.question), memory.compose(made)
                [(nats, tokens)] = memory.backend.loglikelihood([conversation], [case.answer], adapters=[adapter])
                found[f"{weighing}, {gated}"].append(-nats / max(1, tokens))
    rows = {name: {"NLL": float(np.mean(v)), "median": float(np.median(v)), "n": len(v)} for name, v in found.items()}
    if rows:
        show("answers: nats a token, by the atoms' weights and by whom their gates were found among", rows)
        base = np.array(found["equal, selected"])
        for name, values in found.items():
            other = np.array(values) - base
            error = other.std(ddof=1) / math.sqrt(len(other)) if len(other) > 1 else math.nan
            print(f"  {name} - equal, selected: {other.mean():+.3f} ± {error:.3f}")
    return rows


def believed_in(memory: ParametricMemory, arguments: argparse.Namespace) -> tuple[str, Path | None]:
    """Return the name of what reads candidates, and its folder."""
    if memory.token_router is not None:
        folder = arguments.token_router or shipped_token_router(BUILTIN_KEY_ENCODER)
        return memory.token_router.name, Path(folder)
    return memory.compiler.name, arguments.checkpoint or shipped_checkpoint(memory.backend.fingerprint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the training files, or what pmem train corpus made of it"
    )
    parser.add_argument("--out", type=Path, required=True, help="keeps the memory, the cases and the report")
    parser.add_argument("--checkpoint", type=Path, help="folder of a hypernetwork; the one in the package")
    parser.add_argument("--token-router", help="folder of a token router; the one in the package; or none")
    parser.add_argument("--everything", action="store_true", help="also documents that training reads")
    parser.add_argument("--documents", type=int, help="at most, in the memory")
    parser.add_argument("--limit", type=int, help="cases")
    parser.add_argument("--candidates", type=int, default=RoutingConfig().candidates, help="of either search")
    parser.add_argument("--neighbours", type=int, default=RoutingConfig().neighbours, help="beside them")
    parser.add_argument("--reranked", type=int, default=RoutingConfig().reranked, help="that the gates read")
    parser.add_argument("--energy", type=int, default=0, help="cases of which the activation energy is found, too")
    parser.add_argument("--answers", type=int, default=0, help="answerable cases whose answers are scored")
    parser.add_argument(
        "--cross-encoder", help="a sentence-transformers CrossEncoder to compare with: folder or hub id"
    )
    parser.add_argument("--write", action="store_true", help="write reranking.json if it is worth it")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    routing = RoutingConfig(
        candidates=arguments.candidates, neighbours=arguments.neighbours, reranked=arguments.reranked
    )
    config = MemoryConfig(routing=routing, token_router=arguments.token_router)
    with (
        ParametricMemory.from_pretrained(
            path=arguments.out / "parts", checkpoint=arguments.checkpoint, config=config
        ) as parts,
        thrifty(parts, arguments.out / "memory") as memory,
    ):
        assert isinstance(parts.compiler, HypernetworkCompiler)
        cases = gather(arguments, memory, parts.compiler)
        rankings = dict(RANKINGS)
        if arguments.cross_encoder:
            rankings["cross-encoder"] = cross_encoder(arguments.cross_encoder, cases)
        report, weights = compare(cases, rankings)
        if measured := [case for case in cases if case.energy]:
            ranked = {**rankings, "energy": by_energy}
            report["energy"] = {
                name: judged(measured, [score(c, e, weights.get(name, [1.0, 0.0])) for c in measured])
                for name, e in ranked.items()
            }
            show("cases whose activation energy is known", report["energy"])
        names = ("similarity", "share", "answered", "bias")
        fitted = dict(zip(names, (round(value, 3) for value in weights["similarity + gates"]), strict=True))
        both, alone = (report["held out"][name] for name in ("similarity + gates", "similarity"))
        worth = both["recall@1"] > alone["recall@1"] and both["log loss"] < alone["log loss"]
        believed = RerankingWeights(**fitted) if worth else None
        report["answers"] = answers(memory, cases[: arguments.answers], believed)
        spent = [case.seconds * 1000 for case in cases]
        report["reading ms"] = {q: float(np.percentile(spent, q)) for q in (50, 95)} if spent else None
        print(f"reading {routing.reranked} candidates: {report['reading ms']} ms of one thread")
        print(f"\nreranking.json: {fitted}, confidence of even odds {probability(0.0)}")
        reader, folder = believed_in(memory, arguments)
    digest = reader.partition(":")[2]
    report = {"reader": reader, "settings": {k: str(v) for k, v in vars(arguments).items()}, **report}
    (arguments.out / "report.json").write_text(json.dumps(report | {"weights": weights}, indent=2), encoding="utf-8")
    if arguments.write and worth and folder is not None:
        save_reranking(folder, digest, fitted, fitted={"held out": report["held out"]})
        print(f"written to {folder}")
    elif arguments.write:
        print("not written: gates and similarity together do not beat similarity alone on the held-out half")


if __name__ == "__main__":
    main()
