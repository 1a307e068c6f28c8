"""What storing codes in one byte a number costs: the same atoms and questions, codes as int8 and as float16.

    .venv/bin/python runs/compare_codes.py --data DATA [--sets squad1.1_sentences.train,squad1.1.train] [--limit 200]

Every question is answered from its gold sentence's atom (oracle route), greedily. Prints bytes of codes a token of the
documents, token F1, and the paired difference with its 95 % interval over documents.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import fmean

import torch

from parametric_memory import ParametricMemory
from parametric_memory.compilers import HypernetworkCompiler
from parametric_memory.evaluation.datasets import Question, read_questions, sample
from parametric_memory.evaluation.metrics import score
from parametric_memory.evaluation.statistics import interval
from parametric_memory.evaluation.systems import SYSTEMS, Library, LibrarySystem, scope
from parametric_memory.types import Document


def main() -> None:
    """Compile, answer, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="squad1.1.train")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    questions: list[Question] = []
    for name in given.sets.split(","):
        rows = [row for row in read_questions(given.data / f"{name}.jsonl.gz") if row.answers]
        questions += sample(rows, limit=given.limit, seed=given.seed)
    with tempfile.TemporaryDirectory() as folder:
        small, large = (answered(Path(folder) / str(exact), questions, exact=exact) for exact in (False, True))
    lost = [a - b for a, b in zip(small, large, strict=True)]
    low, high = interval(lost, [question.doc_id for question in questions]) or (float("nan"), float("nan"))
    print(f"int8 − float16: {fmean(lost):+.4f} [{low:+.4f}, {high:+.4f}], {len(questions)} questions")


def answered(path: Path, questions: list[Question], *, exact: bool) -> list[float]:
    """Return the F1 of every answer, and print the bytes that the codes take."""
    with ParametricMemory.from_pretrained(path=path) as built_in:
        backend, compiler = built_in.backend, built_in.compiler
        built_in.reset()
        of_these = HypernetworkCompiler(
            backend.model, backend.tokenizer, compiler.checkpoint, fingerprint=backend.fingerprint, exact=exact
        )
        memory = built_in.beside(path / "asked", compiler=of_these)
        for question in {question.doc_id: question for question in questions}.values():
            memory.add(
                Document.of(question.document, source=question.doc_id, title=question.title, metadata=scope(question))
            )
        system = LibrarySystem("atoms_oracle", Library(memory), SYSTEMS["atoms_oracle"])
        found = [
            score(one.text, question.answers).f1
            for one, question in zip(system.answer(questions, score=False), questions, strict=True)
        ]
        texts = [memory.store.document(held.id).text for held in memory.store.documents()]
        tokens = sum(map(backend.count_tokens, texts))
        kind = "float16" if exact else "int8"
        print(
            f"{kind}: {memory.stats().code_bytes / tokens:.0f} bytes of codes a token, F1 {fmean(found):.3f}",
            flush=True,
        )
        memory.close()
    return found


if __name__ == "__main__":
    main()
