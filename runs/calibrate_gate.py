"""Fit the similarity router's weights on questions that a memory can and cannot answer.

    OMP_NUM_THREADS=1 python runs/calibrate_gate.py --data DIR

Memories of several sizes are made of SQuAD paragraphs, one sentence an atom. Questions are of four kinds: answerable;
(a) of a paragraph that is not in the memory; (b) of the published "constructed unanswerable" file: another sentence of
the paragraph is in the memory; (c) the answerable ones again with the gold sentence taken away and the rest of its
paragraph left. Only training files are read; half of the articles fit the weights, the other half is reported on.
Prints the constants of `parametric_memory.routing.fusion`.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from parametric_memory.backends.models import BUILTIN_KEY_ENCODER, resolve_key_encoder
from parametric_memory.config import RoutingConfig
from parametric_memory.ingest import sentences
from parametric_memory.routing import SentenceTransformerEncoder
from parametric_memory.routing.fusion import Features, features
from parametric_memory.store.lexical import match_query
from parametric_memory.training.alignment import align
from parametric_memory.training.data import read_rows
from parametric_memory.types import Atom, AtomKind, Candidate, Span

#: Atoms of a memory; None is everything.
SIZES = (5, 40, 300, 1500, None)
#: How much each kind of question counts in the fit.
SHARES = {"answerable": 0.5, "a": 0.2, "b": 0.1, "c": 0.2}
PARAGRAPHS = 750
KS = (1, 2, 4, 8, 16)
Array = NDArray[np.float64]


@dataclass(slots=True)
class Question:
    """``near`` is an atom that must be in its memory, ``gold`` whether that atom answers."""

    text: str
    kind: str
    near: int | None = None
    answers: tuple[str, ...] = ()
    vector: NDArray[np.float32] | None = None


@dataclass(slots=True)
class World:
    """Sentences of many paragraphs, and questions about them."""

    statements: list[str]
    texts: list[str]
    paragraph: list[int]
    questions: list[Question]
    keys: NDArray[np.float32] | None = None

    def atom(self, number: int) -> Atom:
        text = self.statements[number]
        return Atom(f"{number:06}", AtomKind.FACT, text, text, str(self.paragraph[number]), Span(0, len(text)))


@dataclass(frozen=True, slots=True)
class Case:
    """One question put to one memory; ``gold`` is the candidate that answers, if there is one."""

    kind: str
    size: int | None
    question: str
    candidates: tuple[Candidate, ...]
    gold: int | None


# --- data -------------------------------------------------------------------------------------------------------------


def read_worlds(data: Path, rng: random.Random) -> tuple[World, World]:
    """Return two worlds that share no article."""
    questions: dict[str, dict[str, dict]] = defaultdict(dict)  # by paragraph, by wording
    articles: dict[str, set[str]] = defaultdict(set)
    for name in ("squad1.1.train", "squad2.0.train"):
        for row in read_rows(data / f"{name}.jsonl.gz"):
            questions[row["document"]].setdefault(row["question"], row)
            articles[row["title"] or row["document"]].add(row["document"])
    home = {wording: paragraph for paragraph, rows in questions.items() for wording in rows}
    constructed = [
        r for r in read_rows(data / "squad1.1_unanswerable_constructed.train.jsonl.gz") if r["question"] in home
    ]
    names = sorted(articles)
    rng.shuffle(names)
    worlds = []
    for half in (names[::2], names[1::2]):
        paragraphs = sorted(paragraph for name in half for paragraph in articles[name])
        rng.shuffle(paragraphs)
        inside, outside = paragraphs[:PARAGRAPHS], paragraphs[PARAGRAPHS : 2 * PARAGRAPHS]
        world = World([], [], [], [])
        for paragraph in inside:
            add_paragraph(world, paragraph, list(questions[paragraph].values()), rng)
        for paragraph in outside:
            world.questions.append(Question(rng.choice(sorted(questions[paragraph])), "a"))
        elsewhere = set(paragraphs) - set(inside)
        rows = [row for row in constructed if home.get(row["question"]) in elsewhere]
        rng.shuffle(rows)
        for row in rows[:PARAGRAPHS]:
            if row["document"] not in world.texts:
                add_atom(world, row["document"], row["title"], paragraph=max(world.paragraph) + 1)
                world.questions.append(Question(row["question"], "b", near=len(world.texts) - 1))
        worlds.append(world)
    return worlds[0], worlds[1]


def add_atom(world: World, text: str, title: str, *, paragraph: int) -> None:
    world.texts.append(text)
    world.statements.append(f"{title}: {text}" if title else text)
    world.paragraph.append(paragraph)


def add_paragraph(world: World, text: str, rows: list[dict], rng: random.Random) -> None:
    """Add a paragraph's sentences, and up to two of its questions whose answer stands in one of them."""
    first, number = len(world.texts), max(world.paragraph, default=-1) + 1
    for span in sentences(text):
        add_atom(world, " ".join(span.of(text).split()), rows[0]["title"], paragraph=number)
    rng.shuffle(rows)
    taken = 0
    for row in rows:
        answers = tuple(" ".join(answer.split()).strip(" .,;:") for answer in row["answers"])
        gold = align(row["question"], answers[0], world.texts[first:]) if answers and taken < 2 else None
        if gold is not None:
            taken += 1
            world.questions.append(Question(row["question"], "answerable", near=first + gold[0], answers=answers))


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

    def case(self, question: Question, kind: str, size: int | None, *, k: int, without: int | None = None) -> Case:
        """Return the question with its candidates; ``without`` is an atom to do as if it were not there."""
        dense = [pair for pair in self._dense(question.vector, k + 1) if pair[0] != without][:k]
        lexical = [pair for pair in self._lexical(question.text, k + 1) if pair[0] != without][:k]
        found = sorted(dict(dense) | dict(lexical))
        cosines = dict(zip(found, (self._world.keys[found] @ question.vector).tolist(), strict=True))
        candidates = tuple(Candidate(self._world.atom(n), cosines[n], dict(lexical).get(n, 0.0)) for n in found)
        gold = found.index(question.near) if kind == "answerable" and question.near in found else None
        return Case(kind, size, question.text, candidates, gold)

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
    paragraphs: dict[int, list[int]] = defaultdict(list)
    for atom, paragraph in enumerate(world.paragraph):
        paragraphs[paragraph].append(atom)
    for size in SIZES:
        order = sorted(paragraphs)
        rng.shuffle(order)
        shards: list[list[int]] = [[]]
        for paragraph in order:
            if size and len(shards[-1]) >= size:
                shards.append([])
            shards[-1] += paragraphs[paragraph]
        memories = [Memory(world, shard) for shard in shards]
        at = {atom: memory for memory, shard in zip(memories, shards, strict=True) for atom in shard}
        for question in world.questions:
            memory = rng.choice(memories) if question.near is None else at[question.near]
            yield memory.case(question, question.kind, size, k=k)
            if question.kind == "answerable":
                rest = [
                    world.texts[a].lower() for a in paragraphs[world.paragraph[question.near]] if a != question.near
                ]
                if not any(answer.lower() in text for answer in question.answers for text in rest):
                    yield memory.case(question, "c", size, k=k, without=question.near)


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
    gold: NDArray[np.int64]  # row, or -1
    kind: NDArray[np.str_]
    size: NDArray[np.int64]  # 0 is everything

    @classmethod
    def of(cls, found: Iterable[Case]) -> Table:
        X, dense, lexical, start, gold, kind, size = [], [], [], [], [], [], []
        for case in found:
            start.append(len(X))
            gold.append(-1 if case.gold is None else len(X) + case.gold)
            kind.append(case.kind)
            size.append(case.size or 0)
            X += [astuple(row) for row in features(case.question, case.candidates, dense_weight=0.0)]
            dense += [candidate.dense for candidate in case.candidates]
            lexical += [candidate.lexical for candidate in case.candidates]
        return cls(*map(np.array, (X, dense, lexical, start, gold, kind, size)))

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

    def best(self, scores: Array) -> Array:
        return np.maximum.reduceat(scores, self.start)


