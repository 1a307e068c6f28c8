"""Compare how well several keys of an atom find it: is a second key worth its bytes?

    OMP_NUM_THREADS=1 python runs/compare_keys.py --data DIR

Paragraphs of training files are cut into sentences, each an atom; a question's gold atom is the only one of its
paragraph that holds an answer. An atom is as near as the nearest of its keys. No dev file is read, nothing is fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parametric_memory.backends.models import BUILTIN_KEY_ENCODER, resolve_key_encoder
from parametric_memory.compilers.distillation.exercises import from_statement
from parametric_memory.ingest import sentences
from parametric_memory.routing import SentenceTransformerEncoder
from parametric_memory.training.alignment import find
from parametric_memory.training.data import read_rows
from parametric_memory.types import stable_id

KS = (1, 2, 4, 8, 16)
Atom = tuple[str, str]  # title, sentence

#: The texts of an atom's keys.
KEYS: Mapping[str, Callable[[Atom], list[str]]] = {
    "statement": lambda atom: [_statement(atom)],
    "sentence": lambda atom: [atom[1]],
    "questions": lambda atom: [made.question for made in from_statement(atom[1], limit=4)] or [atom[1]],
}
COMBINED = (("statement",), ("sentence",), ("statement", "sentence"), ("statement", "questions"), tuple(KEYS))


def _statement(atom: Atom) -> str:
    return f"{atom[0]}: {atom[1]}" if atom[0] else atom[1]


def read(data: Path, *, paragraphs: int, each: int) -> tuple[list[Atom], list[tuple[str, int]]]:
    """Return atoms, and questions with the number of the atom that answers."""
    rows: dict[str, list[dict]] = {}
    for row in read_rows(data / "squad1.1.train.jsonl.gz"):
        rows.setdefault(row["document"], []).append(row)
    atoms: list[Atom] = []
    asked: list[tuple[str, int]] = []
    for text in sorted(rows, key=stable_id)[:paragraphs]:
        begin, title = len(atoms), rows[text][0]["title"] or ""
        atoms += [(title, " ".join(span.of(text).split())) for span in sentences(text)]
        taken = 0
        for row in sorted(rows[text], key=lambda row: stable_id(row["question"])):
            golds = [n for n in range(begin, len(atoms)) if any(find(a, atoms[n][1]) for a in row["answers"])]
            if len(golds) == 1 and taken < each:
                taken += 1
                asked.append((row["question"], golds[0]))
    return atoms, asked


def cosines(
    encoder: SentenceTransformerEncoder, atoms: Sequence[Atom], asked: NDArray[np.float32], keys: str
) -> tuple[NDArray[np.float32], float]:
    """Return the cosine of every question (rows) to the nearest of every atom's keys, and the keys of an atom."""
    texts = [KEYS[keys](atom) for atom in atoms]
    near = asked @ encoder.encode_atoms([text for own in texts for text in own]).T
    starts = np.cumsum([0, *(len(own) for own in texts[:-1])])
    return np.maximum.reduceat(near, starts, axis=1), sum(map(len, texts)) / len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the question answering files")
    parser.add_argument("--encoder", default=BUILTIN_KEY_ENCODER, help="key encoder: alias, folder or hub id")
    parser.add_argument("--paragraphs", type=int, default=750)
    parser.add_argument("--each", type=int, default=2, help="questions of a paragraph")
    arguments = parser.parse_args()
    encoder = SentenceTransformerEncoder(resolve_key_encoder(arguments.encoder))
    atoms, questions = read(arguments.data, paragraphs=arguments.paragraphs, each=arguments.each)
    gold = np.array([number for _, number in questions])
    asked = np.stack([encoder.encode_query(question) for question, _ in questions])
    print(f"{len(questions)} questions, {len(atoms)} atoms\n{'keys':<36}{'each':>6}  recall@{'/'.join(map(str, KS))}")
    found = {name: cosines(encoder, atoms, asked, name) for name in KEYS}
    for names in COMBINED:
        near = np.maximum.reduce([found[name][0] for name in names])
        ranks = (near > near[np.arange(len(gold)), gold][:, None]).sum(1)
        recalls = " ".join(f"{(ranks < k).mean():.3f}" for k in KS)
        print(f"{' + '.join(names):<36}{sum(found[name][1] for name in names):>6.1f}  {recalls}", flush=True)


if __name__ == "__main__":
    main()
