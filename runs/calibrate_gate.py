"""Fit the similarity router's weights on questions that a memory can and cannot answer.

    OMP_NUM_THREADS=1 python runs/calibrate_gate.py --data DIR

Memories of several sizes are made of documents of the training files, one sentence an atom; the smaller ones hold the
question's documents and others, as many as fit. Questions are of four kinds: answerable; (a) of documents that are not
in the memory; (b) those that nothing answers by the data, with the sentences that seem to; (c) the answerable ones
again with the sentences that answer taken away and the rest of their documents left. Half of the documents fit the
weights, the other half is reported on. Prints the constants of `parametric_memory.routing.fusion`.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from parametric_memory.backends.models import BUILTIN_KEY_ENCODER, resolve_key_encoder
from parametric_memory.config import RoutingConfig
from parametric_memory.routing import SentenceTransformerEncoder
from parametric_memory.routing.fusion import Features, features
from parametric_memory.store.lexical import match_query
from parametric_memory.training.corpus import Corpus, Example
from parametric_memory.training.data import DEFAULT_MIXTURE, read_corpus
from parametric_memory.types import Atom, AtomKind, Candidate, Span, stable_id, stated

#: Questions of each file about documents that are in the memory, both halves together, and most of one document.
SOURCES = {
    "squad1.1.train": (600, 2), "squad2.0.train": (600, 2), "squad1.1_unanswerable_constructed.train": (300, None),
    "ropes.train": (250, 2), "hotpotqa_distractor.train": (150, None), "2wikimultihopqa_distractor.train": (150, None),
    "musique_ans.train": (60, None), "fairytaleqa.train": (200, 2), "boolq.train": (200, 1),
    "strategyqa.train": (80, 1), "tweetqa.train": (200, 1), "wikiwhy.train": (200, 1), "nq_swap.train": (200, 1),
}  # fmt: skip
#: Atoms of a memory, roughly; None is everything.
SIZES = (5, 40, 300, None)
#: How much each kind of question counts in the fit.
SHARES = {"answerable": 0.5, "a": 0.2, "b": 0.1, "c": 0.2}
KS = (1, 2, 4, 8, 16)
Array = NDArray[np.float64]


@dataclass(slots=True)
class Question:
    """``near`` are atoms whose documents must be in its memory, ``golds`` those of them that answer."""

    text: str
    kind: str
    source: str
    near: tuple[int, ...] = ()
    golds: tuple[int, ...] = ()
    answer: str = ""
    vector: NDArray[np.float32] | None = None


@dataclass(slots=True)
class World:
    """Sentences of many documents, and questions about them."""

    statements: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    document: list[int] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    keys: NDArray[np.float32] | None = None

    def atom(self, number: int) -> Atom:
        text = self.statements[number]
        return Atom(f"{number:06}", AtomKind.FACT, text, text, str(self.document[number]), Span(0, len(text)))


@dataclass(frozen=True, slots=True)
class Case:
    """One question put to one memory; ``golds`` are the candidates that answer it."""

    kind: str
    source: str
    size: int | None
    question: str
    candidates: tuple[Candidate, ...]
    golds: tuple[int, ...]


# --- data -------------------------------------------------------------------------------------------------------------


def read_worlds(data: Path) -> tuple[World, World]:
    """Return two worlds that share no article."""
    worlds = World(), World()
    for name, (count, each) in SOURCES.items():
        source = replace(DEFAULT_MIXTURE[name], questions=4 * count, each=each, alone=False)
        corpus = read_corpus(data, {name: source})
        halves: tuple[list[Example], list[Example]] = ([], [])
        for example in (*corpus.train, *corpus.validation):
            halves[article(corpus, example) % 2].append(example)
        for world, examples in zip(worlds, halves, strict=True):
            add(world, corpus, examples, name, count // 2)
    return worlds


def article(corpus: Corpus, example: Example) -> int:
    """Return a number that tells articles apart: questions with the same one stay together."""
    document = corpus.document_of[example.anchor]
    return int(stable_id("half", corpus.contexts[document] or corpus.texts[corpus.documents[document].start])[:8], 16)


def add(world: World, corpus: Corpus, examples: Sequence[Example], name: str, count: int) -> None:
    """Add questions of a file with the documents that they need, and half as many about documents that stay outside."""
    begins: dict[int, int] = {}
    outside = []
    for example in examples:
        used = (*example.golds, *example.look_alikes)
        documents = sorted({corpus.document_of[atom] for atom in used})
        if count == 0 or article(corpus, example) // 2 % 2:
            outside.append((example, documents))
            continue
        count -= 1
        for document in documents:
            if document not in begins:
                begins[document] = len(world.texts)
                add_document(world, corpus, document)
        near, golds = (
            tuple(
                begins[corpus.document_of[atom]] + atom - corpus.documents[corpus.document_of[atom]].start
                for atom in atoms
            )
            for atoms in (used, example.golds)
        )
        kind = "answerable" if golds else "b"
        world.questions.append(Question(example.question, kind, name, near, golds, example.answer))
    missing = [example for example, documents in outside if begins.keys().isdisjoint(documents)]
    world.questions += [Question(example.question, "a", name) for example in missing[: SOURCES[name][0] // 4]]


def add_document(world: World, corpus: Corpus, document: int) -> None:
    number, title = max(world.document, default=-1) + 1, corpus.contexts[document]
    for atom in corpus.documents[document]:
        text = corpus.texts[atom]
        world.texts.append(text)
        world.statements.append(stated(text, title))
        world.document.append(number)


def encode(world: World, encoder: SentenceTransformerEncoder) -> None:
    world.keys = encoder.encode_atoms(world.statements)
    vectors = encoder.encode_atoms([question.text for question in world.questions])
    for question, vector in zip(world.questions, vectors, strict=True):
        question.vector = vector


# --- retrieval --------------------------------------------------------------------------------------------------------


class Memory:
    """Some atoms of a world, searched by cosine and by BM25 as the store does."""

    def __init__(self, world: World, atoms: Sequence[int]) -> None:
        self._world, self._atoms = world, np.array(sorted(atoms))
        self._keys = world.keys[self._atoms]
        self._database = sqlite3.connect(":memory:")
        self._database.execute(
            "CREATE VIRTUAL TABLE f USING fts5 (s, tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        rows = [(int(atom), world.statements[atom]) for atom in self._atoms]
        self._database.executemany("INSERT INTO f (rowid, s) VALUES (?, ?)", rows)

    def case(self, question: Question, kind: str, size: int | None, *, k: int, without: Sequence[int] = ()) -> Case:
        """Return the question with its candidates; ``without`` are atoms to do as if they were not there."""
        dense = [pair for pair in self._dense(question.vector, k + len(without)) if pair[0] not in without][:k]
        lexical = [pair for pair in self._lexical(question.text, k + len(without)) if pair[0] not in without][:k]
        found = sorted(dict(dense) | dict(lexical))
        cosines = dict(zip(found, (self._world.keys[found] @ question.vector).tolist(), strict=True))
        candidates = tuple(Candidate(self._world.atom(n), cosines[n], dict(lexical).get(n, 0.0)) for n in found)
        golds = tuple(found.index(gold) for gold in question.golds if gold in found)
        return Case(kind, question.source, size, question.text, candidates, golds)

    def _dense(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        cosines = self._keys @ vector
        return [(int(self._atoms[n]), float(cosines[n])) for n in np.argsort(-cosines, kind="stable")[:k]]

    def _lexical(self, text: str, k: int) -> list[tuple[int, float]]:
        rows = self._database.execute(
            "SELECT rowid, -rank FROM f WHERE f MATCH ? ORDER BY rank, rowid LIMIT ?", (match_query(text), k)
        )
        return list(rows)


def cases(world: World, rng: random.Random, k: int) -> Iterator[Case]:
    """Yield every question at every size of memory."""
    atoms: dict[int, list[int]] = defaultdict(list)
    for atom, document in enumerate(world.document):
        atoms[document].append(atom)
    everything = Memory(world, range(len(world.texts)))
    for size in SIZES:
        for question in world.questions:
            own = {world.document[atom] for atom in question.near}
            memory = Memory(world, filled(atoms, own, size, rng)) if size else everything
            yield memory.case(question, question.kind, size, k=k)
            if question.kind == "answerable":
                rest = [world.texts[a].lower() for d in own for a in atoms[d] if a not in question.golds]
                if rest and not any(question.answer.lower() in text for text in rest):
                    yield memory.case(question, "c", size, k=k, without=question.golds)


def filled(atoms: dict[int, list[int]], own: set[int], size: int, rng: random.Random) -> list[int]:
    """Return the atoms of some documents and of others, as many as it takes."""
    taken, found = set(own), [atom for document in sorted(own) for atom in atoms[document]]
    while len(found) < size:
        document = rng.randrange(len(atoms))
        if document not in taken:
            taken.add(document)
            found += atoms[document]
    return found


# --- fit --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table:
    """Features of all candidates of all cases, (rows, features); case i has the rows ``start[i]`` up to the next start.

    The first feature is ``similarity`` for a share of the cosine that `mix` sets.
    """

    X: Array
    dense: Array
    lexical: Array
    start: NDArray[np.int64]
    gold: NDArray[np.int64]  # rows of candidates that answer
    answers: NDArray[np.int64]  # the case of each
    kind: NDArray[np.str_]
    source: NDArray[np.str_]
    size: NDArray[np.int64]  # 0 is everything

    @classmethod
    def of(cls, found: Iterable[Case]) -> Table:
        X, dense, lexical, start, gold, answers, kind, source, size = ([] for _ in range(9))
        for number, case in enumerate(found):
            start.append(len(X))
            gold += [len(X) + place for place in case.golds]
            answers += [number] * len(case.golds)
            kind.append(case.kind)
            source.append(case.source)
            size.append(case.size or 0)
            X += [astuple(row) for row in features(case.question, case.candidates, dense_weight=0.0)]
            dense += [candidate.dense for candidate in case.candidates]
            lexical += [candidate.lexical for candidate in case.candidates]
        return cls(*map(np.array, (X, dense, lexical, start, gold, answers, kind, source, size)))

    def mix(self, dense_weight: float) -> Table:
        """Return the table with another share of the cosine; `of` makes it with none."""
        X = self.X.copy()
        X[:, 0] = dense_weight * self.dense + (1 - dense_weight) * X[:, 0]
        return replace(self, X=X)

    @property
    def weight(self) -> Array:
        weight = np.zeros(len(self.kind))
        for kind, share in SHARES.items():
            weight[self.kind == kind] = share / (self.kind == kind).sum()
        return weight

    @property
    def golds(self) -> NDArray[np.int64]:
        """How many candidates of each case answer."""
        return np.bincount(self.answers, minlength=len(self.kind))

    @property
    def case(self) -> NDArray[np.int64]:
        """The case of each row."""
        return np.repeat(np.arange(len(self.start)), np.diff([*self.start, len(self.X)]))

    def best(self, scores: Array) -> Array:
        return np.maximum.reduceat(scores, self.start)

    def ranks(self, scores: Array) -> Array:
        """Return how many candidates of each case are better than the best one that answers; inf if none does."""
        best = np.full(len(self.kind), -np.inf)
        np.maximum.at(best, self.answers, scores[self.gold])
        better = np.bincount(self.case, weights=scores > best[self.case], minlength=len(self.kind))
        return np.where(self.golds > 0, better, np.inf)


def fit(table: Table) -> tuple[Features, float]:
    """Return weights and bias.

    First a softmax over the candidates and "none of these", those that answer sharing the right side, so that the
    weights rank; then slope and bias of a logistic regression of "answerable" on the best score, so that it is a
    probability.
    """
    answered = table.golds > 0
    # A gold sentence that was not found is neither there nor not there.
    weight = table.weight * (answered | (table.kind != "answerable"))
    case = table.case
    share = 1.0 / table.golds[table.answers]

    def softmax_loss(parameters: Array) -> tuple[float, Array]:
        w, none = parameters[:-1], parameters[-1]
        s = table.X @ w
        top = np.maximum(table.best(s), none)
        e, e_none = np.exp(s - top[case]), np.exp(none - top)
        Z = np.add.reduceat(e, table.start) + e_none
        target = np.where(answered, 0.0, none)
        np.add.at(target, table.answers, share * s[table.gold])
        p = weight[case] * e / Z[case]
        slope = table.X.T @ p - (weight[table.answers] * share) @ table.X[table.gold]
        slope_none = (weight * e_none / Z).sum() - weight[~answered].sum()
        return float(weight @ (np.log(Z) + top - target) + 1e-3 * w @ w), np.append(slope + 2e-3 * w, slope_none)

    w = minimize(softmax_loss, np.zeros(table.X.shape[1] + 1), jac=True).x[:-1]
    best, y = table.best(table.X @ w), table.kind == "answerable"

    def logistic_loss(parameters: Array) -> float:
        return log_loss(sigmoid(parameters[0] * best + parameters[1]), y, table.weight)

    slope, bias = minimize(logistic_loss, np.array([1.0, -best.mean()])).x
    return Features(*(float(x) for x in slope * w)), float(bias)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def log_loss(p: Array, y: NDArray[np.bool_], weight: Array) -> float:
    return float(-(weight * np.log(np.clip(np.where(y, p, 1 - p), 1e-9, 1))).sum() / weight.sum())


# --- report -----------------------------------------------------------------------------------------------------------


def recall(table: Table, scores: Array, of: NDArray[np.bool_]) -> list[float]:
    """Return recall at `KS` of some answerable cases; a gold sentence that is not among the candidates is a miss."""
    ranks = table.ranks(scores)[of & (table.kind == "answerable")]
    return [float(np.mean(ranks < k)) for k in KS]


def auc(p: Array, y: NDArray[np.bool_]) -> float:
    ranks = np.empty(len(p))
    ranks[np.argsort(p, kind="stable")] = np.arange(1, len(p) + 1)
    return float((ranks[y].sum() - y.sum() * (y.sum() + 1) / 2) / (y.sum() * (~y).sum()))


def refusal(p: Array, answerable: NDArray[np.bool_], threshold: float) -> tuple[float, float, float]:
    """Return precision, recall and F1 of refusing, questions of both kinds weighing the same in total."""
    caught, wrong = float((p[~answerable] < threshold).mean()), float((p[answerable] < threshold).mean())
    precision = caught / max(caught + wrong, 1e-9)
    return precision, caught, 2 * precision * caught / max(precision + caught, 1e-9)


def report_recall(table: Table, scores: Array) -> None:
    print(f"\nrecall@{'/'.join(map(str, KS))} of answerable questions")
    rankings = (("BM25", table.lexical), ("dense", table.dense), ("similarity", table.X[:, 0]), ("score", scores))
    for size in sorted({int(s) for s in table.size}, key=lambda s: s or 10**9):
        for name, ranking in rankings:
            found = recall(table, ranking, table.size == size)
            print(f"  {size or 'all':>5} atoms  {name:<10}", " ".join(f"{r:.3f}" for r in found))


def report_gate(table: Table, p: Array) -> None:
    answerable = table.kind == "answerable"
    print("\ngate, unanswerable kinds apart: AUC, and precision/recall/F1 of refusing at .5")
    for size in sorted({int(s) for s in table.size}, key=lambda s: s or 10**9):
        here = table.size == size
        parts = []
        for kind in "abc":
            of = here & (answerable | (table.kind == kind))
            numbers = "/".join(f"{x:.2f}" for x in refusal(p[of], answerable[of], 0.5))
            parts.append(f"({kind}) {auc(p[of], answerable[of]):.3f} {numbers}")
        loss = log_loss(p[here], answerable[here], table.weight[here])
        print(f"  {size or 'all':>5} atoms  {'   '.join(parts)}   log loss {loss:.3f}")
    print("\nthresholds, all sizes: refused of answerable, (a), (b), (c)")
    for threshold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
        refused = [float((p[table.kind == kind] < threshold).mean()) for kind in SHARES]
        print(f"  {threshold:.1f}", " ".join(f"{x:.2f}" for x in refused))
    print("\nreliability, all sizes: confidence, share that is answerable")
    for low in np.arange(0, 1, 0.1):
        of = (p >= low) & (p < low + 0.1)
        if of.any():
            share = table.weight[of & answerable].sum() / table.weight[of].sum()
            print(f"  {low:.1f}-{low + 0.1:.1f}  {np.average(p[of], weights=table.weight[of]):.2f}  {share:.2f}")


def report_sources(table: Table, scores: Array) -> None:
    """Print of each file what is refused at `RoutingConfig.abstain_below`, and recall at 1 and 4."""
    p, gate = sigmoid(table.best(scores)), RoutingConfig().abstain_below
    print(f"\nby file, all sizes: refused at {gate} of answerable, (a), (b), (c); recall@1, @4")
    for source in sorted(set(table.source)):
        of = table.source == source
        kinds = [of & (table.kind == kind) for kind in SHARES]
        refused = [f"{(p[kind] < gate).mean():.2f}" if kind.any() else "–" for kind in kinds]
        found = recall(table, scores, of) if kinds[0].any() else None
        print(f"  {source:<42}", " ".join(f"{x:>4}" for x in refused), *(f"{found[k]:.2f}" for k in (0, 2) if found))


def report_routes(table: Table, scores: Array, size: int) -> None:
    """Print how long routes get and how often they hold a gold sentence, by margin and longest route."""
    print(f"\nroutes of answerable questions, {size or 'all'} atoms: mean length, gold in route")
    chosen = np.flatnonzero((table.kind == "answerable") & (table.size == size))
    bounds, ranks = [*table.start, len(scores)], table.ranks(scores)
    for margin in (0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        cells = []
        for longest in (1, 2, 4, 6, 8):
            near = [scores[bounds[i] : bounds[i + 1]] for i in chosen]
            lengths = np.array([min(longest, int((case >= case.max() - margin).sum())) for case in near])
            cells.append(f"{longest}: {lengths.mean():.2f} {(ranks[chosen] < lengths).mean():.3f}")
        print(f"  margin {margin:<4}", "   ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the question answering files")
    parser.add_argument("--encoder", default=BUILTIN_KEY_ENCODER, help="key encoder: alias, folder or hub id")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    config = RoutingConfig()
    rng = random.Random(arguments.seed)
    encoder = SentenceTransformerEncoder(resolve_key_encoder(arguments.encoder))
    halves = []
    for name, world in zip(("fitted on", "held out"), read_worlds(arguments.data), strict=True):
        encode(world, encoder)
        halves.append(Table.of(case for case in cases(world, rng, config.candidates) if case.candidates))
        kinds = dict(Counter(question.kind for question in world.questions))
        print(f"{name}: {len(world.texts)} atoms, questions {kinds}, {len(halves[-1].start)} cases", flush=True)
    print("\nshare of the cosine: log loss and recall@1 (all atoms), each with its own fit")
    for dense_weight in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        train, held = (half.mix(dense_weight) for half in halves)
        weights, bias = fit(train)
        scores = held.X @ np.array(astuple(weights)) + bias
        loss = log_loss(sigmoid(held.best(scores)), held.kind == "answerable", held.weight)
        print(f"  {dense_weight:.1f}  {loss:.4f}  {recall(held, scores, held.size == 0)[0]:.3f}")
    train, held = (half.mix(config.dense_weight) for half in halves)
    weights, bias = fit(train)
    weights, bias = Features(*(round(weight, 2) for weight in astuple(weights))), round(bias, 2)
    scores = held.X @ np.array(astuple(weights)) + bias
    report_recall(held, scores)
    report_gate(held, sigmoid(held.best(scores)))
    report_sources(held, scores)
    for size in (40, 0):
        report_routes(held, scores, size)
    print(f"\nWEIGHTS = {weights}\nBIAS = {bias}")


if __name__ == "__main__":
    main()