def fit(table: Table) -> tuple[Features, float]:
    """Return weights and bias.

    First a softmax over the candidates and "none of these", so that the weights rank; then slope and bias of a logistic
    regression of "answerable" on the best score, so that it is a probability.
    """
    known = (table.gold >= 0) | (table.kind != "answerable")
    case = np.repeat(np.arange(len(table.start)), np.diff([*table.start, len(table.X)]))
    weight, gold = table.weight * known, table.gold
    answered = gold >= 0

    def softmax_loss(parameters: Array) -> tuple[float, Array]:
        w, none = parameters[:-1], parameters[-1]
        s = table.X @ w
        top = np.maximum(table.best(s), none)
        e, e_none = np.exp(s - top[case]), np.exp(none - top)
        Z = np.add.reduceat(e, table.start) + e_none
        target = np.where(answered, s[gold], none)
        p = weight[case] * e / Z[case]
        slope = table.X.T @ p - (weight[answered, None] * table.X[gold[answered]]).sum(0)
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


def recall(table: Table, scores: Array, size: int) -> list[float]:
    """Return recall at `KS`; a gold sentence that is not among the candidates is a miss."""
    ranks = []
    for i in np.flatnonzero((table.kind == "answerable") & (table.size == size)):
        end = table.start[i + 1] if i + 1 < len(table.start) else len(scores)
        case = scores[table.start[i] : end]
        ranks.append(int((case > scores[table.gold[i]]).sum()) if table.gold[i] >= 0 else 999)
    return [float(np.mean([rank < k for rank in ranks])) for k in KS]


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
            print(f"  {size or 'all':>5} atoms  {name:<10}", " ".join(f"{r:.3f}" for r in recall(table, ranking, size)))


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


def report_routes(table: Table, scores: Array, size: int) -> None:
    """Print how long routes get and how often they hold the gold sentence, by margin and longest route."""
    print(f"\nroutes of answerable questions, {size or 'all'} atoms: mean length, gold in route")
    chosen = np.flatnonzero((table.kind == "answerable") & (table.size == size))
    bounds = [*table.start, len(scores)]
    for margin in (0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        cells = []
        for longest in (1, 2, 4, 6, 8):
            lengths, hits = [], []
            for i in chosen:
                case = scores[bounds[i] : bounds[i + 1]]
                length = min(longest, int((case >= case.max() - margin).sum()))
                lengths.append(length)
                hits.append(table.gold[i] >= 0 and (case > scores[table.gold[i]]).sum() < length)
            cells.append(f"{longest}: {np.mean(lengths):.2f} {np.mean(hits):.3f}")
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
    for name, world in zip(("fitted on", "held out"), read_worlds(arguments.data, rng), strict=True):
        encode(world, encoder)
        halves.append(Table.of(case for case in cases(world, rng, config.candidates) if case.candidates))
        kinds = {kind: sum(question.kind == kind for question in world.questions) for kind in ("answerable", "a", "b")}
        print(f"{name}: {len(world.texts)} atoms, questions {kinds}, {len(halves[-1].start)} cases", flush=True)
    print("\nshare of the cosine: log loss and recall@1 (all atoms), each with its own fit")
    for dense_weight in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        train, held = (half.mix(dense_weight) for half in halves)
        weights, bias = fit(train)
        scores = held.X @ np.array(astuple(weights)) + bias
        loss = log_loss(sigmoid(held.best(scores)), held.kind == "answerable", held.weight)
        print(f"  {dense_weight:.1f}  {loss:.4f}  {recall(held, scores, 0)[0]:.3f}")
    train, held = (half.mix(config.dense_weight) for half in halves)
    weights, bias = fit(train)
    weights, bias = Features(*(round(weight, 2) for weight in astuple(weights))), round(bias, 2)
    scores = held.X @ np.array(astuple(weights)) + bias
    report_recall(held, scores)
    report_gate(held, sigmoid(held.best(scores)))
    for size in (40, 0):
        report_routes(held, scores, size)
    print(f"\nWEIGHTS = {weights}\nBIAS = {bias}")


if __name__ == "__main__":
    main()
